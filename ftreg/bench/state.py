"""What the folder of a cell says of its run, and the lock that only one process of all machines has on it.

RUN/.bench.lock  cell.json (name, identity, arguments, seconds so far)  log.txt  error.json (of a failed run)
and what `ftreg fit` leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ftreg._base import locks
from ftreg.run.places import resumable
from ftreg.run.records import load


class Status(StrEnum):
    """Of a run."""

    DONE = "done"
    RUNNING = "running"
    FAILED = "failed"
    CUT_OFF = "cut off"
    WAITING = "waiting"


@dataclass(frozen=True)
class State:
    """Status, and a line on it: the reported score, or the error."""

    status: Status
    line: str = ""


class Lock(locks.Lock):
    """An exclusive lock on a run.

    A run whose bench was killed has inherited it, and still holds it; a dead run holds nothing.
    """

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / ".bench.lock")


def read(folder: Path, held: bool = False) -> State:
    """The state of the run in a folder, which may not exist.

    Args:
        held: the lock is the caller's.
    """
    result = load(folder / "result.json")
    if result:
        return State(Status.DONE, score(result))
    if not held and _locked(folder):
        return State(Status.RUNNING)
    error = load(folder / "error.json")
    if error:
        return State(Status.FAILED, error["line"])
    return State(Status.CUT_OFF if resumable(folder) else Status.WAITING)


def diverged(error: Mapping[str, Any]) -> bool:
    """Whether a run's `error.json` says that its loss was no longer finite: an outcome, where others want mending."""
    return str(error.get("line", "")).startswith("training diverged")


def score(result: dict[str, Any]) -> str:
    """What a result reports, in a line."""
    reported = result["reported"]
    if reported is None:
        return ""
    error = reported["metric"] in result.get("less_is_better", ())
    found = reported["value"]
    value = "undefined" if found is None else f"{found:.4g}" if error else f"{100 * found:.1f}"
    return f"{reported['split']} {reported['metric']} {value}{' (failed run)' if result['failed'] else ''}"


def _locked(folder: Path) -> bool:
    lock = Lock(folder)
    if not lock.path.is_file():
        return False
    taken = lock.take(tries=1)
    if taken:
        lock.release()
    return not taken
