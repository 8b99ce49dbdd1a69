"""Metrics against scikit-learn and scipy, in one process and several, and where they are degenerate."""

import math
import multiprocessing
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import stats  # type: ignore[import-untyped]
from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef  # type: ignore[import-untyped]
from torch import Tensor, distributed
from torch.multiprocessing.spawn import start_processes

from glue_tasks.known import find
from glue_tasks.metrics import average_ranks, metrics
from glue_tasks.tasks import Task

CLASSES = Task("classes", ("text",), ("a", "b"), ("accuracy", "f1", "matthews"))
THREE = Task("three", ("text",), ("a", "b", "c"), ("accuracy", "matthews"))
NUMBERS = Task("numbers", ("text",), (), ("pearson", "spearman"))


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
        "matthews": lambda: matthews_corrcoef(y, p),
        "pearson": lambda: stats.pearsonr(p, y)[0],
        "spearman": lambda: stats.spearmanr(p, y)[0],
    }
    return {name: float(every[name]()) for name in task.metrics}


def compute(task: Task, predictions: Tensor, labels: Tensor, size: int = 16) -> dict[str, float]:
    collection = metrics(task)
    for start in range(0, len(labels), size):
        collection.update(predictions[start : start + size], labels[start : start + size])
    return {name: float(score) for name, score in collection.compute().items()}


@pytest.mark.parametrize("task", [CLASSES, THREE, NUMBERS], ids=lambda task: task.name)
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
    for task in (CLASSES, THREE, NUMBERS):
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
    multiprocessing.set_forkserver_preload([__name__])  # imports once, not on every rank
    start_processes(_rank, (world, tmp_path), nprocs=world, start_method="forkserver")  # type: ignore[no-untyped-call]
    for task in (CLASSES, THREE, NUMBERS):
        for count in COUNTS:
            expected = compute(task, *example(task, count))
            for rank in range(world):
                scores = torch.load(tmp_path / f"{task.name}-{count}-{rank}.pt", weights_only=True)
                assert scores == pytest.approx(expected, abs=1e-6, nan_ok=True)
    assert not np.isnan(expected["pearson"])
