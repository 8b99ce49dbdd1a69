"""Which rows of a training split train, and which are kept to choose by."""

import numpy as np
from datasets import Dataset

from glue_tasks.errors import DataError
from glue_tasks.split import group_rows, selection_split, stratified_subset, stratify
from glue_tasks.tasks import Task
from glue_tasks.tokens import labels_of


def carve(
    task: Task, split: str, whole: Dataset, selection: int | None, subset: int | None, seed: int
) -> dict[str, Dataset]:
    """`train` and `selection`; the selection depends on the rows and the seed, not on the subset.

    Args:
        task: whose rows they are.
        split: their name, for complaints.
        whole: all of them.
        selection: rows wanted for the selection split; None for no such split.
        subset: rows wanted for training, drawn stratified from the rest; None for all of it.
        seed: of both.

    Raises:
        DataError: there are too few rows.
    """
    strata = stratify(labels_of(whole), task.regression)
    rows = np.arange(len(whole))
    chosen = rows[:0]
    if selection is not None:
        texts = list(zip(*(whole[name][:] for name in task.columns), strict=True))
        groups = group_rows(texts, contained=task.grouping == "contained")
        chosen = selection_split(groups, strata, selection, seed)
        if not len(chosen):
            remedy = "data.protocol=dev" if task.dev else "data.protocol=dev with data.evaluate=false"
            raise DataError(
                f"no selection split can be carved out of the {len(whole)} rows of {split!r} "
                f"(task {task.name!r}): too few, or all share texts; use {remedy}"
            )
        rows = np.setdiff1d(rows, chosen)
    if subset is not None:
        if subset > len(rows):
            raise DataError(
                f"data.train_subset={subset} is more than the {len(rows)} rows of "
                f"{split!r} left for training (task {task.name!r})"
            )
        rows = rows[stratified_subset(strata[rows], subset, seed)]
    return {"train": whole.select(rows), "selection": whole.select(chosen)}
