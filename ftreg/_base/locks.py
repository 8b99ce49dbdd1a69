"""A lock on a file excludes other processes; the kernel holds it, so one that is gone holds nothing."""

import os
import sys
import time
from contextlib import suppress
from pathlib import Path

if sys.platform == "win32":
    import msvcrt

    def _lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


MOMENT = 0.005
"""Seconds between two tries."""


class Lock:
    """A lock that the processes which inherit its open file keep until the last of them is gone."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file = -1

    def take(self, tries: int = 3) -> bool:
        """Try to take it; again in a moment, since who only looks whether it is held has it for that long."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        for turn in range(tries):
            if turn:
                time.sleep(MOMENT)
            self.file = os.open(self.path, os.O_RDWR | os.O_CREAT, 0o666)
            try:
                _lock(self.file)
                # It may have been taken away, or moved, between the two calls: that lock guards nothing.
                if os.path.samestat(os.fstat(self.file), os.stat(self.path)):
                    return True
            except (BlockingIOError, PermissionError, FileNotFoundError):
                pass
            except OSError:
                self.release()
                raise
            self.release()
        return False

    def release(self) -> None:
        """Close this process's hold on it."""
        if self.file >= 0:
            os.close(self.file)
        self.file = -1

    def remove(self) -> None:
        """Release it, and leave no file."""
        with suppress(OSError):  # Windows removes no open file
            self.path.unlink()
        self.release()
