"""A seed is a whole number, however it is spelt: `0`, `np.int64(0)` and `torch.tensor(0)` name the same draws."""

import operator
from typing import SupportsIndex

from glue_tasks.errors import DataError
from glue_tasks.shown import shown


def whole(value: SupportsIndex, option: str) -> int:
    """Return the seed as a plain integer, which is what streams are named by and checkpoints hold.

    Args:
        value: an integer of any kind; a truth value is none.
        option: that names it, for messages.

    Raises:
        DataError: it is something else.
    """
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        number = operator.index(value)
        if not -(2**63) <= number < 2**63:
            raise TypeError
        return number
    except TypeError:
        raise DataError(f"{option} is {shown(value)}; a seed is a whole number of at most 64 bits, such as 0") from None
