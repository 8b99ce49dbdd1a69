"""A model that is run by its tokens, with word embeddings put in place of those it looks up, has to be itself still.

Which tokens a model looks up, how often, in which order and in which table, is its own affair: XLNet's rows are columns
there, an encoder with a decoder reads two texts. A short pass of each kind tells.
"""

from typing import Any

import torch
from torch import Tensor

from ftreg.encoder.architecture import TOKENS, at_rest, one_line
from ftreg.encoder.reach import reached


def try_given(encoder: Any, model: Any, shape: tuple[int, ...]) -> Tensor:
    """Run two short passes, the model's own and the encoder's on the same word embeddings; return the latter's answer.

    Args:
        encoder: to run.
        model: as its user runs it.
        shape: of the batch, without the tokens.

    Raises:
        UsageError: there is no such pass, its word embeddings play no part in it, or the two differ.
    """
    name = "ftreg.Engine"
    try:
        with torch.enable_grad(), at_rest(encoder):
            device = encoder.model.get_input_embeddings().weight.device
            ids = torch.arange(TOKENS, device=device).repeat(*shape, 1)
            ids += torch.arange(ids.numel() // TOKENS, device=device).view(*shape, 1)
            mask = torch.ones_like(ids)
            mask[-1, ..., -1] = 0
            torch.manual_seed(0)
            own = encoder.answer(model(input_ids=ids, attention_mask=mask))
            nothing = torch.zeros_like(encoder.embed(ids), requires_grad=True)
            torch.manual_seed(0)
            answer: Tensor = encoder(encoder.embed(ids) + nothing, mask, ids=ids)
    except Exception as error:  # whatever an architecture raises that has no word embeddings to perturb
        raise encoder.architecture.refusal(
            name, f"it cannot run on a few tokens and a mask, with word embeddings put in place ({one_line(error)})"
        ) from error
    if id(nothing) not in reached(answer):
        raise encoder.architecture.refusal(
            name, "it looks no token up in what its get_input_embeddings() returns, so perturbations have no place"
        )
    # An accelerator may multiply in another order the second time.
    with torch.no_grad():
        near = torch.finfo(answer.dtype).eps ** 0.5 * own.abs().max().clamp(min=1e-6)
        same = own.shape == answer.shape and bool((own - answer).abs().max() <= near)
    if not same:
        raise encoder.architecture.refusal(
            name,
            "it looks up other tokens than it is given, or in another order, so with perturbed word embeddings it "
            "would read something else",
        )
    return answer
