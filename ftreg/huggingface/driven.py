"""A Trainer calls the engine in this form: accelerate wraps it, and a `compute_loss` gets it as its model."""

from collections.abc import Mapping
from typing import Any

from torch import nn

from ftreg._base.errors import UsageError
from ftreg.core.engine import Engine
from ftreg.core.step import Scalar


class DrivenEngine(Engine):
    """An engine that tells a `compute_loss` that takes it for the model; arguments as of `Engine`."""

    keeps_output = False
    """Whether the next forward keeps what the model puts out in its first pass."""
    output: Any = None
    """What has been kept, with its graph."""

    def forward(self, batch: Mapping[str, Any] | None = None, **inputs: Any) -> Scalar:
        """Return the loss of a batch; see `Engine`.

        Raises:
            UsageError: the batch is given as a model takes it.
        """
        if batch is None or inputs:
            raise UsageError(
                "compute_loss calls the model by itself, and the methods would take no part; let it call "
                "super().compute_loss(model, inputs, ...), and give a loss of your own as criterion= or "
                "compute_loss_func="
            )
        self.output = None
        if not self.keeps_output:
            return super().forward(batch)
        handle = self.encoder.model.register_forward_hook(self._keep)
        try:
            return super().forward(batch)
        finally:
            handle.remove()

    def _keep(self, module: nn.Module, args: Any, output: Any) -> None:
        if self.output is None:
            self.output = output
