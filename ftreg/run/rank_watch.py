"""Ranks watch one another: one that is stopped, dead or cut off ends the fit, and the line says where it was.

Every rank leaves a sign in RUN/.ranks, from a thread of its own, so that no long wait of the fit itself counts: a rank
that tokenises, compiles, evaluates or saves for an hour is alive all the time. A stopped process leaves none. What is
measured is the time that a rank sees no new sign while it runs itself: a machine that sleeps, or a clock that is off,
accuses nobody.

The folder must be on a file system that all machines see. A rank whose signs are not seen at all is never judged.
"""

import json
import os
import shutil
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ftreg._base.errors import LOST, UsageError

LIMIT = "FTREG_RANK_TIMEOUT"
"""Environment variable: seconds without a sign after which a rank counts as lost; 0 for no end."""
DEFAULT = 300.0
GRACE = 5.0
"""Seconds that a rank has to end by itself once another one has failed."""


def limit() -> float:
    """Return the seconds after which a silent rank counts as lost, as the environment says.

    Raises:
        UsageError: that is no number of seconds.
    """
    given = os.environ.get(LIMIT, "")
    try:
        seconds = float(given or DEFAULT)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < 1e9:
        raise UsageError(f"{LIMIT} is {given!r}; give seconds, or 0 to wait for ever")
    return seconds


@dataclass(frozen=True)
class Failure:
    """A failure says why a rank ends: its line, the exit code, and when, by the clock."""

    line: str
    code: int
    when: float


@dataclass(frozen=True)
class Sign:
    """A rank leaves a sign: who and where it is, and, if it has failed, why."""

    launch: str
    rank: int
    host: str
    pid: int
    beat: int = 0
    step: int = 0
    phase: str = "setting up"
    failure: Failure | None = None

    def seen(self, ago: float) -> str:
        """Return `rank 1 was last seen at step 12 in evaluation, 312 s ago`."""
        return f"rank {self.rank} was last seen at step {self.step:,} in {self.phase}, {ago:.0f} s ago"


class Where(pl.Callback):
    """Keeps which optimizer step, from 1, the fit is in, and what it does there."""

    def __init__(self) -> None:
        self.step, self.phase = 0, "set-up"

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        self.step, self.phase = trainer.global_step + 1, "training"

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.step, self.phase = trainer.global_step, "evaluation"

    on_test_start = on_predict_start = on_validation_start

    def on_save_checkpoint(self, trainer: pl.Trainer, *args: Any) -> None:
        self.step, self.phase = trainer.global_step, "saving"

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.step, self.phase = trainer.global_step, "what follows training"


@dataclass
class Watch:
    """Leaves one rank's sign, looks for those of the others, and ends the process if they cannot go on.

    Args:
        folder: for the signs.
        launch: names the processes that belong together.
        rank: of this process.
        world: the number of ranks.
        where: what this rank does.
        children: the exit codes of ranks that this process has started, by rank; None while they run.
        limit: seconds without a sign; 0 for no end.
        end: ends this process and its children, with an exit code.
    """

    folder: Path
    launch: str
    rank: int
    world: int
    where: Where
    children: Callable[[], dict[int, int | None]] = dict
    limit: float = DEFAULT
    end: Callable[[int], Any] = os._exit
    clock: Callable[[], float] = time.monotonic
    _silent: dict[int, float] = field(default_factory=dict)
    _signs: dict[int, Sign] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.period = max(0.2, min(1.0 if self.world <= 16 else 5.0, self.limit / 10 or 1.0))
        self.own = Sign(self.launch, self.rank, socket.gethostname(), os.getpid())
        self._since = time.time()
        self._looked = self.clock()
        self._over = threading.Event()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ftreg-watch", daemon=True)

    def start(self) -> None:
        """Leave the first sign, and go on in a thread."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._leave()
        self._thread.start()

    def stop(self) -> None:
        """Leave the sign that this rank is done: nobody waits for its signs."""
        self._over.set()
        self._thread.join(GRACE)
        if self.own.failure is None:  # which the others may not have read yet
            self._path(self.rank).unlink(missing_ok=True)
            with suppress(OSError):  # others are still there; the last one takes the folder away
                self.folder.rmdir()

    def fail(self, line: str, code: int) -> None:
        """Tell the others why this rank ends."""
        self.own = replace(self.own, failure=Failure(line, code, time.time()))
        self._leave()

    def look(self) -> str | Sign | None:
        """Look once at all signs: return that of a rank that has failed, a complaint of one that is lost, or None."""
        before = self.clock()
        # Time in which this process did not run itself, or waited for the disk, is nobody's silence.
        passed = min(before - self._looked, 2 * self.period)
        self._looked = before
        self._leave()
        failed = self.first_failure()
        if failed is not None:
            return failed
        slow = self.clock() - before > self.period
        for rank in self._silent:
            self._silent[rank] += 0 if slow else passed
        lost = [rank for rank, ago in self._silent.items() if self.limit and ago > self.limit]
        if not lost:
            return None
        return (
            f"{self._signs[lost[0]].seen(self._silent[lost[0]])}: it is stopped, dead or cut off, and the others wait "
            f"for it. Go on from the last checkpoint, on other machines if need be ({LIMIT} is {self.limit:g}; 0 waits "
            f"for ever)"
        )

    def first_failure(self) -> Sign | None:
        """Return the sign of the rank that failed first, as the signs are now."""
        self._read()
        failed = [(sign.failure.when, sign.rank) for sign in self._signs.values() if sign.failure]
        return self._signs[min(failed)[1]] if failed else None

    def cause(self, wait: float = GRACE) -> Sign | str:
        """Return what made the others end the connection: the first failure, or what is known of a silent rank."""
        until = self.clock() + wait
        while True:
            failed = self.first_failure()
            if failed is not None:
                return failed
            gone = {rank: code for rank, code in self.children().items() if code}
            if gone or self.clock() > until:
                break
            time.sleep(0.1)
        for rank, code in gone.items():
            how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"has ended with exit code {code}"
            sign = self._signs.get(rank)
            return f"rank {rank} {how}{f'; {sign.seen(self._silent[rank])}' if sign else ''}"
        return "; ".join(sign.seen(self._silent[rank]) for rank, sign in sorted(self._signs.items()))

    def lowest(self) -> bool:
        """Return whether this rank is the one that speaks for those that are left."""
        return all(rank > self.rank or ago > self.limit / 2 for rank, ago in self._silent.items())

    def _run(self) -> None:
        while not self._over.wait(self.period):
            found = self.look()
            if isinstance(found, Sign):
                # Time for the fit's own thread to end as it should, where it is not held in a collective.
                if not self._over.wait(GRACE):
                    self.end(found.failure.code if found.failure else LOST)
            elif found is not None:
                if self.lowest():
                    os.write(2, f"ftreg: error: {found}\n".encode())
                parent = self._signs.get(0)
                if parent is not None and parent.pid == os.getppid() and self._silent[0] > self.limit:
                    os.kill(parent.pid, signal.SIGKILL)  # whoever waits for this launch waits for that process
                self.end(LOST)

    def _leave(self) -> None:
        with self._lock:
            self.own = replace(self.own, beat=self.own.beat + 1, step=self.where.step, phase=self.where.phase)
            with suppress(OSError):  # a full disk is for the fit to find
                self._path(self.rank).write_text(json.dumps(asdict(self.own)))

    def _read(self) -> None:
        for rank in range(self.world):
            if rank == self.rank:
                continue
            try:
                content = json.loads(self._path(rank).read_text())
                failure = content.pop("failure")
                sign = Sign(**content, failure=Failure(**failure) if failure else None)
            except FileNotFoundError:
                self._signs.pop(rank, None)  # not there yet, or done
                self._silent.pop(rank, None)
                continue
            except (OSError, ValueError, TypeError, KeyError, AttributeError):
                continue  # half written
            before = self._signs.get(rank)
            stale = sign.failure is not None and sign.failure.when < self._since - 60
            if sign.launch != self.launch or stale:
                continue
            if before is None or before.beat != sign.beat:
                self._silent[rank] = 0.0
            self._signs[rank] = sign

    def _path(self, rank: int) -> Path:
        return self.folder / f"{rank}.json"


def clear(folder: Path) -> None:
    """Take away the signs that an earlier launch has left."""
    shutil.rmtree(folder, ignore_errors=True)


def kill(processes: Sequence[Any]) -> None:
    """End processes, stopped ones too."""
    for process in processes:
        if process.poll() is None:
            process.kill()
    for process in processes:
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
