"""An architecture is tried for what a fit takes for granted: a row's logits are its own, made of word embeddings.

Rows of different lengths share a batch, shorter ones padded at the end. A head that reads the last place reads padding
there, and convolutions and Fourier transforms mix it in: the same row then has other logits in other company. Names of
architectures do not tell, a pass over two short rows does.
"""

from typing import Any

import torch
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.encoder.architecture import at_rest
from ftreg.encoder.transformers_internals import attention_of
from ftreg.encoder.weight_files import cause_of

LONG, SHORT = 5, 3
"""Tokens of the two rows."""
GIVE = "give an encoder whose head reads the first token or the mean, such as BERT, RoBERTa, DeBERTa or ModernBERT"

_passed: set[tuple[str, ...]] = set()
"""Models that have been probed in this process; an encoder may be made more than once, for its first weights."""


def check_classifier(model: Any, backbone: str) -> None:
    """Run a classifier on two short rows, padded and alone.

    Args:
        model: with its weights.
        backbone: its name, for messages.

    Raises:
        UsageError: it cannot run on word embeddings, its logits are no numbers, or they depend on padding.
    """
    try:
        words = model.get_input_embeddings()
    except (AttributeError, NotImplementedError):
        words = None
    if words is None:
        raise UsageError(f"backbone {backbone}: {type(model).__name__} has no input embeddings to perturb; {GIVE}")
    at = next(words.parameters())
    key = (backbone, type(model).__name__, str(at.dtype), attention_of(model.config), str(model.config))
    if key in _passed or at.is_meta:
        return
    try:
        with torch.no_grad(), at_rest(model):
            padded, alone = _logits(model, words, at.device)
    # Whatever an architecture raises that was not made for this.
    except Exception as error:
        what = f"{type(model).__name__} cannot run on word embeddings and a mask alone"
        raise UsageError(f"backbone {backbone}: {what} ({type(error).__name__}: {cause_of(error)}); {GIVE}") from error
    if not (padded.isfinite().all() and alone.isfinite().all()):
        raise UsageError(f"backbone {backbone}: its logits are not finite numbers; its weights are broken, get others")
    # Far above rounding (6e-6 in 24 layers; an accelerator may multiply in fewer digits), far below what padding does.
    relative = torch.finfo(at.dtype).eps ** 0.5 if at.device.type == "cpu" else 0.05
    allowed = relative * max(1e-6, float(alone.abs().max()))
    change = float((padded - alone).abs().max())
    if change > allowed:
        raise UsageError(
            f"backbone {backbone}: the logits of {type(model).__name__} depend on a row's padding (by {change:.1g} of "
            f"{float(alone.abs().max()):.1g}), so a row's prediction would depend on the rows beside it; {GIVE}"
        )
    _passed.add(key)


def _logits(model: Any, words: Any, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the short row's logits beside the long one, and alone."""
    size = words.weight.shape[0]
    ids = torch.arange(1, LONG + SHORT + 1, device=device) * (size - 1) // (LONG + SHORT + 1)
    padding = model.config.pad_token_id
    padding = padding if isinstance(padding, int) and 0 <= padding < size else 0
    short = torch.cat([ids[LONG:], ids.new_full((LONG - SHORT,), padding)])
    embeds = words(torch.stack([ids[:LONG], short]))
    mask = torch.ones(2, LONG, dtype=torch.long, device=device)
    mask[1, SHORT:] = 0
    beside = model(inputs_embeds=embeds, attention_mask=mask).logits
    alone = model(inputs_embeds=embeds[1:, :SHORT], attention_mask=mask[1:, :SHORT]).logits
    # Of a head on every token, the answers at the real ones.
    short = beside[1, :SHORT] if alone.ndim == 3 else beside[1]
    return short.double(), alone[0].double()
