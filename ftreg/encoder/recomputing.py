"""With activation checkpointing, layers run again in the backward in place of keeping what they made."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint


def recompute(layers: Sequence[nn.Module]) -> None:
    """Let the layers of an architecture that has no way of its own recompute themselves in training.

    Args:
        layers: one that is shared runs, and is recomputed, more than once.
    """
    for layer in dict.fromkeys(layers):
        # By its class rather than its `forward`, so that a copy of the layer recomputes itself and not the original.
        layer.__class__ = _recomputing(type(layer))


def _recomputing(cls: type[nn.Module]) -> type[nn.Module]:
    def forward(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
        if self.training and torch.is_grad_enabled():
            return checkpoint(cls.forward, self, *args, use_reentrant=False, **kwargs)
        return cls.forward(self, *args, **kwargs)

    return type(cls.__name__, (cls,), {"forward": forward})
