"""Sets of labels, however a source writes them, become each row's ascending class ids; an empty set is one too."""

import json
from collections.abc import Callable, Mapping, Sequence

from glue_tasks.errors import DataError
from glue_tasks.labels import UNLABELLED, encode, whole
from glue_tasks.shown import shown
from glue_tasks.tasks import Task

Where = Callable[[int], str]
"""Names the place of a row."""
FLAGS = {"0": False, "1": True, "false": False, "true": True}


def from_cells(task: Task, cells: Sequence[str], where: Where, may_be_unlabelled: bool = False) -> list[list[int]]:
    """Read cells with the names of a row's labels, `task.separator` between them, or a JSON list; an empty cell is no
    label.

    With `may_be_unlabelled`, cells that are all empty are unlabelled rows, and so is a cell of -1.

    Raises `DataError`: see `from_names`; a list that is no JSON.
    """
    if may_be_unlabelled and not any(map(str.strip, cells)):
        return [[UNLABELLED]] * len(cells)
    return from_names(
        task, [_names(task, cell, where, row) for row, cell in enumerate(cells)], where, may_be_unlabelled
    )


def from_names(
    task: Task, found: Sequence[Sequence[str]], where: Where, may_be_unlabelled: bool = False
) -> list[list[int]]:
    """Encode the names of each row's labels; what `glue_tasks.labels.encode` says of integers holds here too.

    Raises `DataError`: a name that the task has not, one that a row has twice, flags in the place of names.
    """
    flat = [(row, name) for row, names in enumerate(found) for name in names]
    size = len(task.labels)
    named = not flat or {"0", "1"} & {*task.labels}
    if not named and all(not names or (len(names) == size and {*names} <= {"0", "1"}) for names in found):
        raise DataError(
            f"{where(flat[0][0])}: {shown(list(found[flat[0][0]]))}: if these say no or yes for each label, write "
            "a column of 0 and 1 for each; if they are ids, write the names"
        )
    ids = iter(encode(task, [name for _, name in flat], lambda place: where(flat[place][0]), (), may_be_unlabelled))
    sets = [sorted(int(next(ids)) for _ in names) for names in found]
    for row, numbers in enumerate(sets):
        if len({*numbers}) < len(numbers):
            raise DataError(f"{where(row)}: {shown(list(found[row]))} names a label twice; name each once")
    return sets


def from_flags(
    task: Task, columns: Mapping[str, Sequence[str]], where: Where, may_be_unlabelled: bool = False
) -> list[list[int]]:
    """Read a column of 0 and 1, or false and true, for each label, by its name.

    With `may_be_unlabelled`, rows of nothing but -1, or of empty cells, are unlabelled.

    Raises `DataError`: another value.
    """
    sets = []
    for row, values in enumerate(zip(*(columns[name] for name in task.labels), strict=True)):
        if may_be_unlabelled and {*map(whole, values)} <= {"", str(UNLABELLED), f"{UNLABELLED}.0"}:
            sets.append([UNLABELLED])
            continue
        flags = [FLAGS.get(whole(value.strip().lower())) for value in values]
        if None in flags:
            name, value = next((n, v) for n, v, flag in zip(task.labels, values, flags, strict=True) if flag is None)
            raise DataError(
                f"{where(row)}: {name!r} is {shown(value)}; expected 0 or 1, whether it is a label of the row"
            )
        sets.append([number for number, flag in enumerate(flags) if flag])
    return sets


def _names(task: Task, cell: str, where: Where, row: int) -> list[str]:
    text = cell.strip()
    if not text.startswith("["):
        return [name.strip() for name in text.split(task.separator)] if text else []
    try:
        names = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(
            f"{where(row)}: {shown(cell)} is no list as JSON has it; write names with {task.separator!r} between them, "
            'or ["one", "another"]'
        ) from error
    if any(isinstance(name, bool) or not isinstance(name, str | int) for name in names):
        raise DataError(f"{where(row)}: {shown(cell)} is no list of names; write the names of the row's labels")
    return [str(name) for name in names]
