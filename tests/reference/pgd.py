"""PGD-K (Madry et al., ICLR 2018, arXiv 1706.06083) and FGM (Miyato, Dai, Goodfellow, ICLR 2017, arXiv 1605.07725).

PGD follows the variant in zhuchen03/FreeLB, `fairseq-RoBERTa/fairseq/tasks/sentence_prediction.py`, with the norm floor
that it lacks. FGM follows the paper's input scope: the gradient is that of each embedded sequence, not of the matrix.
Written from a description of that code; shares nothing with `ftreg`.
"""

import torch
from torch import Tensor

from tests.reference.freelb import Embed, LogitsOf, Passes, ascend, first_delta, take_grad, task_loss, zero_grad


def pgd(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], labels: Tensor, mask: Tensor, draw: Tensor,
    *, K: int, alpha: float, s: float, eps: float = 0.0, norm: str = "l2",
) -> Passes:  # fmt: skip
    """K ascents that leave the parameters' gradient alone, then one backward, undivided, at the last δ.

    `draw` [B, T, d] is the raw U(−1, 1) draw, scaled as in FreeLB. The value is the last of the K + 1 losses.
    """
    real = mask.to(draw.dtype).unsqueeze(-1)
    deltas, losses = [], []
    zero_grad(params)
    delta = first_delta(draw, mask, s, norm).detach()
    for _ in range(K):
        delta.requires_grad_()
        loss = task_loss(logits_of(embed() + delta), labels)
        (g,) = torch.autograd.grad(loss, delta)
        deltas.append(delta.detach().clone())
        losses.append(loss.detach())
        # of the sum of example losses, not of their mean
        delta = ascend(delta.detach(), g * len(labels) * real, alpha, eps, norm).detach()
    loss = task_loss(logits_of(embed() + delta), labels)
    loss.backward()
    deltas.append(delta)
    losses.append(loss.detach())
    return Passes(deltas, losses, loss.detach(), take_grad(params))


def fgm(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], labels: Tensor, mask: Tensor, *, epsilon: float
) -> Passes:
    """A clean backward, r = ε·g/‖g‖₂ per sequence, and a second backward at E + r; both gradients add up."""
    zero_grad(params)
    embedded = embed()
    real = mask.to(embedded.dtype).unsqueeze(-1)
    r = torch.zeros_like(embedded).detach().requires_grad_()
    clean = task_loss(logits_of(embedded + r), labels)
    clean.backward()
    g = r.grad.detach() * len(labels) * real
    length = g.reshape(len(labels), -1).norm(dim=1).clamp(min=1e-8).view(-1, 1, 1)
    r_adv = (epsilon * g / length).detach()
    adversarial = task_loss(logits_of(embed() + r_adv), labels)
    adversarial.backward()
    losses = [clean.detach(), adversarial.detach()]
    return Passes([r.detach(), r_adv], losses, losses[0] + losses[1], take_grad(params))
