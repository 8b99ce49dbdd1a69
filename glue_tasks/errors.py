"""The one exception of the package."""


class DataError(ValueError):
    """Bad input. Its ``str()`` is a single line: what was wrong, where, and what to do about it."""
