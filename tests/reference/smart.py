"""SMART as in the paper (Jiang et al., ACL 2020, arXiv 1911.03437): smoothness, Bregman proximal point, teacher.

The public code (namisan/mt-dnn) has neither the projection nor the teacher, so this follows the paper's equations;
`smart_public` follows that code. Written from a description of both; shares nothing with `ftreg`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.reference.freelb import Embed, LogitsOf, Passes, take_grad, zero_grad


def ell_s(logits: Tensor, other: Tensor) -> Tensor:
    """ℓ_s per example, [B]: KL(P‖Q) + KL(Q‖P), or (P − Q)² where logits are [B, 1]."""
    if logits.shape[-1] == 1:
        return (logits.squeeze(-1) - other.squeeze(-1)).pow(2)
    log_p, log_q = logits.log_softmax(-1), other.log_softmax(-1)
    kl_pq = (log_p.exp() * (log_p - log_q)).sum(-1)
    kl_qp = (log_q.exp() * (log_q - log_p)).sum(-1)
    return kl_pq + kl_qp


def smoothness(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], mask: Tensor, r0: Tensor,
    *, epsilon: float, step_size: float, steps: int,
    clean_logits_fn: Callable[[], Tensor] | None = None, floor: float = 0.0,
) -> Passes:  # fmt: skip
    """R_s = mean_i max_{‖r‖_∞ ≤ ε} ℓ_s(f(E_i + r), f(E_i)), without λ_s, by `steps` projected ascents from r0.

    r0 [B, T, d] is the N(0, σ²) draw. Each ascent divides the gradient of the *sum* of ℓ_s by its largest absolute
    entry in the example. The last r is a constant; the gradient flows through both arguments of ℓ_s.

    Args:
        clean_logits_fn: gives f(E) with its graph; by default `logits_of(embed())`.
        floor: lower bound of the infinity norm; a zero gradient is never divided by, whatever it is.
    """
    zero_grad(params)
    real = mask.to(r0.dtype).unsqueeze(-1)
    clean = logits_of(embed()) if clean_logits_fn is None else clean_logits_fn()
    deltas, losses = [], []
    r = (r0 * real).detach()
    for _ in range(steps):
        r.requires_grad_()
        inner = ell_s(logits_of(embed() + r), clean.detach())
        (g,) = torch.autograd.grad(inner.sum(), r)
        deltas.append(r.detach().clone())
        losses.append(inner.mean().detach())
        g = g * real
        g_inf = g.reshape(len(g), -1).abs().max(dim=1).values.clamp(min=max(floor, torch.finfo(g.dtype).tiny))
        r = (r.detach() + step_size * g / g_inf.view(-1, 1, 1)).clamp(-epsilon, epsilon) * real
    value = ell_s(logits_of(embed() + r), clean).mean()
    value.backward()
    deltas.append(r)
    losses.append(value.detach())
    return Passes(deltas, losses, value.detach(), take_grad(params))


def bregman(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], teacher_logits: Tensor
) -> tuple[Tensor, list[Tensor]]:
    """D_Breg = mean_i ℓ_s(f(x_i; θ), f(x_i; θ̃)), without μ, and its gradient; none goes to the teacher."""
    zero_grad(params)
    value = ell_s(logits_of(embed()), teacher_logits.detach()).mean()
    value.backward()
    return value.detach(), take_grad(params)


def momentum(teacher: list[Tensor], params: list[Tensor], beta: float) -> list[Tensor]:
    """θ̃ ← β·θ̃ + (1 − β)·θ, as new tensors; called after the optimizer's step."""
    return [beta * old.detach() + (1 - beta) * new.detach() for old, new in zip(teacher, params, strict=True)]


def beta_at(step: int, total: int, early: float = 0.99, late: float = 0.999, switch: float = 0.1) -> float:
    """β of update `step` (from 0) of `total`: `early` for the first `switch` of them, then `late`."""
    return early if step < switch * total else late
