"""Every task that has a name: GLUE's, and those made from plain text."""

import difflib
import re

from glue_tasks.documents import TASKS
from glue_tasks.errors import DataError
from glue_tasks.tasks import GLUE, Task


def find(name: str) -> Task:
    """The task of that name, of GLUE or made from plain text; `DataError` with the nearest name and all otherwise."""
    known = {**GLUE, **TASKS}
    if name in known:
        return known[name]
    near = difflib.get_close_matches(re.sub(r"[^a-z0-9]", "", name.lower()), known, n=1)
    hint = f"did you mean {near[0]!r}? " if near else ""
    raise DataError(
        f"unknown task {name!r}; {hint}GLUE has {', '.join(GLUE)}; "
        f"plain text (data.source=text) has {', '.join(TASKS)}; "
        "a task of your own is declared with name, columns and labels instead of a name"
    )
