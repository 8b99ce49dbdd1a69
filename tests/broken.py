"""Methods that break one promise each, which the contracts must find."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
from torch import Tensor

from ftreg.core.method import Regularizer
from ftreg.core.step import Step
from ftreg.encoder.encoder import Encoder


class Idle(Regularizer):
    """Does nothing."""


class LeavesHook(Regularizer):
    """Is still there after the fit."""

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        encoder.model.classifier.register_forward_hook(lambda *args: None)


class LeavesFrozen(Regularizer):
    """Freezes the head's bias for good."""

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        encoder.model.classifier.bias.requires_grad_(False)


class LeavesDropout(Regularizer):
    """Does not switch dropout on again after a failure."""

    @contextmanager
    def during(self, encoder: Encoder, batch: Mapping[str, Any]) -> Iterator[None]:
        dropout: Any = encoder.model.dropout
        before, dropout.p = dropout.p, 0.0
        yield
        dropout.p = before


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
