"""Checks of a method's options, each of which complains in one line."""

import math
from typing import Any, get_args

from ftreg.errors import UsageError


def at_least(method: str, low: float, **options: float) -> None:
    """Each option is a finite number, and not below `low`.

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for name, value in options.items():
        if not (math.isfinite(value) and value >= low):
            raise UsageError(f"{method}.{name} is {value}; it must be {low} or more")


def within(method: str, low: float, high: float, **options: float) -> None:
    """Each option lies in [low, high].

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for name, value in options.items():
        if not low <= value <= high:
            raise UsageError(f"{method}.{name} is {value}; it must lie between {low} and {high}")


def one_of(method: str, **options: tuple[object, Any]) -> None:
    """Each option's value is one of its `Literal` type's.

    Raises:
        UsageError: which option, its value, and the valid ones.
    """
    for name, (value, literal) in options.items():
        if value not in get_args(literal):
            raise UsageError(f"{method}.{name} is {value!r}; valid: {', '.join(map(str, get_args(literal)))}")
