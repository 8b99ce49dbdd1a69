"""These errors are the user's to mend, and `str(error)` is the one line that the command line prints."""


class UsageError(ValueError):
    """An option, input or combination that cannot work: what, where, and what to do instead."""


class ConflictError(UsageError):
    """Two methods claim the same exclusive slot of a training step."""


class DivergedError(UsageError):
    """A loss or a gradient is no longer a finite number."""


STOPPED = 75
"""Exit code of a fit that was stopped and can be gone on with: EX_TEMPFAIL of sysexits.h."""
INTERRUPTED = 130
"""Exit code of a command that Ctrl-C has ended and that left nothing to go on from: a shell's for that signal."""
LOST = 69
"""Exit code of a fit whose ranks have lost one of them: EX_UNAVAILABLE of sysexits.h."""
