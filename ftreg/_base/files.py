"""Ordinary files are told from pipes and devices as by `glue_tasks.files`; here the refusal is a `UsageError`."""

from pathlib import Path

from ftreg._base.errors import UsageError
from glue_tasks.files import file_fault

TEXT = 16 * 10**6
"""The most bytes that a configuration, a grid or a record may have: the largest ones have some thousands."""


def ordinary(file: Path, most: int | None = TEXT, where: str = "") -> Path:
    """Return the same file, for a reader: `ordinary(path).read_text()`.

    Args:
        most: bytes that such a file may have; None for any number.
        where: the option that names it, and a space, for messages.

    Raises:
        UsageError: it is a folder, pipe, socket, device or endless link, or too long. It need not be there.
    """
    found = file_fault(file, most)
    if found:
        raise UsageError(f"{where}{file}: {found}; give an ordinary file")
    return file
