"""The package raises one exception of its own."""


class DataError(ValueError):
    """The input is bad: ``str()`` of the error is a single line: what was wrong, where, and what to do about it."""
