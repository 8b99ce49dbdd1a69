"""The small fit of `ftreg.testing` on three tasks at once: two classes (the main one), three, and a score."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch.multiprocessing.spawn import spawn

from ftreg import FineTuner, FreeLB, Mixout
from ftreg.methods.multi_task import MultiTask
from ftreg.testing import fits, ranks
from ftreg.testing.cases import ACTING
from ftreg.testing.encoders import STEADY, checkpoint
from glue_tasks.beside import Beside, others
from glue_tasks.loader import Rows
from glue_tasks.tasks import Task

HEADS = {"other": ["a", "b", "c"], "score": []}
SIZES = {"train/other": 6, "train/score": 5}
"""A batch each, beside a third of `RandomRows` for the main task: four batches an epoch, three in `ranks.SHORT`."""

RUNS: dict[str, ranks.Run] = {
    "heads": ranks.Run((partial(MultiTask, HEADS),)),
    "with all": ranks.Run(
        (partial(Mixout, p=0.5, include_head=True), partial(MultiTask, HEADS), FreeLB, ACTING), resumed=False
    ),
}


class MixedRows(fits.RandomRows):
    """Random tokens for the three tasks."""

    def __init__(self, training: int = fits.ROWS) -> None:
        super().__init__(training)
        also = [
            Beside(Task("other", ("text",), ("a", "b", "c")), train_split="train"),
            Beside(Task("score", ("text",), (), ("pearson",))),
        ]
        self.order_seed = 3  # the first step is not of the main task
        self.beside = others(also, self.task, "sample", None, 0)

    def rows(self, split: str) -> Rows:
        if split not in SIZES:
            return fits.random_rows(split, self.training // 3 if split == "train" else fits.EVALUATED)
        rows = fits.random_rows(split, SIZES[split])
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(0, 3, (len(rows),), generator=generator)
        values = labels if split == "train/other" else torch.randn(len(rows), generator=generator)
        return Rows(**{**vars(rows), "labels": values})


@contextmanager
def mixed() -> Iterator[None]:
    """The fits of `ftreg.testing` are on these rows meanwhile."""
    with mock.patch.object(fits, "RandomRows", MixedRows):
        yield


def fit(*args: Any, **options: Any) -> FineTuner:
    """`ftreg.testing.fits.fit` on these rows."""
    with mixed():
        return fits.fit(*args, **options)


def run(runs: Mapping[str, ranks.Run], folder: Path) -> None:
    """`ftreg.testing.ranks.run` on these rows."""
    checkpoint(folder / "steady", "bert", **STEADY)
    checkpoint(folder / "noisy", "bert")
    started = spawn(_rank, (runs, folder), nprocs=ranks.RANKS, join=False, daemon=True)
    assert started is not None
    with mixed():
        ranks._work(runs, folder, 1, 0)
    while not started.join():
        pass


def _rank(rank: int, runs: Mapping[str, ranks.Run], folder: Path) -> None:
    with mixed():
        ranks._rank(rank, runs, folder)
