"""The metrics of a task, exact under any sharding of the rows, defined where predictions are degenerate."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torchmetrics import Metric, MetricCollection
from torchmetrics.classification import BinaryF1Score, MulticlassAccuracy, MulticlassConfusionMatrix, MulticlassF1Score
from torchmetrics.regression import MeanAbsoluteError, MeanSquaredError
from torchmetrics.utilities import dim_zero_cat

from glue_tasks.kinds import METRICS
from glue_tasks.own_metric import own_metric
from glue_tasks.tasks import Task


def metrics(task: Task, sync_on_compute: bool = True) -> MetricCollection:
    """The task's metrics by name: `update(predictions, labels)`, both [N], class ids or floats.

    accuracy; f1 of class 1; macro_f1, the mean of every class's, of those that are predicted or there; micro_f1, of
    all decisions together; matthews; pearson, spearman; mse, mae, which are better the lower they are. `compute()`
    gathers over the ranks, each with any number of rows, unless `sync_on_compute` is off.

    Raises `DataError` where a metric by class path does not suit the task.
    """
    classes = task.num_labels
    sync: dict[str, Any] = {"sync_on_compute": sync_on_compute}
    make: dict[str, Callable[[], Metric]] = {
        "accuracy": lambda: MulticlassAccuracy(classes, average="micro", **sync),
        "f1": lambda: BinaryF1Score(**sync),
        "macro_f1": lambda: MulticlassF1Score(classes, average="macro", **sync),
        "micro_f1": lambda: MulticlassF1Score(classes, average="micro", **sync),
        "matthews": lambda: Matthews(classes, **sync),
        "pearson": lambda: Correlation(ranks=False, **sync),
        "spearman": lambda: Correlation(ranks=True, **sync),
        "mse": lambda: MeanSquaredError(**sync),
        "mae": lambda: MeanAbsoluteError(**sync),
    }
    made: dict[str, Metric | MetricCollection] = {
        name: make[metric]()
        if isinstance(metric, str) and metric in make
        else own_metric(task, metric, sync_on_compute)
        for name, metric in zip(task.metric_names, task.metrics, strict=True)
    }
    # compute groups form at the first update, which a rank without rows never sees: keep all ranks alike
    return MetricCollection(made, compute_groups=False)


def errors(task: Task) -> tuple[str, ...]:
    """Names of those metrics of a task of which less is better."""
    return tuple(name for name, metric in metrics(task).items() if not metric.higher_is_better)


def combined(task: Task, scores: Mapping[str, float]) -> float:
    """The one number that a checkpoint is chosen by; more is better.

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
    """Matthews correlation; 0 where predictions or labels have one class only, as in scikit-learn.

    torchmetrics' own gives ±1 or a small number there.
    """

    higher_is_better = True

    def compute(self) -> Tensor:
        """Scalar float32."""
        counts = super().compute().double()  # [true, predicted]
        true, predicted, total = counts.sum(1), counts.sum(0), counts.sum()
        covariance = counts.trace() * total - true @ predicted
        scale = (total**2 - true @ true) * (total**2 - predicted @ predicted)
        return torch.where(scale > 0, covariance / scale.sqrt(), 0.0).float()


class Correlation(Metric):
    """Pearson's correlation of predictions and targets, or Spearman's, which is that of their `ranks`.

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
        """Both [N]."""
        self.predictions.append(predictions.detach().float())
        self.targets.append(targets.detach().float())

    def compute(self) -> Tensor:
        """Scalar float32."""
        both = torch.stack([dim_zero_cat(self.predictions), dim_zero_cat(self.targets)])
        return correlation(both.double(), self.ranks).float()


def correlation(values: Tensor, ranks: bool) -> Tensor:
    """Pearson's (or, by ranks, Spearman's) correlation of the rows of `values`, float64 [2, N]; or NaN."""
    constant = values.shape[1] == 0 or bool((values.amin(1) == values.amax(1)).any())
    if constant or not bool(values.isfinite().all()):
        return values.new_tensor(torch.nan)
    if ranks:
        values = torch.stack([average_ranks(row) for row in values])
    centred = values - values.mean(1, keepdim=True)
    unit = centred / centred.square().sum(1, keepdim=True).sqrt()
    return unit.prod(0).sum().clamp(-1, 1)


def average_ranks(values: Tensor) -> Tensor:
    """The rank of each of the values [N], from 1; equal values share the mean of theirs."""
    _, position, counts = torch.unique(values, return_inverse=True, return_counts=True)
    ranks: Tensor = counts.cumsum(0) - (counts - 1) / 2
    return ranks.to(values.dtype)[position]


def majority(task: Task, train: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """The scores of predicting the commonest class of `train`, or its mean, for every one of `labels`."""
    constant = float(train.mean()) if task.regression else int(np.bincount(train).argmax())
    of, scores = torch.from_numpy(labels), metrics(task, sync_on_compute=False)
    scores.update(torch.full_like(of, constant), of)
    return {name: float(score) for name, score in scores.compute().items()}
