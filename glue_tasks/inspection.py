"""A training table is inspected for what its owner may not know: a class that is missing, texts that are empty."""

import numpy as np
from datasets import Dataset
from pytorch_lightning.utilities import rank_zero_warn

from glue_tasks.shown import listed, quoted
from glue_tasks.tables import labels_of, occurrence, texts
from glue_tasks.tags import are_tags
from glue_tasks.tasks import Task


def inspect(task: Task, split: str, table: Dataset, evaluate: bool = True) -> None:
    """Warn of a table with nothing to learn, of classes that no row has, of rows without a text, and of a regression
    that looks like classes.

    Of labels only where the task is to be evaluated: else nothing need be learnt of them.
    """
    where = f"{split!r} of task {task.name!r}"
    if task.kind in ("multi_label", "tokens"):
        _inspect_sets(task, where, table, evaluate)
    else:
        _inspect_labels(task, where, table, evaluate)
    empty = [
        row
        for row, found in enumerate(zip(*(texts(table, name) for name in task.columns), strict=True))
        if not any(map(str.strip, found))
    ]
    if empty:
        rank_zero_warn(f"{len(empty)} rows of {where} have no text at all, the first is row {empty[0]} (from 0)")


def _inspect_sets(task: Task, where: str, table: Dataset, evaluate: bool) -> None:
    names, held = occurrence(task, table)
    if not evaluate:
        return
    what = "label" if task.kind == "multi_label" or not are_tags(task.labels) else "entity"
    if ((held == held[:1]).all() and what == "label") or not held.any():
        one = quoted(name for name, there in zip(names, held[0], strict=True) if there) or f"no {what}"
        rank_zero_warn(
            f"all {len(held)} rows of {where} have {one}, so there is nothing to learn; check its column "
            f"{task.label!r}, or set data.evaluate=false to train without labels"
        )
        return
    absent = [name for column, name in enumerate(names) if not held[:, column].any()]
    if absent:
        rank_zero_warn(f"no row of {where} has {listed(absent, ' or ')}: a model will not predict it")


def _inspect_labels(task: Task, where: str, table: Dataset, evaluate: bool) -> None:
    labels = labels_of(table)
    values = np.unique(labels)
    if len(values) == 1 and evaluate:
        one = f"{values[0]:g}" if task.regression else repr(task.labels[int(values[0])])
        rank_zero_warn(
            f"all {len(labels)} rows of {where} are labelled {one}, so there is nothing to learn; check its column "
            f"{task.label!r}, or set data.evaluate=false to train without labels"
        )
    elif task.regression:
        if evaluate and len(values) == 2 and all(float(value).is_integer() for value in values):
            classes = listed(f'"{value:g}"' for value in values)
            rank_zero_warn(
                f"{where} is a regression, as its declaration has no labels, but its only targets are {values[0]:g} "
                f"and {values[1]:g}; if they are classes, declare labels: [{classes}]"
            )
    elif evaluate and len(values) < task.num_labels:
        absent = [name for number, name in enumerate(task.labels) if number not in values]
        rank_zero_warn(f"no row of {where} is labelled {listed(absent, ' or ')}: a model will not predict it")
