"""A file is written whole or not at all, as `glue_tasks.atomic` does it; here an error is one line."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ftreg._base.errors import UsageError
from glue_tasks import atomic


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there.

    Raises:
        UsageError: the disk is full, say. What was at `path` before is there still.
    """
    with one_line_errors(path):
        atomic.write_atomically(path, write)


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Open an empty folder whose files are moved into `folder` at the end; an error before that leaves all as it was.

    Raises:
        UsageError: the disk is full, say.
    """
    with one_line_errors(folder), atomic.together(folder) as temporary:
        try:
            yield temporary
        except UsageError as error:
            if isinstance(error.__cause__, OSError):
                raise error.__cause__ from None  # the line names a file in the temporary folder, which nobody knows
            raise


@contextmanager
def one_line_errors(path: Path) -> Iterator[None]:
    """Raise what the system refuses as one line."""
    try:
        yield
    except OSError as error:
        raise UsageError(
            f"{path}: cannot be written ({error.strerror or ' '.join(str(error).split())[:200]}); "
            "make room, or give another folder; what was there before is as it was"
        ) from error
