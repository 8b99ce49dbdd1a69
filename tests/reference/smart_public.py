"""SMART as its public code runs it (Jiang et al., ACL 2020, arXiv 1911.03437; namisan/mt-dnn).

Follows `mt_dnn/perturbation.py` and `mt_dnn/loss.py`: raw gradient step, then each token divided by its largest
absolute entry, no ball; `stable_kl` inside, SymKlCriterion outside. Not taken over: the embeddings module applied a
second time (the perturbation is added to what the caller says), and the regression criterion that squeezes one argument
only. Written from a description of that code; shares nothing with `ftreg`.
"""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tests.reference.freelb import Embed, LogitsOf, Passes, take_grad, zero_grad


def stable_kl(logits: Tensor, target: Tensor) -> Tensor:
    """2·Σ p·(ρ(p) − ρ(y)), summed over the batch, ρ(v) = −log(1/(v + 1e-6) − 1 + 1e-6) constant; not a KL."""
    p, y = logits.softmax(-1), target.softmax(-1)
    rho_p = -(1 / (p + 1e-6) - 1 + 1e-6).detach().log()
    rho_y = -(1 / (y + 1e-6) - 1 + 1e-6).detach().log()
    return (2 * p * (rho_p - rho_y)).sum()


def sym_kl(logits: Tensor, target: Tensor) -> Tensor:
    """KL(sg[p_t]‖p_x) + KL(sg[p_x]‖p_t), each divided by the batch size; each direction's target is a constant."""
    one = F.kl_div(logits.log_softmax(-1), target.detach().softmax(-1), reduction="batchmean")
    two = F.kl_div(target.log_softmax(-1), logits.detach().softmax(-1), reduction="batchmean")
    return one + two


def smart_public(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], mask: Tensor, r0: Tensor,
    *, K: int, eta: float, epsilon: float, clean_logits_fn: Callable[[], Tensor] | None = None,
) -> Passes:  # fmt: skip
    """The loop's adv_loss, without adv_alpha: K times r ← u/(max_j|u_j| + ϵ) per token, u = r + η·∇_r.

    r0 [B, T, d] is the σ·N(0, 1) draw. One departure: the code leaves r0 and r on padding, here both are zero there,
    which has no effect on a model that pools its first token. As in the code, the perturbed passes share one
    `embed()`, and a gradient that is not finite makes the value and all gradients zero.
    """
    zero_grad(params)
    real = mask.to(r0.dtype).unsqueeze(-1)
    logits = logits_of(embed()) if clean_logits_fn is None else clean_logits_fn()
    regression = logits.shape[-1] == 1
    batch = len(logits)
    embedded = embed()
    deltas, losses = [], []
    r = (r0 * real).detach()
    for _ in range(K):
        r.requires_grad_()
        adv_logits = logits_of(embedded + r)
        if regression:
            loss = F.mse_loss(adv_logits.squeeze(-1), logits.detach().squeeze(-1), reduction="sum")
        else:
            loss = stable_kl(adv_logits, logits.detach())
        # the graph of `embedded` is not on the way to r, so it survives
        (g,) = torch.autograd.grad(loss, r)
        deltas.append(r.detach().clone())
        losses.append(loss.detach() / batch)
        if not torch.isfinite(g.norm()):
            return Passes(deltas, losses, torch.zeros_like(losses[-1]), take_grad(params))
        u = r.detach() + eta * g
        r = (u / (u.abs().max(dim=-1, keepdim=True).values + epsilon) * real).detach()
    adv_logits = logits_of(embedded + r)
    adv_loss = F.mse_loss(logits.squeeze(-1), adv_logits.squeeze(-1)) if regression else sym_kl(logits, adv_logits)
    adv_loss.backward()
    deltas.append(r)
    losses.append(adv_loss.detach())
    return Passes(deltas, losses, adv_loss.detach(), take_grad(params))
