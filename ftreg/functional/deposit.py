"""`deposit` hands parameter gradients to the one backward pass of a training step.

An objective that runs K passes gathers its gradients itself, pass by pass, and would need K backward passes. Under
DDP only one backward is armed to all-reduce, and Lightning erases what an earlier one left in `.grad`. So the passes
before the last use `torch.autograd.grad`, and the sum of their gradients is attached to the last loss: its ordinary
backward then carries them through loss scaling, accumulation, all-reduce and clipping.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor


class _Deposit(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, loss: Tensor, count: int, *params_and_gradients: Tensor) -> Tensor:
        ctx.save_for_backward(*params_and_gradients[count:])
        return loss.clone()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor | None, ...]:
        (scale,) = grad_outputs
        gradients = [gradient * scale.to(gradient.dtype) for gradient in ctx.saved_tensors]
        return (scale, None, *gradients, *(None for _ in gradients))


def deposit(loss: Tensor, params: Sequence[Tensor], gradients: Sequence[Tensor | None]) -> Tensor:
    """Return `loss`, whose backward also adds `gradients` to `params`.

    Args:
        loss: scalar of the last pass.
        params: parameters, or tensors with a graph of their own.
        gradients: one per parameter, of its shape; None adds nothing.

    Returns:
        a scalar equal to `loss`; its gradient with respect to `params` is the loss's plus `gradients`.
    """
    pairs = [(p, g) for p, g in zip(params, gradients, strict=True) if g is not None]
    out: Any = _Deposit.apply(  # type: ignore[no-untyped-call]
        loss, len(pairs), *(p for p, _ in pairs), *(g for _, g in pairs)
    )
    assert isinstance(out, Tensor)
    return out
