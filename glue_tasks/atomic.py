"""A file is written whole, or not at all: beside its place, onto the disk, and then moved there.

The temporary file `.NAME.TOKEN.tmp` is locked while it is written. The lock is the kernel's and ends with the process,
so one that nobody holds is of a process that was killed: whoever writes into the folder next takes it away.
"""

import errno
import os
import re
import shutil
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # on Windows: nothing is locked there, and nothing taken away
    fcntl = None  # type: ignore[assignment]

TEMPORARY = re.compile(r"\..+\.([0-9a-f]{32}|\d+)\.tmp")
"""Names of temporary files; those of earlier versions ended in the number of the process."""
WITHOUT = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.ENOLCK)
"""What a file system answers that has no such call."""


def write_atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let `write` fill a temporary file beside `path`, then move it there.

    Raises `OSError`: the disk is full, say. What was at `path` before is there still.
    """
    _make(path.parent)
    tidy(path.parent)
    with _temporary(path, _file) as temporary:
        write(temporary)
        sync(temporary)
        os.replace(temporary, path)
    _sync_folder(path.parent)


@contextmanager
def together(folder: Path) -> Iterator[Path]:
    """Fill an empty folder that is moved into `folder` file by file at the end; an error before leaves all as it was.

    Raises `OSError`.
    """
    before = folder.exists()
    _make(folder)
    tidy(folder)
    try:
        with _temporary(folder / "folder", Path.mkdir) as temporary:
            yield temporary
            moves = {file: folder / file.relative_to(temporary) for file in temporary.rglob("*") if file.is_file()}
            for file, target in moves.items():
                if target.is_dir():
                    raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(target))
                _make(target.parent)
                sync(file)
            for file, target in moves.items():
                os.replace(file, target)
        for place in {target.parent for target in moves.values()}:
            _sync_folder(place)
    except BaseException:
        if not before:
            with suppress(OSError):
                folder.rmdir()
        raise


def sync(file: Path) -> None:
    """Have a file's content on the disk: it then survives a power cut."""
    with open(file, "rb+") as stream:
        os.fsync(stream.fileno())


def tidy(folder: Path) -> None:
    """Take away what processes that were killed have left of their writing."""
    for entry in os.scandir(folder):
        if TEMPORARY.fullmatch(entry.name) and not entry.is_symlink():
            with suppress(OSError), _lock(Path(entry.path)) as held:
                if held:
                    _remove(Path(entry.path))


@contextmanager
def _temporary(path: Path, make: Callable[[Path], None]) -> Iterator[Path]:
    """Make a locked file, or folder, beside `path`; it is gone at the end."""
    while True:
        # Not by the process's number: two containers may have the same.
        temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.tmp")
        make(temporary)
        try:
            with _lock(temporary) as held:
                if held is not False:
                    yield temporary
                    return
        finally:
            _remove(temporary)


@contextmanager
def _lock(path: Path) -> Iterator[bool | None]:
    """Lock the file and say whether it is: not if another process has it, or took it away; None if nobody can tell."""
    if fcntl is None:
        yield None
        return
    try:
        file = os.open(path, os.O_RDONLY if path.is_dir() else os.O_RDWR | os.O_NONBLOCK)
    except FileNotFoundError:
        yield False
        return
    try:
        yield _try(file, path)
    finally:
        os.close(file)


def _try(file: int, path: Path) -> bool | None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        return None if error.errno in WITHOUT else False
    return path.exists()


def _file(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666))


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def _make(folder: Path) -> None:
    """Make a folder and those above it, each on the disk."""
    if not folder.is_dir():
        _make(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk."""
    if fcntl is None:
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in WITHOUT:
            raise
    finally:
        os.close(file)
