"""Tasks are found by name: GLUE's, and those made from plain text."""

import re
from collections.abc import Mapping

from glue_tasks.documents import TASKS
from glue_tasks.errors import DataError
from glue_tasks.shown import nearest, shown
from glue_tasks.tasks import GLUE, Task, declare


def task_of(given: object) -> Task:
    """Return the task that an option gives by name, by a declaration's fields, or as it is; `DataError` otherwise."""
    if isinstance(given, Task):
        return given
    if isinstance(given, str):
        return find(given)
    if isinstance(given, Mapping) and given:
        return declare(given)
    raise DataError(f"task: found {shown(given)}; give the name of a task, or a mapping with name, columns and labels")


def find(name: str) -> Task:
    """Return the task of that name, of GLUE or made from text; `DataError` with the nearest name and all otherwise."""
    known = {**GLUE, **TASKS}
    if name in known:
        return known[name]
    if name.endswith((".yaml", ".yml")):
        raise DataError(f"task {shown(name)}: the name of a file; give it by --config {name[-60:]}, and no data.task")
    near = nearest(re.sub(r"[^a-z0-9]", "", name.lower()), known)
    raise DataError(
        f"unknown task {shown(name)}; {near}GLUE has {', '.join(GLUE)}; "
        f"plain text (data.source=text) has {', '.join(TASKS)}; "
        "a task of your own is declared with name, columns and labels instead of a name"
    )
