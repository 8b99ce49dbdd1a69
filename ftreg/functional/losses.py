"""A sentence classifier's losses are computed example by example."""

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor


def task_losses(logits: Float[Tensor, "batch classes"], labels: Tensor) -> Float[Tensor, "batch"]:
    """Return the task loss per example: cross-entropy, or squared error where there is one output."""
    if logits.shape[-1] == 1:
        return (logits.squeeze(-1) - labels.to(logits.dtype)).square()
    return F.cross_entropy(logits, labels, reduction="none")
