"""One call of `ftreg bench` reads what it knows from the folders, each time anew."""

import argparse
import os
import shlex
import signal
import sys
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftreg._base import yaml_text
from ftreg._base.durations import in_words
from ftreg._base.errors import UsageError
from ftreg._base.json_files import write_json
from ftreg._base.names import unknown
from ftreg.bench import cells as of
from ftreg.bench import decisions, local, slurm
from ftreg.bench.cells import Cell
from ftreg.bench.grid import PLAIN, Grid
from ftreg.bench.plans import Checked, checked_plan, difference
from ftreg.bench.progress import Progress, estimate
from ftreg.bench.state import State, Status, diverged, read_state
from ftreg.run.places import CELL, CONFIG, ERROR, GRID, RESULT, resumable
from ftreg.run.records import read_record
from ftreg.run.result import Outcome


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
        self.warned: set[str] = set()

    def run(self) -> int:
        """Run everything that is known to be run; then what that decides, until nothing is left."""
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
        """Return all cells that can be known of by now, tuning first."""
        grid, keep = self.grid, not self.options.dry_run
        tuning = of.tuning(grid)
        chosen = decisions.tuned(grid, tuning, self.runs, self._diverged, keep)
        named = of.named(grid, chosen)
        costs = decisions.costs(grid, named, self.runs, self._diverged, keep)
        budgets, self.matched_by_plain = {}, set[of.ArmKey]()
        first = {(cell.task, cell.method): cell for cell in reversed(named)}
        for (task, method), cost in costs.items():
            if {(task, PLAIN), (task, method)} <= first.keys():
                plain, own = (self._length(first[task, name]) for name in (PLAIN, method))
                if cost > 1 or own != plain:
                    budgets[task, method] = of.budget(cost, *own)
                else:
                    self.matched_by_plain.add((task, method))
        found = [*tuning, *named, *of.matched(grid, chosen, budgets)]
        self.pending = len(grid.tasks) * (len(grid.methods) if grid.tune else 0) - len(chosen)
        self.pending += len(grid.tasks) * len(grid.match_compute) - len(costs)
        return self._only(found)

    def _length(self, cell: Cell) -> tuple[int | None, int]:
        """Return how long a cell trains: epochs and steps, as the trainer's options say it."""
        trainer = self._plan(cell).resolved["trainer"]
        return trainer["max_epochs"], trainer["max_steps"]

    def _diverged(self, cell: Cell) -> bool:
        """Return whether the cell's run diverged, with the options that it has now."""
        error = read_record(cell.folder(self.runs) / ERROR)
        return diverged(error) and error.get("identity") in (None, self._plan(cell).identity())

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
            self.plans[cell.name] = checked_plan(cell)
        return self.plans[cell.name]

    def _check(self, cells: Iterable[Cell]) -> None:
        """Parse the cells that are new; refuse a folder with another run in it, now and whenever a bench left one."""
        for cell in sorted(cells, key=lambda cell: (cell.task, cell.seed.split)):  # those with the same data in a row
            plan, folder = self._plan(cell), cell.folder(self.runs)
            if cell.name not in self.jobs:
                if cell.setting is not None and "selection" not in plan.datamodule.evaluation_splits:
                    raise UsageError(f"{cell.name}: tune: there is no selection split; give protocol: holdout")
                self._compare_evaluations(cell, plan)
                self.jobs[cell.name] = local.Job(cell, plan.identity(), plan.stage_folder)
            own = self.jobs[cell.name].identity
            outcome = Outcome.read(folder / RESULT)
            if outcome is not None or (resumable(folder) and not (folder / ERROR).is_file()):
                held = outcome.identity if outcome else read_record(folder / CELL).get("identity")
                if held not in (own, None):
                    raise UsageError(_another(cell, folder, plan, "a finished run" if outcome else "a cut-off run"))

    def _compare_evaluations(self, cell: Cell, plan: Checked) -> None:
        interval = plan.resolved["trainer"]["val_check_interval"]
        method = cell.method.removeprefix(f"{PLAIN}@")
        if method != cell.method and interval is not None and method not in self.warned:
            self.warned.add(method)
            print(
                f"ftreg: warning: with trainer.val_check_interval={interval}, {cell.method} is evaluated more often "
                f"than {method}, and chooses among more checkpoints; without it every run is evaluated ten times",
                file=sys.stderr,
            )

    def _state(self, cell: Cell) -> State:
        """Return what a cell's folder says; the error of another configuration is not its own."""
        state, own = read_state(cell.folder(self.runs)), self.jobs[cell.name].identity
        if state.status is Status.FAILED and read_record(cell.folder(self.runs) / ERROR).get("identity", own) != own:
            return State(Status.WAITING)
        return state

    def _places(self, cells: Iterable[Cell]) -> tuple[int, list[local.Environment]]:
        """Return how many runs there are at a time, and what each of them gets."""
        trainers = [self.plans[cell.name].resolved["trainer"] for cell in cells]
        gpus = _gpus() if any(trainer["accelerator"] in ("auto", "gpu", "cuda") for trainer in trainers) else []
        each = max((_devices(trainer["devices"]) for trainer in trainers), default=1)
        workers: int = self.options.workers or max(1, len(gpus) // each if gpus else local.cores())
        return workers, list(local.places(workers, gpus, each))

    def _resources(self) -> dict[str, str]:
        """Return the options of sbatch: the grid's, then the command line's."""
        given = {}
        for option in self.options.slurm:
            name, equals, value = option.partition("=")
            if not equals:
                raise UsageError(f"--slurm: found {option!r}; write NAME=VALUE")
            given[name.lstrip("-")] = value
        return {**self.grid.slurm, **given}

    def _record(self) -> None:
        """Keep what is compared, and with what; the primary family is fixed once its first run is done."""
        path, grid = self.runs / GRID, self.grid
        primary = [list(pair) for pair in grid.primary]
        before = read_record(path)
        if primary != before.get("primary", primary) and any(self.runs.glob(f"*/*/*/{RESULT}")):
            raise UsageError(
                f"primary was fixed as {before['primary'] or 'no family'} before the first run in {self.runs} was "
                "done; keep it, or give another folder with --runs"
            )
        record: dict[str, Any] = {
            "tasks": list(grid.tasks),
            "methods": {name: list(settings) for name, settings in grid.methods.items()},
            "seeds": [asdict(seed) for seed in grid.seeds],
            "primary": primary,
            "comparisons": list(of.comparisons(grid, self.matched_by_plain)),
        }
        if record != before:
            write_json(path, record)

    def _show(self, cells: Sequence[Cell], states: dict[str, State]) -> None:
        """Print, for --dry-run, the cells and the time that they may take."""
        for cell in cells:
            state = states[cell.name]
            print(f"{state.status:<8} {cell.name}{'  ' if state.line else ''}{state.line}")
        counts = Counter(state.status for state in states.values())
        workers, _ = self._places(cells)
        print(f"\n{len(cells)} runs: " + ", ".join(f"{counts[status]} {status}" for status in Status if counts[status]))
        if self.pending:
            print(f"and those of {self.pending} arms that these decide")
        print(f"time left with {workers} at a time: {in_words(estimate(cells, states, self.runs, workers))}")

    def _end(self, progress: Progress, drawn: bool) -> int:
        """Print the last words, below the table if there is one already."""
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
        left = [name for name, state in progress.states.items() if state.status in (Status.WAITING, Status.CUT_OFF)]
        if left:
            print(f"{len(left)} runs are not done, {left[0]} among them: {self._again()}")
        return 1 if failed or left else 0

    def _again(self, *more: str) -> str:
        return shlex.join(
            ["ftreg", "bench", *self.arguments, *(option for option in more if option not in self.arguments)]
        )


def _another(cell: Cell, folder: Path, plan: Checked, what: str) -> str:
    """Return the complaint about a folder with another configuration's run."""
    config = folder / CONFIG
    before = yaml_text.read_yaml(config, "take it away") if config.exists() else {}
    found = difference(before, plan.resolved) if before else ""
    found = found or "the same options, but other data, another backbone or stage, or an earlier version"
    return (
        f"{cell.name}: {folder} holds {what} of another configuration ({found}); change it back, or give another --runs"
    )


def _gpus() -> list[str]:
    """Return the names of the GPUs that this process may use."""
    import torch

    given = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = given.split(",") if given else [str(number) for number in range(torch.cuda.device_count())]
    return [name for name in names if name] if torch.cuda.is_available() else []


def _devices(option: Any) -> int:
    """Return how many devices `trainer.devices` asks for; one where that depends on the machine."""
    if isinstance(option, list):
        return len(option)
    return int(option) if str(option).isdigit() and int(option) > 0 else 1
