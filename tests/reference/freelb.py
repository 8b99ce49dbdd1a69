"""FreeLB as its authors write it (Zhu et al., ICLR 2020, arXiv 1909.11764): one pass after another, in plain PyTorch.

`freelb` follows the loop of zhuchen03/FreeLB, `huggingface-transformers/examples/run_glue_freelb.py`; `freelb_fairseq`
that of its `fairseq-RoBERTa/fairseq/tasks/sentence_prediction.py`. Written from a description of that code; shares
nothing with `ftreg`. Every port clears the `.grad` of `params` before it starts and after it has read them.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

Embed = Callable[[], Tensor]
LogitsOf = Callable[[Tensor], Tensor]


class Passes(NamedTuple):
    """What a port did: one entry per perturbed forward, then the value and its gradient, aligned with the params."""

    deltas: list[Tensor]
    losses: list[Tensor]
    value: Tensor
    gradients: list[Tensor]


def task_loss(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean over the batch of the cross-entropy, or of the squared error where logits are [B, 1]."""
    if logits.shape[-1] == 1:
        return (logits.squeeze(-1) - labels.to(logits.dtype)).pow(2).mean()
    return nn.functional.cross_entropy(logits, labels)


def zero_grad(params: list[Tensor]) -> None:
    for param in params:
        param.grad = None


def take_grad(params: list[Tensor]) -> list[Tensor]:
    """The accumulated gradients, zeros where there is none; the params are left without."""
    found = [torch.zeros_like(p) if p.grad is None else p.grad.detach().clone() for p in params]
    zero_grad(params)
    return found


def first_delta(draw: Tensor, mask: Tensor, s: float, norm: str) -> Tensor:
    """δ0 from a raw U(−1, 1) draw [B, T, d]: s/√(n_i·d) times it (l2) or s times it (linf), zero on padding."""
    real = mask.to(draw.dtype)
    delta = draw * real.unsqueeze(-1)
    if norm == "l2":
        dims = real.sum(1) * draw.shape[-1]
        return delta * (s / torch.sqrt(dims)).view(-1, 1, 1)
    if norm == "linf":
        return delta * s
    raise ValueError(norm)


def ascend(delta: Tensor, g: Tensor, alpha: float, eps: float, norm: str, floor: float = 1e-8) -> Tensor:
    """One step of length alpha per sequence along g, then back into the ball of radius eps (0: no ball)."""
    batch = delta.shape[0]
    if norm == "linf":
        denorm = g.reshape(batch, -1).abs().max(dim=1).values.clamp(min=floor).view(-1, 1, 1)
        delta = delta + alpha * g / denorm
        return delta.clamp(-eps, eps) if eps > 0 else delta
    denorm = g.reshape(batch, -1).norm(dim=1).clamp(min=floor).view(-1, 1, 1)
    delta = delta + alpha * g / denorm
    if eps > 0:
        length = delta.reshape(batch, -1).norm(dim=1).view(-1, 1, 1)
        delta = torch.where(length > eps, delta * eps / length, delta)
    return delta


def freelb(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], labels: Tensor, mask: Tensor, draw: Tensor,
    *, K: int, alpha: float, s: float, eps: float = 0.0, norm: str = "l2",
) -> Passes:  # fmt: skip
    """K forwards and backwards of loss/K, K − 1 ascents; the value is Σ_k loss_k / K.

    Beyond the script, the ascent's gradient is masked on padding: without effect unless the pooler sees padding.
    """
    real = mask.to(draw.dtype).unsqueeze(-1)
    deltas, losses = [], []
    zero_grad(params)
    delta = first_delta(draw, mask, s, norm).detach()
    for step in range(K):
        delta.requires_grad_()
        loss = task_loss(logits_of(embed() + delta), labels)
        (loss / K).backward()
        deltas.append(delta.detach().clone())
        losses.append(loss.detach())
        if step == K - 1:
            break
        # backward saw the batch mean over K; the direction is that of the sum of example losses
        g = delta.grad.detach().clone() * K * len(labels) * real
        delta = ascend(delta.detach(), g, alpha, eps, norm).detach()
    return Passes(deltas, losses, sum(losses) / K, take_grad(params))


def freelb_fairseq(
    embed: Embed, logits_of: LogitsOf, params: list[Tensor], labels: Tensor, mask: Tensor, draw: Tensor,
    *, adv_steps: int, alpha: float, s: float, eps: float = 0.0, norm: str = "l2",
) -> Passes:  # fmt: skip
    """A first pass at δ0, then adv_steps times an ascent and a pass; losses are sums, divided by 1 + adv_steps.

    The trainer's later division by the number of sentences is applied to what is returned. The gradient is
    normalised as backward left it, divided by 1 + adv_steps, with a floor of 1e-10.
    """
    real = mask.to(draw.dtype).unsqueeze(-1)
    sentences = len(labels)
    deltas, losses = [], []

    def forward_backward(delta: Tensor) -> None:
        loss = task_loss(logits_of(embed() + delta), labels) * sentences
        (loss / (1 + adv_steps)).backward()
        deltas.append(delta.detach().clone())
        losses.append(loss.detach() / sentences)

    zero_grad(params)
    delta = first_delta(draw, mask, s, norm).detach().requires_grad_()
    forward_backward(delta)
    for _ in range(adv_steps):
        g = delta.grad.detach().clone() * real
        delta = ascend(delta.detach(), g, alpha, eps, norm, floor=1e-10).detach().requires_grad_()
        forward_backward(delta)
    gradients = [g / sentences for g in take_grad(params)]
    return Passes(deltas, losses, sum(losses) / (1 + adv_steps), gradients)
