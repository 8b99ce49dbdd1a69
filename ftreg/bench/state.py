"""The folder of a cell says how its run stands, and one process of all machines at a time has a lock on it.

RUN/.bench.lock  cell.json (name, identity, arguments, seconds so far)  log.txt  error.json (of a failed run)
and what `ftreg fit` leaves.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from ftreg._base import locks
from ftreg.run.places import ERROR, RESULT, resumable
from ftreg.run.records import read_record
from ftreg.run.result import Outcome
from ftreg.run.wording import error_in_words, points


class Status(StrEnum):
    """A run has one of these statuses."""

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


def read_state(folder: Path, held: bool = False) -> State:
    """Return the state of the run in a folder, which may not exist.

    Args:
        held: the lock is the caller's.
    """
    outcome = Outcome.read(folder / RESULT)
    if outcome is not None:
        return State(Status.DONE, score_in_words(outcome))
    if not held and _locked(folder):
        return State(Status.RUNNING)
    error = read_record(folder / ERROR)
    if error:
        return State(Status.FAILED, error["line"])
    return State(Status.CUT_OFF if resumable(folder) else Status.WAITING)


def diverged(error: Mapping[str, Any]) -> bool:
    """Return whether `error.json` says that the loss was no longer finite: an outcome, where others want mending."""
    return str(error.get("line", "")).startswith("training diverged")


def score_in_words(outcome: Outcome) -> str:
    """Return what a run reports, in a line; nothing of a run that learns no labels."""
    reported = outcome.reported
    if reported is None:
        return ""
    shown = error_in_words if reported.metric in outcome.less_is_better else points
    value = "undefined" if reported.value is None else shown(reported.value)
    return f"{reported.split} {reported.metric} {value}{' (failed run)' if outcome.failed else ''}"


def _locked(folder: Path) -> bool:
    lock = Lock(folder)
    if not lock.path.is_file():
        return False
    taken = lock.take(tries=1)
    if taken:
        lock.release()
    return not taken
