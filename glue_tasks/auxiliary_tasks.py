"""Auxiliary tasks train beside the main one: what is read of them is their training rows, and no other."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from datasets import Dataset

from glue_tasks.documents import TEXT
from glue_tasks.errors import DataError
from glue_tasks.inspection import inspect
from glue_tasks.registry import task_of
from glue_tasks.selection_split import strata_of
from glue_tasks.sources import Source, load
from glue_tasks.stratification import stratified_subset
from glue_tasks.tasks import Task


@dataclass(frozen=True)
class AuxiliaryTask:
    """An auxiliary task trains beside the main one.

    Args:
        task: name of a GLUE task, or a declaration of one's own.
        source: where its rows come from; None = as the main task's, and `path` with it.
        path: see `source`.
        train_split: the split that it trains on; None = the task's own.
        train_subset: train on that many of its rows, drawn stratified; None = all.
    """

    task: str | Task
    source: Source | None = None
    path: str | None = None
    train_split: str | None = None
    train_subset: int | None = None


class AuxiliaryRows:
    """Such a task's training rows are all of its split, under any protocol, as it is never evaluated.

    Args:
        declared: the task.
        source, path: the main task's.
        split_seed: of the subset.

    Raises:
        DataError: the task is unknown, or has no labels, or does not train on that split.
    """

    def __init__(self, declared: AuxiliaryTask, source: Source, path: str | None, split_seed: int) -> None:
        self.task = task_of(declared.task)
        self.source = declared.source or source
        self.path = path if declared.path is None and declared.source is None else declared.path
        self.subset, self.split_seed = declared.train_subset, split_seed
        if self.task == TEXT:
            raise DataError(f"data.also: task {TEXT.name!r} has no labels that a head could learn; leave it out")
        _check_kind(self.task)
        split = declared.train_split or self.task.train
        if split not in self.task.trainable:
            valid = ", ".join(self.task.trainable) or "none"
            raise DataError(f"data.also: task {self.task.name!r} trains on one of: {valid}; not on {split!r}")
        if self.subset is not None and self.subset < 1:
            raise DataError(f"data.also: train_subset={self.subset} of task {self.task.name!r} must be at least 1")
        self.split = split

    @cached_property
    def table(self) -> Dataset:
        """The rows; `DataError` where they cannot be read or are too few."""
        whole = load(self.task, self.split, self.source, self.path)
        if len(whole) < (self.subset or 1):
            raise DataError(
                f"data.also: split {self.split!r} of task {self.task.name!r} has {len(whole)} rows, "
                f"train_subset={self.subset}"
            )
        inspect(self.task, self.split, whole)
        if self.subset is None:
            return whole
        return whole.select(stratified_subset(strata_of(self.task, whole), self.subset, self.split_seed))


def auxiliary_rows(
    also: Sequence[AuxiliaryTask] | None, main: Task, source: Source, path: str | None, split_seed: int
) -> dict[str, AuxiliaryRows]:
    """Return every auxiliary task by the name of its rows, `train/<task>`; `DataError` for one that is there twice.

    Arguments as of `AuxiliaryRows`.
    """
    found: dict[str, AuxiliaryRows] = {}
    if also:
        _check_kind(main)
    for declared in also or ():
        other = AuxiliaryRows(declared, source, path, split_seed)
        name = f"train/{other.task.name}"
        if name in found or other.task.name == main.name:
            raise DataError(
                f"data.also: task {other.task.name!r} is there twice; the main task is {main.name!r}, "
                "and each of the others is named once"
            )
        found[name] = other
    return found


def _check_kind(task: Task) -> None:
    if task.kind in ("multi_label", "tokens"):
        raise DataError(
            f"data.also: task {task.name!r} is of kind {task.kind}, and tasks that train together have one label a "
            "row; train it alone"
        )
