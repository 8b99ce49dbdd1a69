"""Metrics against scikit-learn and scipy, in one process and several, and where they are degenerate."""

import math
import multiprocessing
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from sklearn.metrics import (  # type: ignore[import-untyped]
    accuracy_score,
    cohen_kappa_score,
    f1_score,
    fbeta_score,
    matthews_corrcoef,
)
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

from glue_tasks.errors import DataError
from glue_tasks.metrics import average_ranks, combined, errors, metrics
from glue_tasks.own_metric import import_classes
from glue_tasks.registry import find
from glue_tasks.tasks import Task

CLASSES = Task("classes", ("text",), ("a", "b"), ("accuracy", "f1", "macro_f1", "micro_f1", "matthews"))
THREE = Task("three", ("text",), ("a", "b", "c"), ("accuracy", "macro_f1", "micro_f1", "matthews"))
NUMBERS = Task("numbers", ("text",), (), ("pearson", "spearman"))
ERRORS = Task("errors", ("text",), (), ("mse", "mae"))


def example(task: Task, count: int) -> tuple[Tensor, Tensor]:
    """Predictions and labels that agree somewhat, with ties in the numbers."""
    generator = torch.Generator().manual_seed(1)
    if task.regression:
        labels = torch.randint(0, 26, (count,), generator=generator) / 5
        return labels + torch.randn(count, generator=generator).round(decimals=1), labels
    labels = torch.randint(task.num_labels, (count,), generator=generator)
    other = torch.randint(task.num_labels, (count,), generator=generator)
    return torch.where(torch.rand(count, generator=generator) < 0.5, labels, other), labels


def reference(task: Task, predictions: Tensor, labels: Tensor) -> dict[str, float]:
    p, y = predictions.numpy(), labels.numpy()
    every = {
        "accuracy": lambda: accuracy_score(y, p),
        "f1": lambda: f1_score(y, p, pos_label=1),
        "macro_f1": lambda: f1_score(y, p, average="macro"),
        "micro_f1": lambda: f1_score(y, p, average="micro"),
        "matthews": lambda: matthews_corrcoef(y, p),
        "pearson": lambda: stats.pearsonr(p, y)[0],
        "spearman": lambda: stats.spearmanr(p, y)[0],
        "mse": lambda: ((p - y) ** 2).mean(),
        "mae": lambda: abs(p - y).mean(),
    }
    return {name: float(every[name]()) for name in task.metric_names}


def compute(task: Task, predictions: Tensor, labels: Tensor, size: int = 16) -> dict[str, float]:
    collection = metrics(task)
    for start in range(0, len(labels), size):
        collection.update(predictions[start : start + size], labels[start : start + size])
    return {name: float(score) for name, score in collection.compute().items()}


@pytest.mark.parametrize("task", [CLASSES, THREE, NUMBERS, ERRORS], ids=lambda task: task.name)
@pytest.mark.parametrize("count", [5, 200])
def test_against_references(task: Task, count: int) -> None:
    assert compute(task, *example(task, count)) == pytest.approx(reference(task, *example(task, count)), abs=1e-6)


def test_by_the_names_of_the_task() -> None:
    assert list(metrics(find("mrpc"))) == ["accuracy", "f1"]
    assert list(metrics(find("stsb"))) == ["pearson", "spearman"]


@pytest.mark.parametrize("task", [CLASSES, THREE], ids=lambda task: task.name)
def test_one_class_is_no_correlation(task: Task) -> None:
    labels = torch.tensor([0, 1, 1, 0, 1])
    for predictions, truth in (
        (torch.ones(5).long(), labels),
        (labels, torch.ones(5).long()),
        (labels * 0, labels * 0),
    ):
        assert compute(task, predictions, truth)["matthews"] == 0


def test_constant_or_broken_numbers_are_nan_without_warnings() -> None:
    labels = torch.tensor([0.5, 1.5, 4.0])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for predictions in (
            torch.full((3,), 0.1),
            torch.tensor([1.0, math.nan, 2.0]),
            torch.tensor([1.0, math.inf, 2.0]),
        ):
            assert all(map(math.isnan, compute(NUMBERS, predictions, labels).values()))
        assert all(map(math.isnan, compute(NUMBERS, labels, torch.ones(3)).values()))
        assert all(map(math.isnan, compute(NUMBERS, labels[:1], labels[:1]).values()))


def test_numbers_far_from_zero() -> None:
    predictions, labels = torch.tensor([1e4, 1e4 + 1, 1e4 + 3]), torch.tensor([1.0, 2.0, 4.0])
    assert compute(NUMBERS, predictions, labels) == pytest.approx({"pearson": 1.0, "spearman": 1.0})


def test_ranks_of_ties() -> None:
    values = torch.tensor([3.0, 1.0, 3.0, 2.0, 3.0])
    assert average_ranks(values).tolist() == stats.rankdata(values).tolist() == [4, 1, 4, 2, 4]


COUNTS = (40, 7, 3, 2)
"""Rows in all; with 4 processes the last two leave ranks without any."""


def _rank(rank: int, world: int, folder: Path) -> None:
    warnings.simplefilter("ignore")
    distributed.init_process_group("gloo", init_method=f"file://{folder}/store", rank=rank, world_size=world)
    for task in (CLASSES, THREE, NUMBERS, ERRORS):
        for count in COUNTS:
            predictions, labels = (part[rank::world] for part in example(task, count))
            collection = metrics(task)
            if len(labels):
                collection.update(predictions, labels)
            scores = {name: float(score) for name, score in collection.compute().items()}
            torch.save(scores, folder / f"{task.name}-{count}-{rank}.pt")
    distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 4])
def test_the_ranks_agree_with_one_process(world: int, tmp_path: Path) -> None:
    multiprocessing.set_forkserver_preload(["ftreg.testing.ranks"])  # imports once, not on every rank
    start_processes(_rank, (world, tmp_path), nprocs=world, start_method="forkserver")  # type: ignore[no-untyped-call]
    for task in (CLASSES, THREE, NUMBERS, ERRORS):
        for count in COUNTS:
            expected = compute(task, *example(task, count))
            for rank in range(world):
                scores = torch.load(tmp_path / f"{task.name}-{count}-{rank}.pt", weights_only=True)
                assert scores == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert not np.isnan(expected["mse"])


def by_path(*metrics: str | dict[str, object], labels: tuple[str, ...] = ("a", "b", "c")) -> Task:
    return Task("own", ("text",), labels, metrics)


FBETA = "torchmetrics.classification.MulticlassFBetaScore"


def test_a_metric_by_class_path() -> None:
    beta = {"class_path": FBETA, "init_args": {"beta": 0.5, "average": "macro"}}
    task = by_path("torchmetrics.classification.MulticlassCohenKappa", beta)
    found = compute(task, *example(THREE, 50))
    predictions, labels = example(THREE, 50)
    assert found["MulticlassFBetaScore"] == pytest.approx(fbeta_score(labels, predictions, beta=0.5, average="macro"))
    assert found["MulticlassCohenKappa"] == pytest.approx(cohen_kappa_score(labels, predictions))


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        (FBETA, "needs beta; give {class_path: "),
        ({"class_path": FBETA, "init_args": {"beta": -1}}, "; mend its init_args"),
        ({"class_path": FBETA, "init_args": {"betta": 1}}, "needs beta"),
        (
            {"class_path": FBETA, "init_args": {"beta": 1, "averag": 1}},
            "FBetaScore: Unexpected keyword arguments: `averag`; mend its init_args",
        ),
        ("torchmetrics.classification.MulticlassAUROC", "makes no number of class ids, not of probabilities"),
        ("torchmetrics.classification.MulticlassF1", "did you mean 'MulticlassF1Score'?"),
        ("torchmetrics.classification.MulticlassConfusionMatrix", "makes no number of class ids"),
        ("torchmetrics.text.BERTScore", "no torchmetrics metric of that name"),
        ("builtins.print", "builtins.print: no torchmetrics metric of that name"),
        ("antigravity.Metric", "is unknown here; import 'antigravity' first"),
    ],
)
def test_a_class_that_is_no_metric_of_the_task(metric: str | dict[str, object], message: str) -> None:
    with pytest.raises(DataError) as error:
        metrics(by_path(metric))
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 500


def test_only_what_a_user_wrote_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "metric_of_mine.py").write_text("from torchmetrics.classification import *\n")
    monkeypatch.syspath_prepend(tmp_path)
    task = by_path("metric_of_mine.MulticlassCohenKappa")
    with pytest.raises(DataError, match="import 'metric_of_mine' first"):
        metrics(task)
    import_classes(task)
    assert list(metrics(task)) == ["MulticlassCohenKappa"]
    with pytest.raises(DataError, match="metrics: cannot import 'nowhere'"):
        import_classes(by_path("nowhere.Metric"))


def test_what_a_checkpoint_is_chosen_by() -> None:
    assert combined(THREE, {"accuracy": 0.5, "macro_f1": 0.3, "micro_f1": 0.5, "matthews": -0.3}) == 0.25
    assert combined(ERRORS, {"mse": 4.0, "mae": 2.0}) == -4.0, "an error, alone, and less of it is better"
    mixed = Task("mixed", ("text",), (), ("pearson", "mse"))
    assert combined(mixed, {"pearson": 0.5, "mse": 4.0}) == 0.5, "no mean of two scales"
    assert errors(mixed) == ("mse",)
    assert errors(CLASSES) == errors(NUMBERS) == ()
    assert errors(by_path("torchmetrics.classification.MulticlassHammingDistance")) == ("MulticlassHammingDistance",)
