"""Which parameters an output depends on, read off its graph: no gradient is computed."""

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from ftreg.encoder.architecture import Architecture, at_rest, example, one_line


def try_out(encoder: Any, architecture: Architecture) -> None:
    """One pass on a few tokens, before anything is built on it; what it leaves out of the model is frozen.

    Raises:
        UsageError: there is no such pass, or word embeddings play no part in it.
    """
    model = encoder.model
    try:
        with torch.enable_grad(), at_rest(encoder):
            logits = encoder(*example(model).values())
    except Exception as error:  # whatever an architecture raises that takes no word embeddings
        reason = f"it cannot run on word embeddings alone ({one_line(error)})"
        raise architecture.refusal("fine-tuning", reason) from error
    freeze_unreached(logits, model.parameters())
    if not any(weight.requires_grad for weight in model.get_input_embeddings().parameters()):
        raise architecture.refusal("fine-tuning", "its predictions do not depend on word embeddings")


def freeze_unreached(output: Tensor, parameters: Iterable[nn.Parameter]) -> None:
    """Freeze the parameters that `output` does not depend on: they never get a gradient, and DDP waits for all."""
    reached: set[int] = set()
    waiting: list[Any] = [output.grad_fn]
    seen: set[Any] = set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            reached.add(id(leaf))
        waiting.extend(before for before, _ in node.next_functions)
    for parameter in parameters:
        if id(parameter) not in reached:
            parameter.requires_grad_(False)
