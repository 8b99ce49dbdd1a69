"""A divergence says how far two predictions are apart: logits [..., classes], one column for a number."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def squared_error(p: Float[Tensor, "*entries 1"], q: Float[Tensor, "*entries 1"]) -> Float[Tensor, "*entries"]:
    """Return (p − q)²."""
    return (p - q).squeeze(-1).square()


def kl(p: Float[Tensor, "*entries classes"], q: Float[Tensor, "*entries classes"]) -> Float[Tensor, "*entries"]:
    """Return KL(P‖Q) = Σ P (log P − log Q) of the softmaxed logits, in nats; squared error for regression."""
    if p.shape[-1] == 1:
        return squared_error(p, q)
    log_p, log_q = F.log_softmax(p, -1), F.log_softmax(q, -1)
    return (log_p.exp() * (log_p - log_q)).sum(-1)


def symmetric_kl(
    p: Float[Tensor, "*entries classes"], q: Float[Tensor, "*entries classes"]
) -> Float[Tensor, "*entries"]:
    """Return KL(P‖Q) + KL(Q‖P) of the softmaxed logits, in nats; squared error for regression. Temperature 1."""
    if p.shape[-1] == 1:
        return squared_error(p, q)
    log_p, log_q = F.log_softmax(p, -1), F.log_softmax(q, -1)
    return ((log_p.exp() - log_q.exp()) * (log_p - log_q)).sum(-1)
