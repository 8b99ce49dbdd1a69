"""Mixout as its authors write it: one Linear that mixes in its own forward, with a backward written by hand.

Written from the paper's equation and a reading of the authors' loop; shares nothing with `ftreg`.
"""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class PublishedMixout(torch.autograd.Function):
    """((1 − m) U + m W − p U) / (1 − p), whose backward is m · g, without 1/(1 − p)."""

    @staticmethod
    def forward(ctx: Any, weight: Tensor, target: Tensor, kept: Tensor, p: float) -> Tensor:
        ctx.kept = kept
        return ((1 - kept) * target + kept * weight - p * target) / (1 - p)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Any, ...]:
        return ctx.kept * grads[0], None, None, None


class MixLinear(nn.Linear):
    """A Linear whose forward mixes; `kept` [in] is set from outside, so that a test can inject the mask."""

    target: Tensor
    kept: Tensor
    p: float
    published: bool

    def forward(self, x: Tensor) -> Tensor:
        if not self.training or self.p == 0:
            return super().forward(x)
        if self.published:
            weight = PublishedMixout.apply(self.weight, self.target, self.kept, self.p)
        else:
            weight = ((1 - self.kept) * self.target + self.kept * self.weight - self.p * self.target) / (1 - self.p)
        return nn.functional.linear(x, weight, self.bias)


def mixed_by_hand(weight: Any, target: Any, kept: Any, p: float) -> Any:
    """The mixed weight, entry by entry in numpy."""
    out = np.empty_like(weight)
    for row in range(weight.shape[0]):
        for column in range(weight.shape[1]):
            m = kept[column] if kept.ndim == 1 else kept[row, column]
            chosen = weight[row, column] if m else target[row, column]
            out[row, column] = (chosen - p * target[row, column]) / (1 - p)
    return out
