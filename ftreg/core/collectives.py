"""The processes of a fit decide and know some things together; with one process, it does so by itself."""

from typing import TypeVar

import torch
import torch.distributed
from torch import Tensor

T = TypeVar("T")


def any_rank(flag: Tensor, world: int) -> bool:
    """Return whether it is true on one of the ranks. One host synchronisation, as in a single process."""
    if world > 1:
        flag = flag.int()
        torch.distributed.all_reduce(flag, torch.distributed.ReduceOp.MAX)
    return bool(flag)


def all_ranks(value: T, world: int) -> list[T]:
    """Gather everyone's plain value, in the order of the ranks."""
    found: list[T] = [value] * world
    if world > 1:
        torch.distributed.all_gather_object(found, value)
    return found


def summed(tensors: list[Tensor], world: int) -> list[Tensor]:
    """Return the sum over ranks of each tensor, which has the same shape on all of them. One collective."""
    if world == 1 or not tensors:
        return tensors
    flat = torch.cat([tensor.flatten() for tensor in tensors])
    torch.distributed.all_reduce(flat)
    parts = flat.split([tensor.numel() for tensor in tensors])
    return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]


def rank() -> int:
    """Return this process's rank; 0 where there is one process."""
    return (
        torch.distributed.get_rank() if torch.distributed.is_available() and torch.distributed.is_initialized() else 0
    )
