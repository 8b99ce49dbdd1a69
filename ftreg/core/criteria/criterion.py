"""A criterion says how good an output is: losses and divergences per example, and which positions of it count.

Every method works on per-example numbers: an ascent follows the gradient of each example's own loss, a penalty is a
mean over examples. So a criterion never reduces over the batch; `Step.mean` does, once, and exactly under any sharding.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import torch
from jaxtyping import Float
from torch import Tensor

from ftreg._base.errors import UsageError

Between = Callable[[Tensor, Tensor], Tensor]
"""How far two distributions are apart: logits [..., classes] and [..., classes] → [...]; see `ftreg.functional`."""
IGNORED = -100
"""The label of a position that counts for nothing, as in `torch.nn.functional.cross_entropy`."""


class Criterion(ABC):
    """A criterion has a task's loss and divergence. Subclass it for a head of one's own."""

    reads_output: ClassVar[bool] = False
    """Whether the losses are of the whole output that `answer` was last called with, and not of the answer alone."""
    targets: ClassVar[tuple[str, ...]] = ("labels",)
    """The keys of a batch that hold what is to be predicted."""

    def answer(self, output: Any) -> Tensor:
        """Read what is judged off the model's output: a tensor whose first dimension is the batch."""
        return output.logits  # type: ignore[no-any-return]

    @abstractmethod
    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        """Compute the loss of each example.

        Args:
            answer: of the model, as `answer` reads it.
            batch: with the `targets`.
        """

    @abstractmethod
    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        """Compute how far two answers to the same examples are apart, for each of them.

        Args:
            p: an answer.
            q: another one.
            mask: 1 on real tokens [batch, tokens].
            between: of two distributions.
        """

    def weights(self, batch: Mapping[str, Any]) -> Float[Tensor, "batch"] | None:
        """Return how much each example counts in a mean over examples; None where all count alike."""
        return None

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:  # noqa: B027  most have nothing to refuse
        """Refuse targets that do not fit the answer; called before the losses.

        Raises:
            UsageError: says which and what to do.
        """

    @property
    def name(self) -> str:
        """The criterion's name in messages."""
        return type(self).__name__

    def target(self, batch: Mapping[str, Any], key: str = "labels") -> Tensor:
        """Return one of the targets.

        Raises:
            UsageError: the batch has none.
        """
        value = batch.get(key)
        if not isinstance(value, Tensor):
            raise UsageError(f"the batch has no tensor {key!r}, which {self.name} compares the output with; add it")
        return value

    def expect(self, key: str, batch: Mapping[str, Any], shape: tuple[int, ...], kind: str) -> None:
        """Refuse a target of another shape, or of another kind of number than `integers` or `numbers`.

        Raises:
            UsageError: names the key, both shapes or kinds, and the remedy.
        """
        value = self.target(batch, key)
        if tuple(value.shape) != shape:
            raise UsageError(
                f"{key} has shape {list(value.shape)}, and {self.name} needs {list(shape)}; mend the batch, or give "
                f"the criterion that fits it (ftreg.criteria)"
            )
        if kind == "integers" and (value.is_floating_point() or value.dtype == torch.bool):
            raise UsageError(
                f"{key} is of {value.dtype}, and {self.name} needs class ids, which are integers; give those, or "
                f"criterion=ftreg.criteria.MultiLabel() for several labels an example"
            )


def mean_over(values: Tensor, counted: Tensor) -> Float[Tensor, "batch"]:
    """Return each example's mean of the values [batch, ...] that are counted; 0 where none is."""
    values, counted = values.flatten(1), counted.flatten(1).expand_as(values.flatten(1))
    # `where`, because NaN × 0 is NaN.
    return torch.where(counted, values, 0).sum(1) / counted.sum(1).clamp(min=1)
