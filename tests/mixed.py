"""The small fit of `ftreg.testing` on three tasks at once: two classes (the main one), three, and a score."""

from functools import partial

import torch

from ftreg import FreeLB, Mixout
from ftreg.methods.multi_task import MultiTask
from ftreg.testing import fits, ranks
from ftreg.testing.cases import ACTING
from glue_tasks.auxiliary_tasks import AuxiliaryTask, auxiliary_rows
from glue_tasks.loader import Rows
from glue_tasks.tasks import Task

HEADS = {"other": ["a", "b", "c"], "score": []}
SIZES = {"train/other": 6, "train/score": 5}
"""A batch each, beside a third of `RandomRows` for the main task: four batches an epoch, three in `ranks.SHORT`."""


class MixedRows(fits.RandomRows):
    """Random tokens for the three tasks."""

    def __init__(self, training: int = fits.ROWS) -> None:
        super().__init__(training)
        also = [
            AuxiliaryTask(Task("other", ("text",), ("a", "b", "c")), train_split="train"),
            AuxiliaryTask(Task("score", ("text",), (), ("pearson",))),
        ]
        self.order_seed = 3  # the first step is not of the main task
        self.auxiliary = auxiliary_rows(also, self.task, "sample", None, 0)

    def rows(self, split: str) -> Rows:
        if split not in SIZES:
            return fits.random_rows(split, self.training // 3 if split == "train" else fits.EVALUATED)
        rows = fits.random_rows(split, SIZES[split])
        generator = torch.Generator().manual_seed(1)
        labels = torch.randint(0, 3, (len(rows),), generator=generator)
        values = labels if split == "train/other" else torch.randn(len(rows), generator=generator)
        return Rows(**{**vars(rows), "labels": values})


fit = partial(fits.fit, data=MixedRows)
"""`ftreg.testing.fits.fit` on these rows."""

RUNS: dict[str, ranks.Run] = {
    "heads": ranks.Run((partial(MultiTask, HEADS),), data=MixedRows),
    "heads with all": ranks.Run(
        (partial(Mixout, p=0.5, include_head=True), partial(MultiTask, HEADS), FreeLB, ACTING),
        resumed=False,
        data=MixedRows,
    ),
}
