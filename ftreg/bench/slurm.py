"""The SLURM launcher submits one array, whose elements are `ftreg bench GRID --runs DIR --only RUN`.

SLURM schedules; this only writes the script, keeps it in `slurm/` among the runs, and remembers which run is which
element. A run that is still in the queue is not submitted again. An element whose time is nearly up is told so by
SIGUSR1: it stops its run at a step, and requeues itself. Requeued, by itself or by SLURM, it finds its run cut off, and
goes on with it. Tuned and matched runs are submitted by the next call, once the runs that decide them are done.
"""

import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ftreg._base.errors import UsageError
from ftreg._base.json_files import write_json
from ftreg.bench.grid import Grid
from ftreg.bench.local import Job
from ftreg.run.records import read_record

BENCH = (sys.executable, "-m", "ftreg", "bench")
SUBMITTED = Path("slurm", "submitted.json")
"""The file that keeps {cell: job and element, as squeue names them}, in the folder of all runs."""
ELEMENTS = 1000
"""The most elements of an array: SLURM's own default of MaxArraySize is 1001."""


def submit(
    jobs: Sequence[Job], grid: Grid, runs: Path, options: Mapping[str, str], workers: int | None, retry: bool
) -> int:
    """Submit what is not in the queue yet; returns the exit code.

    Args:
        options: of `sbatch`, without dashes.
        workers: elements that may run at a time; None for as many as the queue lets.

    Raises:
        UsageError: there is no SLURM here, or it refuses.
    """
    if shutil.which("sbatch") is None:
        raise UsageError("--launcher slurm: there is no sbatch here; use --launcher local")
    submitted: dict[str, str] = read_record(runs / SUBMITTED)
    queued = _queue() if submitted else set()
    new = [job.cell.name for job in jobs if submitted.get(job.cell.name) not in queued]
    if len(new) < len(jobs):
        print(f"{len(jobs) - len(new)} runs are in the queue")
    if not new:
        return 0
    folder = (runs / SUBMITTED).parent.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    for part in range(0, len(new), ELEMENTS):
        names = new[part : part + ELEMENTS]
        script = folder / f"{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}-{part}.sh"
        script.write_text(_script(names, grid, runs, options, workers, retry, folder))
        done = subprocess.run(["sbatch", "--parsable", str(script)], text=True, capture_output=True)
        if done.returncode:
            raise UsageError(f"sbatch refuses {script}: {' '.join(done.stderr.split())}")
        number = done.stdout.strip().partition(";")[0]
        submitted |= {name: f"{number}_{element}" for element, name in enumerate(names)}
        write_json(runs / SUBMITTED, submitted)
        print(
            f"{len(names)} runs submitted as job {number}; see squeue --job {number}, and the same command for what "
            "is done"
        )
    return 0


def requeue() -> bool:
    """Put this job, or this element of an array, back into the queue; return whether SLURM takes it."""
    job = os.environ.get("SLURM_JOB_ID")
    if job is None or shutil.which("scontrol") is None:
        return False
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    return subprocess.run(["scontrol", "requeue", job]).returncode == 0


def _script(
    names: Sequence[str],
    grid: Grid,
    runs: Path,
    options: Mapping[str, str],
    workers: int | None,
    retry: bool,
    folder: Path,
) -> str:
    at_once = f"%{workers}" if workers else ""
    own = {
        "job-name": "ftreg",
        "array": f"0-{len(names) - 1}{at_once}",
        "output": f"{folder}/%A_%a.txt",
        "requeue": "",
        "open-mode": "append",  # a requeued element goes on in the same file
        "signal": "B:USR1@120",
    }
    flags = [f"--{name}={value}" if value else f"--{name}" for name, value in {**own, **options}.items()]
    command = [*BENCH, str(grid.path.resolve()), "--runs", str(runs.resolve())]
    return "\n".join(
        [
            "#!/bin/bash",
            *(f"#SBATCH {flag}" for flag in flags),
            f"cd {shlex.quote(str(Path.cwd()))}",
            f"runs=({shlex.join(names)})",
            # exec: the signal reaches the bench itself.
            f"exec {shlex.join(command)} --workers 1{' --retry' if retry else ''} "
            '--only "${runs[$SLURM_ARRAY_TASK_ID]}"',
            "",
        ]
    )


def _queue() -> set[str]:
    """Return the user's elements in the queue, as `JOB_ELEMENT`."""
    found = subprocess.run(["squeue", "--me", "--array", "--noheader", "--format=%i"], text=True, capture_output=True)
    if found.returncode:
        raise UsageError(f"squeue: {' '.join(found.stderr.split())}")
    return set(found.stdout.split())
