"""Private members of torch are used in this file alone; tried with torch 2.6 to 2.13."""

from collections.abc import Callable
from typing import Any

import torch._functorch.config as functorch_config
from torch import Tensor, nn
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


def parameter_slots(module: nn.Module) -> dict[str, Any]:
    """Return the dict that a module looks its own parameters up in: what is put there, a forward uses."""
    return module._parameters


def module_slots(module: nn.Module) -> dict[str, nn.Module | None]:
    """Return the dict that a module looks its own parts up in: what is put there, a forward uses."""
    return module._modules


def keep_buffers() -> None:
    """Let a compiled layer's backward run more than once: its buffers are kept after the first."""
    functorch_config.donated_buffer = False


def hooks_on(parameter: Tensor) -> tuple[Any, Any]:
    """Return the hooks that a parameter's gradient calls: when it is computed, and when it is accumulated."""
    return parameter._backward_hooks, getattr(parameter, "_post_accumulate_grad_hooks", None)


def dropout_rate(module: nn.Module) -> float | None:
    """Return a dropout's rate; None for another module."""
    return module.p if isinstance(module, nn.modules.dropout._DropoutNd) else None
