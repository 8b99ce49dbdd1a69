"""SMART's parts are functions of tensors here. Jiang et al., ACL 2020, arXiv 1911.03437; see `ftreg.methods.smart`."""

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ftreg.functional.divergences import kl, squared_error


def momentum(teacher: Mapping[str, Tensor], weights: Mapping[str, Tensor], beta: float) -> None:
    """Set θ̃ ← β θ̃ + (1 − β) θ, in place, for the tensors that both name."""
    with torch.no_grad():
        for name, average in teacher.items():
            average.lerp_(weights[name], 1 - beta)


def max_rescale(r: Float[Tensor, "batch tokens dim"], guard: float) -> Float[Tensor, "batch tokens dim"]:
    """Take the published code's step in place of a projection: divide each token by its largest absolute entry.

    A token that is all zero, as padding is, stays so, also at a `guard` of 0.
    """
    largest = r.abs().amax(-1, keepdim=True)
    return r / torch.where(largest > 0, largest + guard, 1)


def stable_kl(p: Float[Tensor, "*entries classes"], q: Float[Tensor, "*entries classes"]) -> Float[Tensor, "*entries"]:
    """Return the published code's inner divergence, which is no Kullback–Leibler divergence.

    2 Σ P (ρ(P) − ρ(Q)) with ρ(v) = −log(1/v − 1), a logit where a logarithm is meant, and without its gradient;
    squared error for regression.
    """
    if p.shape[-1] == 1:
        return squared_error(p, q)
    P, Q = F.softmax(p, -1), F.softmax(q, -1)
    return 2 * (P * (_rho(P) - _rho(Q))).sum(-1)


def stopped_kl(p: Float[Tensor, "*entries classes"], q: Float[Tensor, "*entries classes"]) -> Float[Tensor, "*entries"]:
    """Return the published code's outer divergence: the symmetric value, with the gradient of one argument at a time.

    KL(sg Q‖P) + KL(sg P‖Q), whose gradient near P = Q is half of the symmetric divergence's; squared error for
    regression.
    """
    if p.shape[-1] == 1:
        return squared_error(p, q)
    return kl(q.detach(), p) + kl(p.detach(), q)


def _rho(probability: Tensor) -> Tensor:
    probability = probability.detach()
    return -(1 / (probability + 1e-6) - 1 + 1e-6).log()
