"""Errors that are the user's to mend. `str(error)` is the one line that the command line prints."""


class UsageError(ValueError):
    """An option, input or combination that cannot work: what, where, and what to do instead."""


class ConflictError(UsageError):
    """Two methods claim the same exclusive slot of a training step."""


class DivergedError(UsageError):
    """A loss or a gradient is no longer a finite number."""
