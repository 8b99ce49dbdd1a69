"""Labels, however a source writes them, become class ids, by name, or regression targets."""

import math
import re
from collections.abc import Callable, Collection, Sequence

from glue_tasks.errors import DataError
from glue_tasks.shown import listed, nearest, shown
from glue_tasks.tasks import Task

UNLABELLED = -1
"""The Hub's label of a row whose label is withheld."""
LARGEST = 3.4e38
"""The largest target: beyond it float32 is infinite."""


def encode(
    task: Task,
    found: Sequence[str],
    where: Callable[[int], str],
    written: tuple[str, ...] = (),
    may_be_unlabelled: bool = False,
    from_zero: Callable[[], bool] = lambda: False,
) -> list[int] | list[float]:
    """Return class ids (or float targets of a regression) of the labels `found`, one string per row.

    With `written`, exactly these strings stand for classes 0, 1, ... Without it, labels are mapped by name
    (`task.labels`); only where none of these names occurs and every label is an integer, integers are ids 0 to n-1.
    1.0 is the integer 1, as pandas writes it beside a missing value. Integers without a 0 may as well count from 1, and
    are refused, unless `from_zero` knows better. With `may_be_unlabelled`, "" and "-1" are unlabelled rows.

    Raises `DataError` at the first label that fits neither; `where(row)` names its place.
    """
    missing = {"", str(UNLABELLED), f"{UNLABELLED}.0"} if may_be_unlabelled else set()
    if task.regression:
        return [
            float(UNLABELLED) if text in missing else _target(task, text, where, row) for row, text in enumerate(found)
        ]
    names, distinct = written or task.labels, dict.fromkeys(text for text in found if text not in missing)
    if not written and _are_ids(distinct, names):
        names = tuple(map(str, range(len(names))))
        if not may_be_unlabelled and "0" not in map(whole, distinct) and not from_zero():
            _refuse_from_one(task, distinct, where)
    ids = {name: i for i, name in enumerate(names)} | dict.fromkeys(missing, UNLABELLED)
    ids |= {text: ids[whole(text)] for text in distinct if not written and text not in ids and whole(text) in ids}
    for row, text in enumerate(found):
        if text not in ids:
            raise DataError(f"{where(row)}: {_unknown(task, text, names)}")
    return [ids[text] for text in found]


def whole(text: str) -> str:
    """Return an integer without the fraction that pandas gives it."""
    return re.sub(r"^(\d+)\.0+$", r"\1", text)


def _are_ids(found: Collection[str], names: tuple[str, ...]) -> bool:
    integers = [whole(text) for text in found]
    return bool(found) and not {*found, *integers} & {*names} and all(re.fullmatch("[0-9]+", text) for text in integers)


def _refuse_from_one(task: Task, found: Collection[str], where: Callable[[int], str]) -> None:
    numbers, classes = sorted({int(whole(text)) for text in found}), len(task.labels)
    if numbers[-1] <= classes:
        counted = "they count from 1" if numbers[-1] == classes else "it is open whether they count from 0 or from 1"
        names = [str(number + 1) for number in range(classes)]
        raise DataError(
            f"{where(0)}: labels are {listed(numbers)} and never 0: {counted}, and ids of {listed(task.labels)} count "
            f"from 0; write the names in the file, or, if 1 is the first class, declare labels: {shown(names)}"
        )


def _unknown(task: Task, text: str, names: tuple[str, ...]) -> str:
    if not text.strip():
        expected = listed(names, " or ")
        return f"the label is missing; task {task.name!r} expects {expected}, so leave out the row or label it"
    near = nearest(text.strip(), names)
    return f"label {shown(text)} is unknown; {near}task {task.name!r} expects {listed(names, ' or ')}"


def _target(task: Task, text: str, where: Callable[[int], str], row: int) -> float:
    low, high = task.range or (-LARGEST, LARGEST)
    try:
        value = math.nan if "_" in text else float(text)
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        expected = f"a number from {low:g} to {high:g}" if task.range else "a finite number"
        hint = ", with a point for its fraction" if re.fullmatch(r"-?\d+,\d+", text.strip()) else ""
        labels = (
            ", or labels in its declaration" if not task.range and not re.search(r"\d", text) and text.strip() else ""
        )
        raise DataError(f"{where(row)}: score {shown(text)}; task {task.name!r} expects {expected}{hint}{labels}")
    return value
