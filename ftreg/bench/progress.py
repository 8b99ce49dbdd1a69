"""A live table, or a line a change, shows what is done, running and failed, and how long the rest may take."""

import sys
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from ftreg._base.durations import in_words
from ftreg.bench.cells import Cell
from ftreg.bench.state import State, Status
from ftreg.run.places import CELL
from ftreg.run.records import read_record

OVER = (Status.DONE, Status.FAILED)
"""The states of runs that the same command does not start again."""


def arm(cell: Cell) -> str:
    """Return what the cells that differ in their seeds share."""
    return cell.name.rpartition("/")[0]


def estimate(cells: Iterable[Cell], states: Mapping[str, State], runs: Path, workers: int) -> float | None:
    """Return the seconds that cells which are not over will take, by finished runs; None if none has finished.

    A cell counts as the mean of its arm's, else of its task's, else of all finished runs.
    """
    taken: dict[str, list[float]] = defaultdict(list)
    left: list[Cell] = []
    for cell in cells:
        state = states[cell.name]
        if state.status not in OVER:
            left.append(cell)
        elif state.status is Status.DONE and (seconds := read_record(cell.folder(runs) / CELL).get("seconds")):
            for key in (arm(cell), cell.task, ""):
                taken[key].append(seconds)
    if not taken:
        return None
    means = {key: sum(values) / len(values) for key, values in taken.items()}
    total = sum(means.get(arm(cell), means.get(cell.task, means[""])) for cell in left)
    return total / max(1, min(workers, len(left)))


class Progress:
    """Shows every change that it is told of on standard output.

    Args:
        cells: all of them.
        states: by name, at the start.
        runs: the folder of all runs.
        workers: runs at a time.
    """

    def __init__(self, cells: Sequence[Cell], states: Mapping[str, State], runs: Path, workers: int) -> None:
        self.cells, self.states, self.runs, self.workers = cells, dict(states), runs, workers
        self.live = sys.stdout.isatty()
        self.since = time.monotonic()
        self.finished = 0
        self._drawn = 0

    def __call__(self, cell: Cell, state: State) -> None:
        """Show a change; the same again is none."""
        if self.states[cell.name] == state:
            return
        self.states[cell.name] = state
        self.finished += state.status is Status.DONE
        counts = Counter(state.status for state in self.states.values())
        done = f"{counts[Status.DONE]}/{len(self.cells)}"
        line = f"{state.status:<8} {cell.name}{'  ' if state.line else ''}{state.line}"
        if not self.live:
            print(f"{time.strftime('%H:%M:%S')} {done} {line}", flush=True)
            return
        if state.status is Status.FAILED:
            self.clear()
            print(line)
        self.draw()

    def draw(self) -> None:
        """Draw the table in place of the one before."""
        self.clear()
        lines = [*self._table(), self.summary()]
        self._drawn = len(lines)
        print("\n".join(lines), flush=True)

    def clear(self) -> None:
        """Take the table away."""
        if self._drawn:
            print(f"\x1b[{self._drawn}F\x1b[J", end="")
        self._drawn = 0

    def summary(self) -> str:
        """Return `7 done · 2 running · 3 waiting · 41 runs/h · 4 min left`."""
        counts = Counter(state.status for state in self.states.values())
        parts = [f"{counts[status]} {status}" for status in Status if counts[status]]
        if self.finished:
            parts.append(f"{3600 * self.finished / (time.monotonic() - self.since):.3g} runs/h")
        if any(state.status not in OVER for state in self.states.values()):
            left = estimate(self.cells, self.states, self.runs, self.workers)
            parts.append("time left: " + in_words(left) if left is None else f"{in_words(left)} left")
        return " · ".join(parts)

    def _table(self) -> list[str]:
        """Return a row a method, a column a task: done of all, and what runs or failed."""
        tasks = list(dict.fromkeys(cell.task for cell in self.cells))
        rows: dict[str, dict[str, list[Status]]] = defaultdict(lambda: defaultdict(list))
        for cell in self.cells:
            rows[f"{'tune ' if cell.setting is not None else ''}{cell.method}"][cell.task].append(
                self.states[cell.name].status
            )
        width = max(len(name) for name in rows)
        lines = [f"{'':<{width}}" + "".join(f"  {task:>16}" for task in tasks)]
        for name, by_task in rows.items():
            lines.append(f"{name:<{width}}" + "".join(f"  {_counted(by_task[task]):>16}" for task in tasks))
        return lines


def _counted(statuses: Sequence[Status]) -> str:
    """Return `3/5 1 running`."""
    counts = Counter(statuses)
    others = [f"{counts[status]} {status}" for status in (Status.RUNNING, Status.FAILED) if counts[status]]
    return " ".join([f"{counts[Status.DONE]}/{len(statuses)}", *others])
