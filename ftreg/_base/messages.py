"""Every mistake is told in one line, whichever library finds it: a command reads and checks first, and then it runs.

    reading()   whatever is raised in here is the input's fault: it leaves as one UsageError
    running()   whatever is raised in here is as it is: a fault of ours keeps its traceback
    answered    a command: prints the one line and returns 2

Nothing here imports torch.
"""

import functools
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import ParamSpec

from ftreg._base.errors import UsageError
from glue_tasks.errors import DataError

TRACEBACK = "FTREG_TRACEBACK"
"""Set this environment variable to see where a one-line error came from."""
LONGEST = 480
"""The most characters of a message, without what is printed before it."""
WORD = 120
"""The most characters of a path or a value in a message that is too long."""
HAD_BEGUN = "raised by a run that had begun"
TOLD = (UsageError, DataError, OSError)
"""Errors that say themselves what is to be mended, whenever they come: a disk may fill up in a run."""

P = ParamSpec("P")


@contextmanager
def reading(where: str = "") -> Iterator[None]:
    """Parse, check and read: every error leaves as one that is the user's to mend.

    Args:
        where: what its line begins with.

    Raises:
        UsageError: or the error itself, where it tells what is wrong.
    """
    try:
        yield
    except Exception as error:
        if HAD_BEGUN in getattr(error, "__notes__", ()) or (not where and isinstance(error, UsageError | DataError)):
            raise
        raise UsageError(f"{where}{': ' if where else ''}{told(error)}") from error


@contextmanager
def running(begun: Callable[[], bool] = lambda: True) -> Iterator[None]:
    """Run what has been read: an error that does not say what is to be mended is a fault of ours, or of a library's.

    Args:
        begun: whether it runs by now, and does not read any more.
    """
    try:
        yield
    except Exception as error:
        if begun() and known(error) is None:
            error.add_note(HAD_BEGUN)
        raise


def answered(program: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """Make a command print one line for a mistake in the input, after the program's name, and return 2."""

    def decorate(command: Callable[P, int]) -> Callable[P, int]:
        @functools.wraps(command)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                return command(*args, **kwargs)
            except Exception as error:
                found = known(error)
                if found is None or os.environ.get(TRACEBACK):
                    raise
                print(f"{program}: error: {shortened(told(found))}", file=sys.stderr)
                return 2

        return run

    return decorate


def known(error: BaseException | None) -> BaseException | None:
    """Return the error itself, or what caused it, if that tells what is to be mended."""
    # The last of them is Lightning's, and importing it imports torch.
    while not (error is None or isinstance(error, TOLD) or type(error).__name__ == "MisconfigurationException"):
        error = error.__cause__
    return error


def told(error: BaseException) -> str:
    """Return what an error says, in a line that names its kind where it does not speak for itself."""
    found = known(error)
    if isinstance(found, OSError) and not isinstance(found, UsageError | DataError):
        names = [os.fsdecode(name) for name in (found.filename, found.filename2) if isinstance(name, str | bytes)]
        return f"{' and '.join(names)}: {found.strerror}" if names and found.strerror else str(found)
    if found is not None:
        return str(found)
    if isinstance(error, RuntimeError) and str(error).startswith("Error(s) in loading state_dict"):
        return f"the checkpoint does not fit this model: {str(error)[:300]} …"
    if isinstance(error, ValueError) and "embedded null" in str(error):
        return "a path has a NUL character; give another one"
    if isinstance(error, RecursionError):
        return f"nested too deeply; write it with fewer levels ({TRACEBACK}=1 shows where)"
    return f"{type(error).__name__}: {error}; mend the option or the file ({TRACEBACK}=1 shows where)"


def shortened(text: str, longest: int = LONGEST) -> str:
    """Return the text in one line of printable characters, at most `longest` of them.

    What it quotes gives way first; then its middle: the beginning says what and where, the end what to do.
    """
    words = text.split() if len(text) <= 100 * longest else [*text[: 50 * longest].split(), *text[-longest:].split()]
    line = _printable(" ".join(words))
    if len(line) > longest:
        line = " ".join(_cut(word, WORD) for word in line.split(" "))
    return _cut(line, longest)


def _cut(text: str, longest: int) -> str:
    """Keep the first three fifths of what may stay, and the last two."""
    if len(text) <= longest:
        return text
    end = (longest - 1) * 2 // 5
    return f"{text[: longest - 1 - end]}…{text[len(text) - end :]}"


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
