"""Inputs, run one after another in another process, and what must hold of every answer."""

import faulthandler
import hashlib
import multiprocessing
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

CODES = {0, 1, 2}
"""What the commands document: done, some failed, a mistake in the input."""
VAGUE = "FTREG_TRACEBACK=1"
"""In a line about an error that nobody has thought of."""


@dataclass(frozen=True)
class Answer:
    """How a command ended.

    Args:
        code: exit code; -1 where it was killed.
        out, err: what it printed.
        seconds: how long it took.
        changed: files that were changed, added or removed.
    """

    code: int
    out: str
    err: str
    seconds: float
    changed: tuple[str, ...]

    @property
    def fault(self) -> str:
        """What is wrong with the answer; empty if nothing is."""
        lines = [line for line in self.err.splitlines() if line.strip()]
        told = [line for line in lines if not line.startswith("ftreg: warning: ")]
        if "Traceback (most recent call last)" in self.err + self.out or "panicked at" in self.err:
            return "traceback"
        if self.code < 0:
            return "hang" if self.code == -signal.SIGKILL else f"killed by {-self.code}"
        if self.code not in CODES:
            return f"exit code {self.code}"
        if any(len(line) > 500 for line in lines):
            return "long"
        if self.code == 2 and len(told) != 1:
            return f"{len(told)} lines"
        if self.code == 2 and not told[0].isprintable():
            return "control characters"
        if self.code == 2 and self.changed:
            return "files changed"
        return "vague" if self.code == 2 and VAGUE in told[0] else ""


class Worker:
    """A forked process that runs one input after another, so that imports are paid for once.

    Args:
        prepare: writes an input, in its folder, and gives what reads it.
    """

    def __init__(self, prepare: Callable[[Any], Callable[[], int]]) -> None:
        self._prepare = prepare
        self._start()

    def _start(self) -> None:
        fork = multiprocessing.get_context("fork")
        self._here, there = fork.Pipe()
        self._process = fork.Process(target=_serve, args=(there, self._prepare), daemon=True)
        self._process.start()
        there.close()

    def answer(self, what: Any, folder: Path, limit: float) -> Answer:
        """Run one; a worker that takes too long, or dies, is replaced.

        Args:
            what: the input.
            folder: where it is run.
            limit: seconds.
        """
        start, changed = time.monotonic(), list[str]()
        self._here.send((what, folder))
        try:
            code, changed = self._here.recv() if self._here.poll(limit) else (self._killed(), [])
        except EOFError:
            self._process.join()
            code = self._process.exitcode or 1
        if not self._process.is_alive():
            self._start()
        seconds = time.monotonic() - start
        out, err = (log.read_text(encoding="utf-8", errors="replace") if log.exists() else "" for log in _logs(folder))
        for log in _logs(folder):
            log.unlink(missing_ok=True)
        return Answer(code, out, err, seconds, tuple(changed))

    def close(self) -> None:
        """End the process."""
        self._process.kill()

    def _killed(self) -> int:
        assert self._process.pid is not None
        os.kill(self._process.pid, signal.SIGABRT)  # faulthandler says where it was
        time.sleep(1)
        self._process.kill()
        self._process.join()
        return -signal.SIGKILL


def _logs(folder: Path) -> list[Path]:
    return [folder.with_name(f"{folder.name}{end}") for end in (".out", ".err")]


def _serve(connection: Any, prepare: Callable[[Any], Callable[[], int]]) -> None:
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.enable(2, all_threads=True)
    # A test's own streams would be no files.
    sys.stdout, sys.stderr = (os.fdopen(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
    while True:
        what, folder = connection.recv()
        for log, number in zip(_logs(folder), (1, 2), strict=True):
            opened = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(opened, number)
            os.close(opened)
        os.chdir(folder)
        run = prepare(what)
        before = _files(folder)
        code, after = _code(run), _files(folder)
        connection.send((code, sorted(name for name in before | after if before.get(name) != after.get(name))))


def _code(run: Callable[[], int]) -> int:
    try:
        return run()
    except SystemExit as error:
        return error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _files(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }
