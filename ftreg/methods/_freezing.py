"""Parts of the network that do not train yet, exactly, under DDP and beside every other method.

Frozen weights are given to the forward detached: autograd then computes no gradient for them, and for a part below
which nothing trains it keeps nothing, so that part costs its forward alone. `requires_grad` stays as it is: DDP has
counted the parameters when it wrapped the model, and would leave out, silently, what is unfrozen later.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import Tensor

from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.groups import group, groups
from ftreg.encoder.noise import Noise
from ftreg.functional.deposit import deposit


class Freezing(Regularizer, ABC):
    """A method that says which parts are frozen at an optimizer step."""

    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.TRAINABLE})

    def __init__(self) -> None:
        self._group: dict[str, str] = {}
        self._parts: list[str] = []
        self._total = 1

    @abstractmethod
    def frozen(self, parts: list[str], progress: float) -> Collection[str]:
        """The parts that do not train.

        Args:
            parts: all of them, lowest first; the last one is the head.
            progress: the share of the optimizer steps that has been taken, from 0 to 1.
        """

    def remember(self, encoder: Encoder) -> None:
        trainable = [name for name, p in encoder.named_parameters() if p.requires_grad]
        self._group = {name: group(encoder, name) for name in trainable}
        self._parts = [part for part in groups(encoder) if part in self._group.values()]

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._total = int(trainer.estimated_stepping_batches)

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        return {name: params[name].detach() for name in self._names(noise.step)}

    def penalty(self, step: Step) -> Mapping[str, Scalar] | None:
        names = self._names(step.number)
        if not names or not torch.distributed.is_initialized():
            return None
        # DDP waits for every parameter's gradient, in every step.
        held = [step.params[name] for name in names]
        nothing = step.labels.new_zeros((), dtype=held[0].dtype)
        return {"": deposit(nothing, held, [torch.zeros_like(p) for p in held])}

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        # No gradient rather than zero: no decay, no moments, and no step is counted for bias correction.
        params: Mapping[str, Any] = dict(pl_module.encoder.named_parameters())  # type: ignore[union-attr]
        for name in self._names(trainer.global_step):
            params[name].grad = None

    def _names(self, number: int) -> list[str]:
        frozen = self.frozen(self._parts, number / self._total)
        return [name for name, part in self._group.items() if part in frozen]
