"""A task's metrics are exact under any sharding of the rows, and defined where predictions are degenerate."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import (
    BinaryF1Score,
    MulticlassAccuracy,
    MulticlassConfusionMatrix,
    MulticlassF1Score,
    MultilabelExactMatch,
    MultilabelF1Score,
)
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError
from torchmetrics.utilities import dim_zero_cat

from glue_tasks.entity_scores import EntityScore, TokenAccuracy, Which
from glue_tasks.kinds import METRICS, Kind
from glue_tasks.own_metric import own_metric
from glue_tasks.tables import label_sets, labels_of
from glue_tasks.tasks import Task


def metrics(task: Task, sync_on_compute: bool = True) -> MetricCollection:
    """Return the task's metrics by name: `update(predictions, labels)`, both [N], class ids or floats.

    accuracy; f1 of class 1; macro_f1, the mean of every class's, of those that are predicted or there; micro_f1, of
    all decisions together; matthews; pearson, spearman; mse, mae, which are better the lower they are. `compute()`
    gathers over the ranks, each with any number of rows, unless `sync_on_compute` is off.

    Of sets of labels both are long [N, labels] of 0 and 1: micro_f1, of all decisions; macro_f1, the mean of every
    label's, 0 for one that is neither predicted nor there; subset_accuracy, the share of rows with all labels right.

    Of tokens both are class ids [words], row after row, and `update` takes `words` [N] too, how many each row has; see
    `glue_tasks.entity_scores`.

    Raises `DataError` where a metric by class path does not suit the task.
    """
    sync: dict[str, Any] = {"sync_on_compute": sync_on_compute}
    make = _MAKERS[task.kind or "single_label"](task, sync)
    made: dict[str, Metric | MetricCollection] = {
        name: make[metric]()
        if isinstance(metric, str) and metric in make
        else own_metric(task, metric, sync_on_compute)
        for name, metric in zip(task.metric_names, task.metrics, strict=True)
    }
    # compute groups form at the first update, which a rank without rows never sees: keep all ranks alike
    return MetricCollection(made, compute_groups=False)


Makers = dict[str, Callable[[], Metric]]


def _of_classes(task: Task, sync: dict[str, Any]) -> Makers:
    classes = task.num_labels
    return {
        "accuracy": lambda: MulticlassAccuracy(classes, average="micro", **sync),
        "f1": lambda: BinaryF1Score(**sync),
        "macro_f1": lambda: MulticlassF1Score(classes, average="macro", **sync),
        "micro_f1": lambda: MulticlassF1Score(classes, average="micro", **sync),
        "matthews": lambda: Matthews(classes, **sync),
    }


def _of_targets(task: Task, sync: dict[str, Any]) -> Makers:
    return {
        "pearson": lambda: Correlation(ranks=False, **sync),
        "spearman": lambda: Correlation(ranks=True, **sync),
        "mse": lambda: MeanSquaredError(**sync),
        "mae": lambda: MeanAbsoluteError(**sync),
    }


def _of_sets(task: Task, sync: dict[str, Any]) -> Makers:
    labels = task.num_labels
    return {
        "micro_f1": lambda: MultilabelF1Score(labels, average="micro", **sync),
        "macro_f1": lambda: MultilabelF1Score(labels, average="macro", **sync),
        "subset_accuracy": lambda: MultilabelExactMatch(labels, **sync),
    }


def _of_tokens(task: Task, sync: dict[str, Any]) -> Makers:
    which: tuple[Which, ...] = ("f1", "precision", "recall")
    return {f"entity_{one}": partial(EntityScore, task.labels, one, **sync) for one in which} | {
        "accuracy": lambda: TokenAccuracy(task.labels, **sync)
    }


_MAKERS: Mapping[Kind, Callable[[Task, dict[str, Any]], Makers]] = {
    "single_label": _of_classes,
    "multi_label": _of_sets,
    "regression": _of_targets,
    "tokens": _of_tokens,
}


def errors(task: Task) -> tuple[str, ...]:
    """Return the names of those metrics of a task of which less is better."""
    return tuple(name for name, metric in metrics(task).items() if not metric.higher_is_better)


def combined(task: Task, scores: Mapping[str, float]) -> float:
    """Return the one number that a checkpoint is chosen by; more is better.

    The mean of the task's metrics, as GLUE has it, where they share a scale: all are correlations, F1 scores or
    accuracies. Else the first of them alone, an error with its sign reversed.
    """
    names = task.metric_names
    if all(isinstance(metric, str) and metric in SCORES for metric in task.metrics):
        return sum(scores.values()) / len(scores)
    return -scores[names[0]] if names[0] in errors(task) else scores[names[0]]


SCORES = frozenset({*METRICS["single_label"], *METRICS["multi_label"], *METRICS["regression"]} - {"mse", "mae"})
"""At most 1, and 0 where nothing is learnt: these can be averaged."""


class Matthews(MulticlassConfusionMatrix):
    """Matthews correlation is 0 where predictions or labels have one class only, as in scikit-learn.

    torchmetrics' own gives ±1 or a small number there.
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        """Return the correlation, a scalar float32."""
        counts = super().compute().double()  # [true, predicted]
        true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
        covariance = counts.trace() * total - true @ predicted
        scale = (total**2 - true @ true) * (total**2 - predicted @ predicted)
        return torch.where(scale > 0, covariance / scale.sqrt(), 0.0).float()


class Correlation(Metric):
    """This is Pearson's correlation of predictions and targets, or Spearman's, which is that of their `ranks`.

    NaN when either is constant or not finite. Keeps all values: torchmetrics' running Pearson turns NaN under
    DDP when a rank has no rows.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    predictions: list[Tensor]
    targets: list[Tensor]

    def __init__(self, ranks: bool, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.ranks = ranks
        self.add_state("predictions", [], dist_reduce_fx="cat")
        self.add_state("targets", [], dist_reduce_fx="cat")

    def update(self, predictions: Tensor, targets: Tensor) -> None:
        """Take predictions and targets, both [N]."""
        self.predictions.append(predictions.detach().float())
        self.targets.append(targets.detach().float())

    def compute(self) -> Tensor:
        """Return the correlation, a scalar float32."""
        both = torch.stack([dim_zero_cat(self.predictions), dim_zero_cat(self.targets)])
        return correlation(both.double(), self.ranks).float()


def correlation(values: Tensor, ranks: bool) -> Tensor:
    """Return Pearson's (or, by ranks, Spearman's) correlation of the rows of `values`, float64 [2, N]; or NaN."""
    constant = values.shape[1] == 0 or bool((values.amin(1) == values.amax(1)).any())
    if constant or not bool(values.isfinite().all()):
        return values.new_tensor(torch.nan)
    if ranks:
        values = torch.stack([average_ranks(row) for row in values])
    centred = values - values.mean(1, keepdim=True)
    unit = centred / centred.square().sum(1, keepdim=True).sqrt()
    return unit.prod(0).sum().clamp(-1, 1)


def average_ranks(values: Tensor) -> Tensor:
    """Return the rank of each of the values [N], from 1; equal values share the mean of theirs."""
    _, position, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = counts.cumsum(0) - (counts - 1) / 2
    return ranks.to(values.dtype)[position]


def majority(task: Task, train: Dataset, table: Dataset) -> dict[str, float]:
    """Return the scores on a table of one prediction for all of it: the commonest class of `train`, or its mean target.

    Of tokens, the commonest class of a token, most often O. Of sets of labels, those that more than half of the rows
    have.
    """
    scores = metrics(task, sync_on_compute=False)
    if task.kind == "tokens":
        of = torch.tensor([label for row in table["label"][:] for label in row])
        words = torch.tensor([len(row) for row in table["label"][:]])
        commonest = np.bincount([label for row in train["label"][:] for label in row]).argmax()
        scores.update(torch.full_like(of, int(commonest)), of, words)
    elif task.kind == "multi_label":
        sets = torch.from_numpy(label_sets(table, task.num_labels)).long()
        held = torch.from_numpy(label_sets(train, task.num_labels)).mean(0) > 0.5
        scores.update(held.long().expand_as(sets), sets)
    else:
        known = labels_of(train)
        constant = float(known.mean()) if task.regression else int(np.bincount(known).argmax())
        of = torch.from_numpy(labels_of(table))
        scores.update(torch.full_like(of, constant), of)
    return {name: float(score) for name, score in scores.compute().items()}
