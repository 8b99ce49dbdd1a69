"""One call of `ftreg bench`: what it knows it reads from the folders, each time anew."""

import argparse
import os
import shlex
import signal
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from ftreg.bench import cells as of
from ftreg.bench import decisions, local, slurm
from ftreg.bench.cells import Cell
from ftreg.bench.grid import PLAIN, Grid
from ftreg.bench.plans import Checked, check, difference
from ftreg.bench.progress import Progress, estimate, spoken
from ftreg.bench.state import LAST, State, Status, load, store
from ftreg.bench.state import read as read_state
from ftreg.errors import UsageError
from ftreg.names import unknown

RECORD = "grid.json"
"""What the runs are for: methods, tasks, seeds, and the primary family with the baselines that it came to."""


class Bench:
    """One call of the command.

    Args:
        grid: what is run.
        options: parsed.
        arguments: as they were typed, to be repeated.
    """

    def __init__(self, grid: Grid, options: argparse.Namespace, arguments: Sequence[str]) -> None:
        self.grid, self.options, self.arguments = grid, options, arguments
        self.runs: Path = options.runs.expanduser()
        self.plans: dict[str, Checked] = {}
        self.jobs: dict[str, local.Job] = {}
        self.over: set[str] = set()
        """Names of errors that are of another configuration: that run has not failed."""

    def run(self) -> int:
        """Everything that is known to be run; then what that decides, until nothing is left."""
        ended: set[str] = set()
        while True:
            cells = self.cells()
            self._check(cells)
            states = {cell.name: self._state(cell) for cell in cells}
            if self.options.dry_run:
                self._show(cells, states)
                return 0
            self._record()
            retry = {name for name, state in states.items() if state.status is Status.FAILED and self.options.retry}
            retry |= self.over
            left = [
                self.jobs[cell.name]
                for cell in cells
                if cell.name not in ended
                and states[cell.name].status is not Status.DONE
                and (states[cell.name].status is not Status.FAILED or cell.name in retry)
            ]
            # A seed of every arm before the next seed: what is there at any time is paired.
            turn = {seed: at for at, seed in enumerate(dict.fromkeys(cell.seed for cell in cells))}
            left.sort(key=lambda job: turn[job.cell.seed])
            workers, places = self._places(job.cell for job in left)
            progress = Progress(cells, states, self.runs, workers)
            if not left:
                return self._end(progress, bool(ended))
            if self.options.launcher == "slurm":
                return slurm.submit(left, self.grid, self.runs, self._resources(), self.options.workers, bool(retry))
            if not ended:
                print(progress.summary(), flush=True)
            stopped = local.run(left, self.runs, places, progress, retry, wait=not self.options.only)
            if stopped:
                again = f"what was running goes on from its last checkpoint: {self._again()}"
                if stopped == signal.SIGUSR1 and slurm.requeue():
                    again = "requeued; what was running then goes on from its last checkpoint"
                print(f"stopped; {again}", flush=True)
                return 128 + stopped
            ended |= {job.cell.name for job in left}

    def cells(self) -> list[Cell]:
        """All that can be known of by now, tuning first."""
        grid, keep = self.grid, not self.options.dry_run
        tuning = of.tuning(grid)
        chosen = decisions.tuned(grid, tuning, self.runs, keep)
        named = of.named(grid, chosen)
        self.costs = decisions.costs(grid, named, self.runs, keep)
        budgets = {}
        for (task, method), cost in self.costs.items():
            plain = next((cell for cell in named if (cell.task, cell.method) == (task, PLAIN)), None)
            if cost > 1 and plain is not None:
                trainer = self._plan(plain).resolved["trainer"]
                budgets[task, method] = of.budget(cost, trainer["max_epochs"], trainer["max_steps"])
        found = [*tuning, *named, *of.matched(grid, chosen, budgets)]
        self.pending = len(grid.tasks) * (len(grid.methods) if grid.tune else 0) - len(chosen)
        self.pending += len(grid.tasks) * len(grid.match_compute) - len(self.costs)
        return self._only(found)

    def _only(self, cells: list[Cell]) -> list[Cell]:
        names = {cell.name: cell for cell in cells}
        for name in self.options.only:
            if name not in names:
                wait = (
                    " (tuned and matched runs are known once those that decide them are done)" if self.pending else ""
                )
                raise UsageError(f"--only: {unknown(f'no run{wait}', name, list(names))}")
        return [names[name] for name in self.options.only] or cells

    def _plan(self, cell: Cell) -> Checked:
        if cell.name not in self.plans:
            self.plans[cell.name] = check(cell)
        return self.plans[cell.name]

    def _check(self, cells: Iterable[Cell]) -> None:
        """Parse the cells that are new; refuse a folder with another run in it."""
        for cell in sorted(cells, key=lambda cell: (cell.task, cell.seed.split)):  # those with the same data in a row
            if cell.name in self.jobs:
                continue
            plan = self._plan(cell)
            job = local.Job(cell, plan.identity(), plan.stage_folder)
            folder = cell.folder(self.runs)
            result = load(folder / "result.json")
            if result or (folder / LAST).is_file():
                held = (result or load(folder / "cell.json")).get("identity", job.identity)
                if held != job.identity:
                    raise UsageError(_another(cell, folder, plan, "a finished run" if result else "a cut-off run"))
            elif load(folder / "error.json").get("identity", job.identity) != job.identity:
                self.over.add(cell.name)
            self.jobs[cell.name] = job

    def _state(self, cell: Cell) -> State:
        state = read_state(cell.folder(self.runs))
        return State(Status.WAITING) if state.status is Status.FAILED and cell.name in self.over else state

    def _places(self, cells: Iterable[Cell]) -> tuple[int, list[local.Environment]]:
        """How many runs at a time, and what each of them gets."""
        trainers = [self.plans[cell.name].resolved["trainer"] for cell in cells]
        gpus = _gpus() if any(trainer["accelerator"] in ("auto", "gpu", "cuda") for trainer in trainers) else []
        each = max((_devices(trainer["devices"]) for trainer in trainers), default=1)
        workers: int = self.options.workers or max(1, len(gpus) // each if gpus else local.cores())
        return workers, list(local.places(workers, gpus, each))

    def _resources(self) -> dict[str, str]:
        """Options of sbatch: the grid's, then the command line's."""
        given = {}
        for option in self.options.slurm:
            name, equals, value = option.partition("=")
            if not equals:
                raise UsageError(f"--slurm: found {option!r}; write NAME=VALUE")
            given[name.lstrip("-")] = value
        return {**self.grid.slurm, **given}

    def _record(self) -> None:
        """Keep what is compared, and with what; the primary family is fixed once its first run is done."""
        path, grid = self.runs / RECORD, self.grid
        primary = [list(pair) for pair in grid.primary]
        before = load(path)
        if before.get("primary") and primary != before["primary"] and any(self.runs.glob("*/*/*/result.json")):
            raise UsageError(
                f"primary was fixed as {before['primary']} before the first run in {self.runs} was done; "
                "keep it, or give another folder with --runs"
            )
        record: dict[str, Any] = {
            "tasks": list(grid.tasks),
            "methods": {name: list(settings) for name, settings in grid.methods.items()},
            "seeds": [seed._asdict() for seed in grid.seeds],
            "primary": primary,
            "comparisons": list(of.comparisons(grid, self.costs)),
        }
        if record != before:
            store(path, record)

    def _show(self, cells: Sequence[Cell], states: dict[str, State]) -> None:
        """For --dry-run: the cells, and the time that they may take."""
        for cell in cells:
            state = states[cell.name]
            print(f"{state.status:<8} {cell.name}{'  ' if state.line else ''}{state.line}")
        counts = Counter(state.status for state in states.values())
        workers, _ = self._places(cells)
        print(f"\n{len(cells)} runs: " + ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
        if self.pending:
            print(f"and those of {self.pending} arms that these decide")
        print(f"time left with {workers} at a time: {spoken(estimate(cells, states, self.runs, workers))}")

    def _end(self, progress: Progress, drawn: bool) -> int:
        """The last words, below the table if there is one already."""
        if progress.live and not drawn:
            progress.draw()
        else:
            print(progress.summary())
        failed = [(name, state) for name, state in progress.states.items() if state.status is Status.FAILED]
        for name, state in failed:
            print(f"failed   {name}: {state.line} (see {self.runs / name / 'log.txt'})")
        if failed:
            print(f"to run them again: {self._again('--retry')}")
        if self.pending and not self.options.only:
            print(f"{self.pending} tuned or matched arms wait for runs that are not done")
        return 1 if failed else 0

    def _again(self, *more: str) -> str:
        return shlex.join(
            ["ftreg", "bench", *self.arguments, *(option for option in more if option not in self.arguments)]
        )


def _another(cell: Cell, folder: Path, plan: Checked, what: str) -> str:
    """The complaint about a folder with another configuration's run."""
    config = folder / "config.yaml"
    before = yaml.safe_load(config.read_text(encoding="utf-8")) if config.is_file() else {}
    found = difference(before, plan.resolved) if before else ""
    found = found or "the same options, but other data, another backbone or stage, or an earlier version"
    return (
        f"{cell.name}: {folder} holds {what} of another configuration ({found}); change it back, or give another --runs"
    )


def _gpus() -> list[str]:
    """Names of the GPUs that this process may use."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]
    return [name for name in names if name] if torch.cuda.is_available() else []


def _devices(option: Any) -> int:
    """How many devices `trainer.devices` asks for; one where that depends on the machine."""
    if isinstance(option, list):
        return len(option)
    return int(option) if str(option).isdigit() and int(option) > 0 else 1
