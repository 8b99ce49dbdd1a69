"""Gradient ascent moves an embedding perturbation, for the objectives that train on what it reaches.

The ascent follows the gradient of the *sum* of the example losses, so that no batch size, accumulation or number of
ranks changes a step of it; what is trained on is their mean.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from ftreg.core.step import Dropout, Scalar, Step
from ftreg.functional.deposit import deposit
from ftreg.functional.perturbation import Norm, norms

Climb = Callable[[Tensor, Tensor], Tensor]
"""(δ, gradient) → the next δ, all [batch, tokens, dim]."""


class Trace:
    """A trace keeps what an ascent's diagnostics are made of: δ and the example losses at each pass."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self._deltas: list[Tensor] = []
        self._losses: list[Tensor] = []

    def add(self, delta: Tensor, losses: Tensor) -> None:
        """Add one pass."""
        if self._step.logs:
            self._deltas.append(delta.detach())
            self._losses.append(losses.detach())

    def log(self, norm: Norm, radius: float) -> None:
        """Log, averaged over the batch's examples: ‖δ‖ at each pass, by how much the loss rose over the ascent, and the
        share of examples that ended at the ball's surface."""
        if not self._step.logs:
            return
        step = self._step
        sizes = [norms(delta, norm)[:, 0, 0] for delta in self._deltas]
        for number, size in enumerate(sizes, 1):
            step.record(f"delta_norm_{number}", size)
        step.record("loss_rise", self._losses[-1] - self._losses[0])
        if radius:
            step.record("at_surface", sizes[-1] >= radius * (1 - 1e-4))


def accumulate(
    step: Step, delta: Tensor, weights: Sequence[float], climb: Climb, dropout: Dropout, trace: Trace
) -> Scalar:
    """Return Σ_k w_k · mean loss at δ_k, over passes whose δ climbs from one to the next.

    Each pass but the last gives the gradients of δ and of all parameters by one `autograd.grad`; the sum of the
    latter is deposited on the last pass.

    Args:
        step: the micro-batch.
        delta: δ of the first pass, [batch, tokens, dim].
        weights: w, one per pass.
        climb: from a pass's δ and its gradient to the next δ.
        dropout: the passes' masks.
        trace: told of every pass.
    """
    embeds, params = step.embeds(), [*step.params.values()]
    # Detached, because ∂ℓ/∂E = ∂ℓ/∂δ: the embedding matrix needs one backward for all passes.
    kept = embeds.detach()
    totals: list[Tensor | None] = [None] * (1 + len(params))
    value = torch.zeros((), dtype=embeds.dtype, device=embeds.device)
    for weight in weights[:-1]:
        delta.requires_grad_()
        losses = step.losses(delta, embeds=kept, dropout=dropout)
        slope, *found = step.gradients(losses, [delta, *params])
        assert slope is not None
        totals = [_plus(t, g, weight * step.scale) for t, g in zip(totals, [slope, *found], strict=True)]
        value = value + weight * step.mean(losses.detach())
        trace.add(delta, losses)
        step.count_non_finite(slope)
        delta = climb(delta.detach(), slope)
    losses = step.losses(delta, embeds=embeds, dropout=dropout)
    trace.add(delta, losses)
    return deposit(weights[-1] * step.mean(losses) + value, [embeds, *params], totals)


def _plus(total: Tensor | None, gradient: Tensor | None, weight: float) -> Tensor | None:
    if gradient is None:
        return total
    return gradient * weight if total is None else total.add_(gradient, alpha=weight)
