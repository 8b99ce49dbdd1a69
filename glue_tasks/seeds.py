"""A seed is a whole number, however it is spelt: `0`, `np.int64(0)` and `torch.tensor(0)` name the same draws."""

import operator
from typing import SupportsIndex

from glue_tasks.errors import DataError


def whole(value: SupportsIndex, option: str) -> int:
    """The seed as a plain integer, which is what streams are named by and checkpoints hold.

    Args:
        value: an integer of any kind; a truth value is none.
        option: that names it, for complaints.

    Raises:
        DataError: it is something else.
    """
    try:
        if isinstance(value, bool) or "bool" in str(getattr(value, "dtype", "")):
            raise TypeError
        return operator.index(value)
    except TypeError:
        raise DataError(f"{option} is {value!r}; a seed is a whole number, such as 0") from None
