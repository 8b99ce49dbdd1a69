"""These criteria are for tasks with one answer an example: classes, labels, scores, choices."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ftreg._base.checks import within
from ftreg._base.errors import UsageError
from ftreg.core.criteria.criterion import Between, Criterion
from ftreg.core.criteria.outputs import OfOutput


class SingleLabel(Criterion):
    """The loss is the cross-entropy of one class an example: logits [batch, classes], labels [batch].

    Multiple choice is the same, with a row's choices as its classes.

    Args:
        label_smoothing: the share of the target that is spread over all classes.

    Raises:
        UsageError: the share is not between 0 and 1.
    """

    def __init__(self, label_smoothing: float = 0.0) -> None:
        within(self.name, 0, 1, label_smoothing=label_smoothing)
        self.label_smoothing = label_smoothing

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        labels = self.target(batch)
        return F.cross_entropy(answer, labels, reduction="none", label_smoothing=self.label_smoothing)

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        return between(p, q)

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:
        self.expect("labels", batch, (len(answer),), "integers")


class MultipleChoice(SingleLabel):
    """The loss is the cross-entropy of the right choice: logits [batch, choices], `input_ids` [batch, choices, tokens].

    An example's perturbation is over the tokens of all of its choices together.
    """


class MultiLabel(Criterion):
    """The loss is binary cross-entropy, averaged over the labels: logits [batch, labels]; labels alike, from 0 to 1.

    The divergence is the mean over the labels of that between two coins.
    """

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        labels = self.target(batch).to(answer.dtype)
        return F.binary_cross_entropy_with_logits(answer, labels, reduction="none").mean(1)

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        return between(_coins(p), _coins(q)).mean(1)

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:
        self.expect("labels", batch, tuple(answer.shape), "numbers")


class Regression(Criterion):
    """The loss is the squared error, averaged over the outputs: [batch, outputs]; labels alike, or [batch] for one."""

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        labels = self.target(batch).to(answer.dtype)
        if answer.shape[1] == 1:
            return (answer.squeeze(-1) - labels.view(len(answer))).square()
        return (answer - labels).square().mean(1)

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        # Of one number, every divergence of `ftreg.functional` is the squared error.
        return between(p.unsqueeze(-1), q.unsqueeze(-1)).mean(1)

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:
        if self.target(batch).numel() != answer.numel() or len(self.target(batch)) != len(answer):
            self.expect("labels", batch, tuple(answer.shape), "numbers")


class ClassOrScore(Criterion):
    """An example has one class, or a score where the head has one output: as transformers' models take it.

    By each answer, and not once for all: tasks that share an encoder may be of both kinds.
    """

    def __init__(self) -> None:
        self._classes, self._score = SingleLabel(), Regression()

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        return self._of(answer).losses(answer, batch)

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        return self._of(p).divergence(p, q, mask, between)

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:
        self._of(answer).check_targets(answer, batch)

    def _of(self, answer: Tensor) -> Criterion:
        return self._score if answer.shape[-1] == 1 else self._classes


class Custom(OfOutput):
    """A user's function makes the loss of each example [batch] of the model's output and the batch.

    Args:
        function: `function(output, batch)`, with the output as the model's forward returns it.
        divergence: of two logits, one number an example; without it, methods that compare predictions are refused.

    Raises:
        UsageError: one of them is no function.
    """

    def __init__(self, function: Any, divergence: Any = None) -> None:
        for name, value in {"function": function, "divergence": divergence}.items():
            if not callable(value) and not (name == "divergence" and value is None):
                raise UsageError(f"criterion: {name} is {value!r}; give a function, or one of ftreg.criteria")
        self._function, self._divergence = function, divergence
        self.head: Criterion | None = None
        """Says what is an answer of the model's head, where that is of a known kind; its logits otherwise."""

    def answer(self, output: Any) -> Tensor:
        answer = super().answer(output) if self.head is None else self.head.answer(output)
        return self.keep(answer, output)

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        losses = self._function(self.output_of(answer), batch)
        if not isinstance(losses, Tensor) or losses.shape != (len(answer),):
            found = f"shape {list(losses.shape)}" if isinstance(losses, Tensor) else f"a {type(losses).__name__}"
            raise UsageError(
                f"criterion: the function returns {found}, not one loss for each of the {len(answer)} examples; "
                f"give reduction='none' and average over an example's own positions alone"
            )
        return losses

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        if self._divergence is None:
            raise UsageError(
                "criterion: a method compares two predictions, and a function alone does not say how; "
                "give ftreg.criteria.Custom(function, divergence)"
            )
        found: Tensor = self._divergence(p, q)
        return found


def _coins(logits: Float[Tensor, "batch labels"]) -> Float[Tensor, "batch labels 2"]:
    return torch.stack([torch.zeros_like(logits), logits], -1)
