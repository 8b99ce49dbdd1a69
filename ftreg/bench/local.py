"""The local launcher starts a process a run, on its share of the cores and GPUs, under the run's lock."""

import os
import platform
import shlex
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftreg._base.errors import STOPPED
from ftreg._base.json_files import write_json
from ftreg._base.launch import LAUNCH
from ftreg.bench.cells import Cell
from ftreg.bench.state import Lock, State, Status, read_state
from ftreg.run.folder import clear
from ftreg.run.places import CELL, ERROR, RESULT, resumable
from ftreg.run.records import read_record

POLL = 0.1
"""Seconds between two looks at the running processes."""
LOOK_AGAIN = 1.0
"""Seconds between two tries of a run that another bench has."""
GRACE = 60.0
"""Seconds that a run has to end by itself once it is told to."""
FIT = (sys.executable, "-m", "ftreg", "fit")
SRUN = ("srun", "--wait=300")
"""On all tasks of a SLURM job. Once a task has ended the others have 300 s: ranks that are told to stop do not leave in
the same moment, and ranks whose fellow crashed may wait for it without end."""
MALLOC = {"MALLOC_MMAP_THRESHOLD_": str(2**32), "MALLOC_TRIM_THRESHOLD_": str(2**33)}
"""Large tensors come and go at every step: glibc would give each back to the system, and ask again."""

OnChange = Callable[[Cell, State], None]
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Job:
    """A cell that was checked."""

    cell: Cell
    identity: str
    stage: Path | None
    """Folder of the stage that it starts from."""


@dataclass
class _Run:
    job: Job
    folder: Path
    lock: Lock
    process: subprocess.Popen[bytes]
    since: float
    logged: int
    """Bytes of `log.txt` that are older than this attempt."""
    stop: int
    """The signal that ends it at a step."""


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def places(workers: int, gpus: Sequence[str], each: int) -> list[Environment]:
    """Return what the processes of each worker find in their environment beside this one's.

    Args:
        workers: how many runs there are at a time.
        gpus: names of this machine's, as CUDA_VISIBLE_DEVICES has them.
        each: GPUs of a run.
    """
    given = dict(os.environ)
    common = {"OMP_NUM_THREADS": str(max(1, cores() // workers)), "PYTHONUNBUFFERED": "1"}
    if platform.libc_ver()[0] == "glibc":
        common |= MALLOC
    common = {name: value for name, value in common.items() if name not in given}
    if not gpus:
        return [common] * workers
    own = [[gpus[(worker * each + n) % len(gpus)] for n in range(each)] for worker in range(workers)]
    return [{**common, "CUDA_VISIBLE_DEVICES": ",".join(dict.fromkeys(names))} for names in own]


def run(
    jobs: Sequence[Job],
    runs: Path,
    where: Sequence[Environment],
    report: OnChange,
    retry: Collection[str] = (),
    wait: bool = True,
) -> int:
    """Run what is not done, one job at a time in each place.

    Args:
        jobs: in the order in which they are started.
        runs: the folder of all runs.
        where: an environment for each place.
        report: is told of every change.
        retry: names of cells that run again though they failed.
        wait: for runs that another bench has; otherwise they are left to it.

    Returns:
        the signal that stopped it, after its runs were stopped; 0 if there is nothing left to run.
    """
    queue, active = list(jobs), dict[int, _Run]()
    retry, not_before = set(retry), dict[str, float]()
    with _signals() as received:
        try:
            while (queue or active) and not received:
                for place, one in list(active.items()):
                    if one.process.poll() is not None:
                        ended = _finish(one)
                        report(one.job.cell, ended)
                        del active[place]
                        if ended.status not in (Status.DONE, Status.FAILED):  # told to stop, and not by us
                            queue.append(one.job)
                            not_before[one.job.cell.name] = time.monotonic() + LOOK_AGAIN
                for place in range(len(where)):
                    while place not in active and (
                        job := next_job(queue, [one.job for one in active.values()], not_before)
                    ):
                        started = _start(job, runs, where[place], job.cell.name in retry)
                        if isinstance(started, _Run):
                            active[place] = started
                            retry.discard(job.cell.name)
                            queue.remove(job)
                            report(job.cell, State(Status.RUNNING))
                        elif started.status is Status.RUNNING and wait:
                            not_before[job.cell.name] = time.monotonic() + LOOK_AGAIN
                            report(job.cell, started)
                        else:
                            queue.remove(job)
                            report(job.cell, started)
                time.sleep(POLL)
        finally:
            _stop(active.values(), received)
            for one in active.values():
                report(one.job.cell, _finish(one, stopped=True))
    return received[0] if received else 0


def next_job(queue: Sequence[Job], active: Sequence[Job], not_before: Mapping[str, float]) -> Job | None:
    """Return the first job that would not only wait: for another bench, or for a stage that a run of ours is training.

    Args:
        not_before: by the cell's name, the moment (`time.monotonic`) from which it may be tried again.
    """
    training = {job.stage for job in active if job.stage and not (job.stage / RESULT).is_file()}
    now = time.monotonic()
    return next((j for j in queue if j.stage not in training and not_before.get(j.cell.name, now) <= now), None)


def _start(job: Job, runs: Path, place: Environment, again: bool) -> _Run | State:
    """Start a run; or return its state, if there is nothing to start."""
    folder = job.cell.folder(runs)
    lock = Lock(folder)
    if not lock.take():
        return State(Status.RUNNING, "by another bench")
    # Both may have changed since the jobs were listed.
    state = read_state(folder, held=True)
    own = read_record(folder / CELL).get("identity", job.identity) == job.identity
    if state.status is Status.DONE or (state.status is Status.FAILED and own and not again):
        lock.release()
        return state
    if state.status is Status.CUT_OFF and not own:
        lock.release()
        return State(Status.FAILED, "cut off, and of another configuration")
    if not own:
        clear(folder)  # of a failed run with other options
    command = [*FIT, *job.cell.arguments, f"--trainer.default_root_dir={folder}"]
    if checkpoint := resumable(folder):
        command.append(f"--ckpt_path={checkpoint}")
    stop = signal.SIGTERM
    if int(os.environ.get("SLURM_NTASKS", 1)) > 1:
        # srun kills its tasks when it is told to terminate; this one it hands on.
        command, stop = [*SRUN, *command], signal.SIGUSR1
    record = {"name": job.cell.name, "identity": job.identity, "arguments": list(job.cell.arguments)}
    write_json(folder / CELL, {"seconds": 0.0, **read_record(folder / CELL), **record})
    (folder / ERROR).unlink(missing_ok=True)
    with open(folder / "log.txt", "ab") as log:
        log.write(f"$ {shlex.join(command)}\n".encode())
        log.flush()
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            # A launch of its own, whose ranks find one another: see ftreg._base.launch.
            env={**os.environ, **place, LAUNCH: uuid.uuid4().hex},
            pass_fds=(lock.file,),
            start_new_session=True,  # the terminal's Ctrl-C is for us: we tell the runs
        )
        return _Run(job, folder, lock, process, time.monotonic(), log.tell(), stop)


def _finish(one: _Run, stopped: bool = False) -> State:
    """Write down how a run ended; return its state."""
    code = one.process.wait()
    with suppress(ProcessLookupError):
        os.killpg(one.process.pid, signal.SIGKILL)  # ranks that wait for one that is gone would keep their GPUs
    record = read_record(one.folder / CELL)
    write_json(
        one.folder / CELL,
        {**record, "seconds": round(record.get("seconds", 0.0) + time.monotonic() - one.since, 1)},
    )
    state = read_state(one.folder, held=True)
    if state.status is not Status.DONE and not stopped and code != STOPPED:
        line = _last_line(one.folder / "log.txt", one.logged)
        if code < 0:
            line = f"killed by {signal.Signals(-code).name}; its last line: {line}"
        when = time.strftime("%Y-%m-%dT%H:%M:%S%z")
        write_json(one.folder / ERROR, {"exit_code": code, "line": line, "when": when, "identity": one.job.identity})
        state = read_state(one.folder, held=True)
    one.lock.release()
    return state


def _last_line(log: Path, offset: int) -> str:
    """Return the complaint that ends an attempt's log, or its last line."""
    with open(log, "rb") as file:
        file.seek(offset)
        lines = [line.strip() for line in file.read().decode(errors="replace").splitlines() if line.strip()]
    said = [line.removeprefix("ftreg: error: ") for line in lines if line.startswith("ftreg: error: ")]
    return (said or lines or ["nothing"])[-1]


def _stop(active: Any, received: list[int]) -> None:
    """Tell the runs to end, then see to it; a second signal shortens that."""
    signals, until = len(received), time.monotonic() + GRACE
    for one in active:
        _tell(one.process, one.stop)
    while any(one.process.poll() is None for one in active):
        if time.monotonic() > until or len(received) > signals:
            for one in active:
                _tell(one.process, signal.SIGKILL)
        time.sleep(POLL)


def _tell(process: subprocess.Popen[bytes], what: int) -> None:
    """Send a signal to a run and all its ranks, which are a process group."""
    if process.poll() is None:
        os.killpg(process.pid, what)


@contextmanager
def _signals() -> Iterator[list[int]]:
    """Collect the signals to stop that come, in place of an exception at any line."""
    received: list[int] = []
    before = {}
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1):
        if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
            before[number] = signal.signal(number, lambda number, _: received.append(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
