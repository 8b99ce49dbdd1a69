"""The statistics' inputs are checked, and what is wrong with one is said in a line."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftreg._base.errors import UsageError

Floats = NDArray[np.float64]


def sample(name: str, values: ArrayLike, least: int = 1) -> Floats:
    """Return `values` as float64 [n].

    Raises:
        UsageError: not one-dimensional, fewer than `least`, or not all finite.
    """
    found = finite_array(name, values)
    if found.ndim != 1 or len(found) < least:
        raise UsageError(f"{name} has shape {found.shape}; it must be a list of {least} or more numbers")
    return found


def finite_array(name: str, values: ArrayLike) -> Floats:
    """Return `values` as float64, of any shape.

    Raises:
        UsageError: a value is NaN or infinite.
    """
    found = np.asarray(values, dtype=np.float64)
    missing = int((~np.isfinite(found)).sum())
    if missing:
        raise UsageError(
            f"{name}: {missing} of {found.size} values are not finite, as of diverged runs; "
            f"give them a score, or leave them out and say so"
        )
    return found


def inside(name: str, value: float) -> float:
    """Return a probability that lies strictly between 0 and 1.

    Raises:
        UsageError: it is not.
    """
    if not 0 < value < 1:
        raise UsageError(f"{name} is {value}; it must lie between 0 and 1")
    return value


def count(name: str, value: int) -> int:
    """Return a number of things that is 1 or more.

    Raises:
        UsageError: it is less.
    """
    if value < 1:
        raise UsageError(f"{name} is {value}; it must be 1 or more")
    return value
