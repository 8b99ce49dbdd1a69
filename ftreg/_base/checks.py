"""Options are checked here, and what is wrong with one is said in a line that names it.

`typed` comes first in every `__init__` that a user's options reach; what else holds of them comes after it.
"""

from collections.abc import Callable, Mapping
from typing import Any

from ftreg._base.errors import UsageError
from glue_tasks.options import number, type_faults
from glue_tasks.shown import shown


def typed(owner: str, function: Callable[..., Any], given: Mapping[str, Any]) -> None:
    """Check that each argument is of its declared type, one of its `Literal`'s values, and finite if it is a number.

    Args:
        owner: what the option's name begins with, such as a method.
        function: that is called.
        given: its arguments, as `locals()` has them at its start.

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for name, found in type_faults(function, given):
        raise UsageError(f"{owner}.{name} {found}")


def at_least(method: str, low: float, **options: float) -> None:
    """Check that each option is a finite number, and not below `low`.

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for name, value in options.items():
        if not number(value, low):
            raise UsageError(f"{method}.{name} is {shown(value)}; it must be {low} or more")


def within(method: str, low: float, high: float, **options: float) -> None:
    """Check that each option lies in [low, high].

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for name, value in options.items():
        if not number(value, low, high):
            raise UsageError(f"{method}.{name} is {shown(value)}; it must lie between {low} and {high}")
