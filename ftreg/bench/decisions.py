"""Runs decide about other runs: each method's tuned setting, and what its steps cost."""

import statistics
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ftreg._base.errors import UsageError
from ftreg._base.json_files import write_json
from ftreg.bench.cells import ArmKey, Cell
from ftreg.bench.grid import PLAIN, Grid
from ftreg.run.places import RESULT
from ftreg.run.records import read_record
from ftreg.run.result import Outcome

TUNED_FILE, MATCHED_FILE = "tuned.json", "matched.json"


def tuned(
    grid: Grid, cells: list[Cell], runs: Path, lost: Callable[[Cell], bool], keep: bool = True
) -> dict[ArmKey, int]:
    """Return the setting of every (task, method) whose tuning runs are there, by the best mean on the selection split.

    The first of equals wins; a setting with a diverged run has no score. Nothing but `scores.selection.best` is read.

    Args:
        cells: of `tuning(grid)`.
        lost: whether the run of a cell diverged: a setting that does so is out, whereas other failures want mending.
        keep: write them, with all scores, to `tuned.json`.

    Raises:
        UsageError: all settings of a method diverge.
    """
    if grid.tune is None:
        return {}
    scores: dict[ArmKey, dict[int, dict[str, float | None]]] = defaultdict(lambda: defaultdict(dict))
    waiting, errors = set(), set()
    for cell in cells:
        arm, folder = (cell.task, cell.method), cell.folder(runs)
        outcome = Outcome.read(folder / RESULT)
        if outcome is None and not lost(cell):
            waiting.add(arm)
            continue
        # The reported metric is the task's first; its value on dev is not looked at.
        scores[arm][cell.setting or 0][str(cell.seed)] = None if outcome is None else _selected(outcome, folder)
        if outcome is not None and outcome.reported and outcome.reported.metric in outcome.less_is_better:
            errors.add(arm)
    chosen: dict[ArmKey, int] = {}
    record: dict[str, dict[str, Any]] = defaultdict(dict)
    for arm, settings in scores.items():
        if arm in waiting:
            continue
        means = {
            number: statistics.fmean(value for value in values.values() if value is not None)
            for number, values in settings.items()
            if None not in values.values()
        }
        if not means:
            raise UsageError(f"tune: every setting of {arm[1]} diverges on {arm[0]}; give other settings")
        chosen[arm] = (min if arm in errors else max)(means, key=lambda number: means[number])
        record[arm[0]][arm[1]] = {
            "chosen": chosen[arm],
            "settings": [
                {"arguments": list(grid.tune.settings[arm[1]][number]), "mean": means.get(number), "scores": values}
                for number, values in settings.items()
            ],
        }
    if keep:
        _keep(runs / TUNED_FILE, record)
    return chosen


def _selected(outcome: Outcome, folder: Path) -> float | None:
    metric = outcome.reported.metric if outcome.reported else ""
    by_metric = outcome.scores.get("selection", {}).get("best", {})
    if metric not in by_metric:
        raise UsageError(f"{folder / RESULT}: has no score on the selection split; run it again")
    return by_metric[metric]


def costs(
    grid: Grid, cells: list[Cell], runs: Path, lost: Callable[[Cell], bool], keep: bool = True
) -> dict[ArmKey, float]:
    """Return what a step costs in plain's, by (task, method): as declared, or as measured once and kept.

    Args:
        cells: of `named(grid, …)`; an arm with a run that is not there has no measured cost yet.
        lost: whether the run of a cell diverged: it is not waited for.
        keep: write what is measured to `matched.json`.
    """
    measured = read_record(runs / MATCHED_FILE)
    found: dict[ArmKey, float] = {}
    for task in grid.tasks:
        for method, declared in grid.match_compute.items():
            if declared is not None:
                found[task, method] = declared
                continue
            if method not in measured.get(task, {}):
                seconds = {name: _step_seconds(task, name, cells, runs, lost) for name in (PLAIN, method)}
                if None in seconds.values() or not seconds[PLAIN]:
                    continue
                cost = round((seconds[method] or 0.0) / (seconds[PLAIN] or 1.0), 1)
                measured.setdefault(task, {})[method] = {"cost": cost, "seconds_per_step": seconds}
            found[task, method] = measured[task][method]["cost"]
    if keep:
        _keep(runs / MATCHED_FILE, measured)
    return found


def _step_seconds(task: str, method: str, cells: list[Cell], runs: Path, lost: Callable[[Cell], bool]) -> float | None:
    """Return the median over an arm's runs that did not diverge; None if one is not there."""
    arm = [cell for cell in cells if (cell.task, cell.method) == (task, method)]
    outcomes = [Outcome.read(cell.folder(runs) / RESULT) for cell in arm if not lost(cell)]
    costs = [outcome.cost for outcome in outcomes if outcome is not None]
    if not costs or len(costs) < len(outcomes):
        return None
    return statistics.median(cost.seconds / max(cost.steps, 1) for cost in costs)


def _keep(path: Path, record: Mapping[str, Any]) -> None:
    if record and record != read_record(path):
        write_json(path, record)
