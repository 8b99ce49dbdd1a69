"""Only ordinary files are read: a pipe, a socket or a device may have no end, or no beginning."""

import errno
import os
import stat
from pathlib import Path

from glue_tasks.errors import DataError

KINDS = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}
UNITS = {"GB": 10**9, "MB": 10**6, "kB": 10**3}


def file_fault(file: Path, most: int | None = None) -> str:
    """Return what keeps `file` from being read; empty for an ordinary file, and for one that is not there.

    Args:
        most: bytes that such a file may have.
    """
    try:
        found = os.stat(file)
    except OSError as error:
        return "a symbolic link that leads back to itself" if error.errno == errno.ELOOP else ""
    if not stat.S_ISREG(found.st_mode):
        return KINDS.get(stat.S_IFMT(found.st_mode), "not an ordinary file")
    if most is not None and found.st_size > most:
        return f"{_size(found.st_size)} long, which is more than {_size(most)}"
    return ""


def ordinary(file: Path, most: int | None = None) -> Path:
    """Return the same file, if it is ordinary: `with ordinary(file).open() as stream`.

    Args:
        most: bytes that such a file may have.

    Raises `DataError`: it is a folder, pipe, socket, device or endless link, or too long. It need not be there.
    """
    found = file_fault(file, most)
    if found:
        raise DataError(f"{file}: {found}; give an ordinary file")
    return file


def inside(folder: Path) -> str:
    """Return what a folder holds, in words, for a complaint about what it does not hold."""
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return "it is a file"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"found {', '.join(names[:8])}{', ...' * (len(names) > 8)}" if names else "it is empty"


def _size(size: int) -> str:
    unit, scale = next(((unit, scale) for unit, scale in UNITS.items() if size >= scale), ("bytes", 1))
    return f"{size / scale:,.0f} {unit}"
