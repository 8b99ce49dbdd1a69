"""Virtual adversarial training (Miyato et al., TPAMI 2018, arXiv 1704.03976) on embedded sequences.

Follows the paper's power iteration; no public code is followed. The norm is that of a whole sequence. Written from a
description; shares nothing with `ftreg`.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from tests.reference.freelb import Embed, LogitsOf, Passes, take_grad, zero_grad


def kl(clean: Tensor, logits: Tensor) -> Tensor:
    """KL(p‖q) per example, [B], p from the clean logits; their squared difference where logits are [B, 1]."""
    if logits.shape[-1] == 1:
        return (logits.squeeze(-1) - clean.squeeze(-1)).pow(2)
    log_p, log_q = clean.log_softmax(-1), logits.log_softmax(-1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def normalize(r: Tensor, floor: float) -> Tensor:
    """Each sequence at unit Frobenius norm; a zero one stays zero."""
    tiny = torch.finfo(r.dtype).tiny
    # by the largest entry first, as the paper's own code does: squares of a gradient at ξ = 1e-6 underflow
    largest = r.reshape(len(r), -1).abs().max(dim=1).values.clamp(min=max(floor, tiny)).view(-1, 1, 1)
    r = r / largest
    length = r.reshape(len(r), -1).norm(dim=1).view(-1, 1, 1)
    return r / torch.maximum(length, floor / largest).clamp(min=tiny)


def vat(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], mask: Tensor, r0: Tensor,
    *, xi: float, epsilon: float, steps: int,
    clean_logits_fn: Callable[[], Tensor] | None = None, floor: float = 0.0,
) -> Passes:  # fmt: skip
    """mean_i KL(sg[p_i] ‖ f(E_i + r_i)), r_i = ε·d_i, d_i by `steps` power iterations from normalize(r0).

    r0 [B, T, d] is the N(0, 1) draw, masked on padding here. The gradient is taken with respect to ξ·d, what is added
    to E. The clean side is a constant throughout.

    Args:
        clean_logits_fn: gives f(E); by default `logits_of(embed())`.
        floor: lower bound of the gradient's norm; a zero gradient is never divided by, whatever it is.
    """
    zero_grad(params)
    real = mask.to(r0.dtype).unsqueeze(-1)
    with torch.no_grad():
        clean = logits_of(embed()) if clean_logits_fn is None else clean_logits_fn().detach()
    deltas, losses = [], []
    d = normalize(r0 * real, 0.0)
    for _ in range(steps):
        r = (xi * d).detach().requires_grad_()
        inner = kl(clean, logits_of(embed() + r))
        (g,) = torch.autograd.grad(inner.sum(), r)
        deltas.append(r.detach())
        losses.append(inner.mean().detach())
        d = normalize(g * real, floor)
    r_adv = (epsilon * d).detach()
    value = kl(clean, logits_of(embed() + r_adv)).mean()
    value.backward()
    deltas.append(r_adv)
    losses.append(value.detach())
    return Passes(deltas, losses, value.detach(), take_grad(params))
