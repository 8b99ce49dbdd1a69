"""Methods that break one promise each, which the contracts must find."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from ftreg.core.method import Regularizer
from ftreg.core.step import Step
from ftreg.encoder.noise import Noise


class Idle(Regularizer):
    """Does nothing."""


class LeavesHook(Regularizer):
    """Is still there after the fit."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.encoder.model.classifier.register_forward_hook(lambda *args: None)


class LeavesFrozen(Regularizer):
    """Freezes the head's bias for good."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        pl_module.encoder.model.classifier.bias.requires_grad_(False)


class LeavesWeights(Regularizer):
    """Does not put the real weights back after a failure."""

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        return {name: 0.9 * p for name, p in params.items()}

    def on_exception(self, *args: Any) -> None:
        """Does not call the base class's."""


class KnowsItsPlace(Regularizer):
    """Weighs more the later it is listed."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
        self._place = callbacks.index(self)

    def penalty(self, step: Step) -> Tensor:
        return self._place * step.loss()


class LosesOption(Regularizer):
    """Keeps an argument as another value than it was given."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = 2 * weight
