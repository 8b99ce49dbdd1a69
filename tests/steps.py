"""One `Step` without a trainer, which remembers the perturbation of each of its passes."""

from typing import Any

import torch
from torch import Tensor

from ftreg import Step
from ftreg.core.method import Regularizer
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Moment
from ftreg.encoder.weights import Weights


class Spy(Step):
    """A step that keeps each perturbed pass's δ, by value."""

    def logits(self, delta: Tensor | None = None, **options: Any) -> Tensor:
        if delta is not None:
            self.deltas.append(delta.detach().clone())
        return super().logits(delta, **options)

    deltas: list[Tensor]


def take(encoder: Encoder, batch: dict[str, Any], method: Regularizer, number: int = 3, **options: Any) -> Spy:
    """A step on behalf of `method`."""
    step = Spy(batch, encoder, Weights(encoder), lambda: None, Moment(0, number), **options)
    step.deltas = []
    step.on_behalf_of(method.name)
    return step


def encoder_of(folder: str, labels: tuple[str, ...], dtype: torch.dtype, **options: Any) -> Encoder:
    """An encoder of that dtype, in training mode."""
    torch.set_default_dtype(dtype)
    try:
        return Encoder(folder, labels, **options).train()
    finally:
        torch.set_default_dtype(torch.float32)


def gradients(term: Tensor, step: Step) -> list[Tensor]:
    """Of every parameter; zeros where there is none."""
    params = [*step.params.values()]
    found = torch.autograd.grad(term, params, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(params, found, strict=True)]
