"""One `Step` without a trainer, which remembers the perturbation of each of its passes."""

from typing import Any

import torch
from torch import Tensor

from ftreg.core.criteria import criterion_of
from ftreg.core.method import Regularizer
from ftreg.core.step import Prediction, Step
from ftreg.core.step_log import StepLog
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import StreamKey


class Spy(Step):
    """A step that keeps each perturbed pass's δ, by value."""

    def predict(self, delta: Tensor | None = None, **options: Any) -> Prediction:
        if delta is not None:
            self.deltas.append(delta.detach().clone())
        return super().predict(delta, **options)

    deltas: list[Tensor]


def take(
    encoder: Encoder,
    batch: dict[str, Any],
    method: Regularizer,
    number: int = 3,
    loss_scale: float = 1.0,
    full_precision: tuple[str, ...] = (),
    **logged: Any,
) -> Spy:
    """A step on behalf of `method`."""
    step = Spy(batch, encoder, (), criterion_of(encoder.model), StreamKey(0, number), StepLog(**logged), loss_scale)
    step.deltas, step._full_precision = [], {*full_precision}
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
