"""Parts of the network do not train yet: exactly so, under DDP and beside every other method.

Frozen weights are given to the forward detached: autograd then computes no gradient for them, and for a part below
which nothing trains it keeps nothing, so that part costs its forward alone. `requires_grad` stays as it is: DDP has
counted the parameters when it wrapped the model, and would leave out, silently, what is unfrozen later.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import ClassVar

from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.groups import group, groups
from ftreg.encoder.noise import Noise
from ftreg.methods import _held_out


class Freezing(Regularizer, ABC):
    """A freezing method says which parts are frozen at an optimizer step."""

    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.TRAINABLE})

    def __init__(self) -> None:
        self._group: dict[str, str] = {}
        self._parts: list[str] = []
        self._total = 1

    @abstractmethod
    def frozen(self, parts: list[str], progress: float) -> Collection[str]:
        """Return the parts that do not train.

        Args:
            parts: all of them, lowest first; the last one is the head.
            progress: the share of the optimizer steps that has been taken, from 0 to 1.
        """

    def remember(self, encoder: Encoder) -> None:
        trainable = [name for name, p in encoder.named_parameters() if p.requires_grad]
        self._group = {name: group(encoder, name) for name in trainable}
        self._parts = [part for part in groups(encoder) if part in self._group.values()]
        if {*self._parts} <= {*self.frozen(self._parts, 0.0)}:
            raise encoder.architecture.refusal(
                self.name, "no part of its head trains, so at first nothing would; let it train (PEFT: modules_to_save)"
            )

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        if total is None and self.frozen(self._parts, 0.0):
            raise UsageError(
                f"{self.name}.share is a share of all optimizer steps, and how many there are is not known; "
                f"give Engine(total_steps=...)"
            )
        self._total = total or 1

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        return {name: params[name].detach() for name in self._names(noise.step)}

    def penalty(self, step: Step) -> Mapping[str, Scalar] | None:
        return _held_out.zeros(step, self._names(step.number))

    def before_step(self, encoder: Encoder, number: int) -> None:
        _held_out.withhold(encoder, self._names(number))

    def _names(self, number: int) -> set[str]:
        """Return the parameters that optimizer step `number` leaves as they are."""
        frozen = self.frozen(self._parts, number / self._total)
        return {name for name, part in self._group.items() if part in frozen}
