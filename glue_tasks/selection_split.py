"""A training split's rows train, but for those that are kept to choose by."""

from collections import Counter
from collections.abc import Sequence

import numpy as np
from datasets import Dataset
from pytorch_lightning.utilities import rank_zero_warn

from glue_tasks.errors import DataError
from glue_tasks.likeness import unlike
from glue_tasks.stratification import (
    Indices,
    group_rows,
    normalise,
    rarest,
    selection_split,
    stratified_subset,
    stratify,
)
from glue_tasks.tables import labels_of, occurrence, texts
from glue_tasks.tasks import GLUE, Task


def train_and_selection(
    task: Task, split: str, whole: Dataset, selection: int | None, subset: int | None, seed: int
) -> dict[str, Dataset]:
    """Split rows into `train` and `selection`; the selection depends on the rows and the seed, not on the subset.

    Warns where the selection is unlike the rows that it is carved out of.

    Args:
        task: whose rows they are.
        split: their name, for messages.
        whole: all of them.
        selection: rows wanted for the selection split; None for no such split.
        subset: rows wanted for training, drawn stratified from the rest; None for all of it.
        seed: of both.

    Raises:
        DataError: there are too few rows, or those that share texts cannot be kept together.
    """
    strata = strata_of(task, whole)
    rows = np.arange(len(whole))
    chosen = rows[:0]
    if selection is not None:
        chosen = selection_split(groups(task, whole), strata, selection, seed)
        if not len(chosen):
            raise DataError(_impossible(task, split, whole, selection))
        differences = unlike(task, whole, chosen, selection)
        if differences:
            remedy = (
                f"; if they need not, declare the task with {_remedy(task, whole)}" if task.grouping != "none" else ""
            )
            rank_zero_warn(
                f"the selection split of {len(chosen)} rows is unlike {split!r} of task {task.name!r}: {differences}; "
                f"{_kept_together(task, whole)}{remedy}"
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


def strata_of(task: Task, table: Dataset) -> Indices:
    """Return the stratum of each row, int64 [rows]: its class, or its quantile bin in a regression.

    The rarest label of its set; in a task of tokens, the rarest type of its entities, or its rarest label where the
    labels are no tags. Rows without any are a stratum of their own.
    """
    if task.kind in ("multi_label", "tokens"):
        return rarest(occurrence(task, table)[1])
    return stratify(labels_of(table), task.regression)


def groups(task: Task, table: Dataset) -> Indices:
    """Return the group of each row, int64 [rows], as `Task.grouping` has it."""
    if task.grouping == "none":
        return np.arange(len(table))
    columns = task.columns if isinstance(task.grouping, str) else task.grouping
    rows = list(zip(*(texts(table, name) for name in columns), strict=True))
    # three rows of QQP lack a question, and the published splits of GLUE's own tasks stay what they were
    return group_rows(rows, contained=task.grouping == "contained", empty_joins=task in GLUE.values())


def _impossible(task: Task, split: str, whole: Dataset, selection: int) -> str:
    remedy = "use data.protocol=dev" + " with data.evaluate=false" * (not task.dev)
    start = f"no selection split can be carved out of the {len(whole)} rows of {split!r} (task {task.name!r}): "
    if selection < 1:
        return f"{start}too few, it would be a tenth of them or as many as the dev split has; {remedy}"
    if task.grouping != "none":
        remedy = f"declare the task with {_remedy(task, whole)}, or {remedy}"
    return f"{start}{_kept_together(task, whole)}; {remedy}"


def _kept_together(task: Task, whole: Dataset) -> str:
    """Return what joins the rows: the column with the text that most rows share."""
    if task.grouping == "none":
        return "no rows are kept together"
    name, counts = _commonest(task, whole)
    rows = max(counts.values())
    return f"rows that share a text stay together, and {rows} share one in {name!r}, of {len(counts)} different texts"


def _remedy(task: Task, whole: Dataset) -> str:
    """Suggest another grouping: by the other column, if it is not that alone by now, or none."""
    common = _commonest(task, whole)[0]
    others = [name for name in task.columns if name != common]
    if others and (isinstance(task.grouping, str) or (common in task.grouping and len(task.grouping) > 1)):
        return f"grouping: [{others[0]}], to go by that column alone, or grouping: none"
    return "grouping: none"


def _commonest(task: Task, whole: Dataset) -> tuple[str, Counter[tuple[str, ...]]]:
    """Return the column with the text that most rows share, and its texts that are not empty."""
    columns: Sequence[str] = task.columns if isinstance(task.grouping, str) else task.grouping
    counts = {name: Counter(text for text in map(normalise, texts(whole, name)) if any(text)) for name in columns}
    name = max(counts, key=lambda name: max(counts[name].values(), default=0))
    return name, counts[name] or Counter({("",): 0})
