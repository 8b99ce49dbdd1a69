"""The engine needs one private member of torch, used here alone; tried with torch 2.6 to 2.13."""

from collections.abc import Callable
from typing import Any

from torch import Tensor
from torch.autograd import Variable


def around_backward(tensor: Tensor, enter: Callable[[], None], leave: Callable[[], None]) -> None:
    """Call `enter` when a backward through a tensor begins, and `leave` once all of that backward has run.

    `leave` is not called by a backward that fails.
    """

    def begin(gradient: Tensor) -> None:
        enter()
        engine: Any = Variable._execution_engine
        engine.queue_callback(leave)

    if tensor.requires_grad:
        tensor.register_hook(begin)
