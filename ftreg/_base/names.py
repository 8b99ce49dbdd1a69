"""Names that a user gives are looked up: the nearest valid one, lists of them, and classes at dotted paths."""

import importlib
from collections.abc import Collection
from typing import Any

from ftreg._base.errors import UsageError
from glue_tasks.shown import nearest


def unknown(what: str, name: str, valid: Collection[str]) -> str:
    """Return one line: what is wrong, the nearest valid name, and all of them."""
    return f"{what} {name!r}; {nearest(name, valid)}Valid: {', '.join(valid)}"


def listed(value: Any) -> list[Any]:
    """Return a list of what may be None, one entry or several, as `trainer.callbacks` may be."""
    return value if isinstance(value, list) else [] if value is None else [value]


def imported(name: str, where: str) -> type:
    """Import the class at a dotted path.

    Args:
        name: the path.
        where: what complaints begin with: a file and a colon, or nothing.

    Raises:
        UsageError: there is none.
    """
    module, _, attribute = name.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), attribute, None)
    except Exception as error:  # a module of one's own may raise anything
        raise UsageError(f"{where}cannot import {name!r} ({error}); check the dotted path") from None
    if not isinstance(found, type):
        raise UsageError(f"{where}module {module!r} has no class {attribute!r}; check the dotted path")
    return found
