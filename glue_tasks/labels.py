"""From how a source writes labels to class ids, by name, or to regression targets."""

import math
from collections.abc import Callable, Sequence

from glue_tasks.errors import DataError
from glue_tasks.tasks import Task

UNLABELLED = -1
"""The Hub's label of a row whose label is withheld."""


def encode(
    task: Task,
    found: Sequence[str],
    where: Callable[[int], str],
    written: tuple[str, ...] = (),
    may_be_unlabelled: bool = False,
) -> list[int] | list[float]:
    """Class ids (or float targets of a regression) of the labels `found`, one string per row.

    With `written`, exactly these strings stand for classes 0, 1, ... Without it, labels are mapped by name
    (`task.labels`); only where none of these names occurs and every label is an integer, integers are ids
    0 to n-1. With `may_be_unlabelled`, "" and "-1" are unlabelled rows.

    Raises `DataError` at the first label that fits neither; `where(row)` names its place.
    """
    missing = {"", str(UNLABELLED), f"{UNLABELLED}.0"} if may_be_unlabelled else set()
    if task.regression:
        return [
            float(UNLABELLED) if text in missing else _target(task, text, where, row) for row, text in enumerate(found)
        ]
    names = written or task.labels
    if not written and _are_ids(set(found) - missing, names):
        names = tuple(str(i) for i in range(len(task.labels)))
    ids = {name: i for i, name in enumerate(names)} | dict.fromkeys(missing, UNLABELLED)
    for row, text in enumerate(found):
        if text not in ids:
            raise DataError(f"{where(row)}: label {text!r} is unknown; task {task.name!r} expects {_listed(names)}")
    return [ids[text] for text in found]


def _are_ids(found: set[str], names: tuple[str, ...]) -> bool:
    return bool(found) and found.isdisjoint(names) and all(text.isascii() and text.isdigit() for text in found)


def _target(task: Task, text: str, where: Callable[[int], str], row: int) -> float:
    low, high = task.range or (-math.inf, math.inf)
    expected = f"a number from {low:g} to {high:g}" if task.range else "a finite number"
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (math.isfinite(value) and low <= value <= high):
        raise DataError(f"{where(row)}: score {text!r}; task {task.name!r} expects {expected}")
    return value


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names[:-1]) + f" or {names[-1]}"
