"""A Trainer's arguments ask for a criterion: transformers' own means, its label smoothing, its loss function."""

from collections.abc import Callable, Mapping
from typing import Any

import torch
import torch.nn.functional as F
from jaxtyping import Float
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.core.criteria import (
    IGNORED,
    ClassOrScore,
    Criterion,
    MultiLabel,
    OfOutput,
    QuestionAnswering,
    Regression,
    SingleLabel,
    TokenClassification,
    criterion_of,
)
from ftreg.core.criteria.criterion import Between
from ftreg.encoder.given import unwrapped


def criterion_for(model: Any, smoothing: float, given: Any = None, function: Any = None) -> Criterion:
    """Return the criterion by which a Trainer's loss is what transformers' own Trainer makes it.

    But for heads that answer at many positions, as on tokens: every example counts alike, as in every other loop here,
    where transformers' mean is over the labels of the whole batch. A warning says so, and how to have that one.

    Args:
        model: a transformers model, maybe wrapped by PEFT.
        smoothing: `label_smoothing_factor` of the arguments.
        given: `criterion` of the Trainer.
        function: `compute_loss_func` of the Trainer.

    Raises:
        UsageError: two of them say what the loss is, or the head's labels cannot be smoothed.
    """
    own = [*(["criterion"] if given is not None else []), *(["compute_loss_func"] if function is not None else [])]
    if len(own) == 2 or (own and smoothing):
        both = " and ".join([*own, *(["label_smoothing_factor"] if smoothing else [])])
        raise UsageError(f"{both} each say what the loss is; give one of them")
    inner = unwrapped(model)
    if given is not None:
        return criterion_of(inner, given)
    head = criterion_of(inner)
    if function is not None:
        return RowByRow(function, head)
    if isinstance(head, TokenClassification):
        name, options = type(head).__name__, f", label_smoothing={smoothing}" if smoothing else ""
        rank_zero_warn(
            f"every example counts alike, whatever the number of its labels; with transformers' own Trainer every "
            f'label does: criterion=ftreg.criteria.{name}("batch"{options})'
        )
        return type(head)(label_smoothing=smoothing)
    if type(head) is QuestionAnswering and not smoothing:
        return SpansInText()
    if not smoothing or isinstance(head, MultiLabel):  # transformers has warned that it leaves several labels as is
        return head
    if isinstance(head, SingleLabel) or (isinstance(head, ClassOrScore) and inner.config.num_labels > 1):
        return (type(head) if isinstance(head, SingleLabel) else SingleLabel)(label_smoothing=smoothing)
    raise UsageError(f"label_smoothing_factor is {smoothing}, and {head.name} has no classes to smooth; leave it out")


def settled(criterion: Criterion, model: Any, batch: Mapping[str, Any]) -> Criterion:
    """Return the criterion once a batch has shown its labels, and tell the model's configuration, as a forward would.

    A sequence classifier whose `problem_type` is not set learns several labels an example if they are no integers.
    """
    config, labels = unwrapped(model).config, batch.get("labels")
    if type(criterion) is not ClassOrScore or not isinstance(labels, Tensor):
        return criterion
    kinds: dict[str, Criterion] = {
        "regression": Regression(),
        "single_label_classification": SingleLabel(),
        "multi_label_classification": MultiLabel(),
    }
    several = labels.is_floating_point() or labels.dtype == torch.bool
    kind = [*kinds][0 if config.num_labels == 1 else 2 if several else 1]
    config.problem_type = kind
    return kinds[kind]


def counted(criterion: Criterion, batch: Mapping[str, Any]) -> Tensor:
    """Return how much a batch counts in a mean: as its labelled tokens, or as its examples with a label."""
    weights = criterion.weights(batch)
    if weights is not None:
        return weights.sum()
    labels = batch.get("labels")
    if isinstance(labels, Tensor) and labels.ndim == 1:
        return (labels != IGNORED).sum()
    ids = batch.get("input_ids")
    return torch.tensor(len(ids), device=ids.device) if isinstance(ids, Tensor) else torch.tensor(0)


class SpansInText(QuestionAnswering):
    """transformers' mean of spans: of starts over those in a batch's texts, and of ends over those.

    A part of a batch gives another share to its rows where some starts or ends are beyond the text, as there.
    """

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        rows, length = answer.shape[:2]
        sides = []
        for place, key in enumerate(self.targets):
            position = self.target(batch, key).view(rows).clamp(0, length)
            loss = F.cross_entropy(answer[..., place], position, reduction="none", ignore_index=length)
            sides.append(loss * rows / (position < length).sum().clamp(min=1))
        return (sides[0] + sides[1]) / 2


class RowByRow(OfOutput):
    """A Trainer's `compute_loss_func`, called on one example at a time; whole batches tell whether that is the same.

    Args:
        function: `function(outputs, labels, num_items_in_batch=...)`, to one loss.
        head: the criterion of the model's head, which says what an answer is and how far two are apart.
    """

    def __init__(self, function: Callable[..., Any], head: Criterion) -> None:
        self._function, self._head = function, head

    def answer(self, output: Any) -> Tensor:
        return self.keep(self._head.answer(output), output)

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        return self._head.divergence(p, q, mask, between)

    def weights(self, batch: Mapping[str, Any]) -> Float[Tensor, "batch"] | None:
        return (self.target(batch) != IGNORED).flatten(1).sum(1).float() if self.target(batch).ndim > 1 else None

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        labels, output = self.target(batch), self.output_of(answer)
        counts = (labels != IGNORED).view(len(labels), -1).sum(1)
        rows = []
        for row in range(len(labels)):
            one = slice(row, row + 1)
            part = type(output)(**{key: _rows(value, one, len(labels)) for key, value in output.items()})
            rows.append(self._function(part, labels[one], num_items_in_batch=counts[row].clamp(min=1)).reshape(()))
        losses = torch.where(counts > 0, torch.stack(rows), 0)
        with torch.no_grad():
            whole = self._function(output, labels, num_items_in_batch=counts.sum())
            mean = (losses * counts).sum() / counts.sum().clamp(min=1)
            if not torch.allclose(whole.to(mean.dtype), mean, rtol=torch.finfo(answer.dtype).eps ** 0.5):
                raise UsageError(
                    f"compute_loss_func gives {float(whole):.6g} for a batch, and {float(mean):.6g} as the mean over "
                    f"its examples one by one, which methods need; give criterion=, a function of the model's output "
                    f"and the batch that returns a loss for each example"
                )
        return losses


def _rows(value: Any, rows: slice, size: int) -> Any:
    """Return the same rows of whatever has a row for each example."""
    if isinstance(value, tuple):
        return tuple(_rows(part, rows, size) for part in value)
    return value[rows] if isinstance(value, Tensor) and value.ndim and len(value) == size else value
