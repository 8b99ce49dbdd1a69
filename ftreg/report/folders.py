"""Runs are read from folders that `ftreg fit` and `ftreg bench` have written."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftreg._base.errors import UsageError
from ftreg._base.seeds import PARTS, Seeds
from ftreg.bench.state import diverged
from ftreg.report.direction import REVERSED, upwards
from ftreg.report.loaded_runs import Choice, LoadedRuns
from ftreg.report.model import Run
from ftreg.report.verdict import counted
from ftreg.run import history
from ftreg.run.places import CELL, CONFIG, ERROR, GRID, METRICS, REPLACED, RESULT
from ftreg.run.records import read_record
from ftreg.run.result import MethodRecord, RunResult, as_plain
from ftreg.run.wording import methods_in_words

FILES = (RESULT, ERROR, CONFIG, CELL)
"""Any of them makes a folder a run's."""
STAGES, TUNE, WANDB = "stages", "tune", "wandb"


def read_folder(path: Path, choice: Choice, found: LoadedRuns) -> None:
    """Add the runs in or below a folder, and the declared families of their grids.

    Runs that tuned a method and stages that others start from are left out: they are no runs of a comparison.

    Raises:
        UsageError: a record that cannot be read.
    """
    left: dict[str, int] = {}
    grids: dict[Path, Mapping[str, Any]] = {}
    lost: list[Path] = []
    for folder in _folders(path):
        root = _grid(folder)
        what = _outside(folder, root, path)
        if what:
            left[what] = left.get(what, 0) + 1
            continue
        if root is not None and root not in grids:
            grids[root] = read_record(root / GRID)
        if (folder / RESULT).is_file():
            run = _run(folder, root, choice)
            if run is None:
                what = "without labels to learn, and so without a score"
                left[what] = left.get(what, 0) + 1
            else:
                found.runs.append(run)
        elif diverged(read_record(folder / ERROR)):
            lost.append(folder)
        else:
            state = "failed" if (folder / ERROR).is_file() else "not finished"
            _miss(found, state, "/".join(folder.parts[-3:]) if _laid_out(folder, root) else str(folder))
    for folder in lost:
        _diverged(folder, found)
    for root, grid in grids.items():
        _declared(root, grid, found)
    found.notes += [f"Left out below {path}: {counted(number, 'run')} {what}" for what, number in left.items()]


def _diverged(folder: Path, found: LoadedRuns) -> None:
    """Add a run that was stopped because its loss was no longer finite: it is one of its arm's, without a score."""
    task, method, seed = folder.resolve().parts[-3:]
    other = next((run for run in found.runs if run.task == task and run.record), None)
    if other is None:
        _miss(found, "diverged, on a task that no run has a score of,", f"{task}/{method}/{seed}")
        return
    found.runs.append(
        Run(
            task,
            method,
            seed,
            metric=other.metric,
            checkpoint=other.checkpoint,
            score=math.nan,
            majority=other.majority,
            failed=True,
            curve=_curve(folder / METRICS, _split(other.record), other.metric),
            place=str(folder),
        )
    )


def _miss(found: LoadedRuns, state: str, name: str) -> None:
    names = found.missing.setdefault(state, [])
    if name not in names:
        names.append(name)


def _folders(path: Path) -> list[Path]:
    """Return the folders of runs: those that have ended, and those that were begun."""
    return sorted(
        {file.parent for name in FILES for file in path.rglob(name) if WANDB not in file.relative_to(path).parts}
    )


def _grid(folder: Path) -> Path | None:
    """Return the folder of a run's grid: RUNS for RUNS/task/method/seed and RUNS/tune/task/method.0/seed."""
    above = [place for place in folder.resolve().parents[2:4] if (place / GRID).is_file()]
    return above[0] if above else None


def _outside(folder: Path, root: Path | None, path: Path) -> str:
    """Return why a run below a path is not one of a comparison; nothing if it is one."""
    if any(REPLACED in part for part in folder.relative_to(path).parts):
        return "that another has replaced"
    place = folder.resolve()
    if place.parent.name == STAGES:
        return "of a first stage"
    if root is not None and place.relative_to(root).parts[0] == TUNE:
        return "of tuning"
    return ""


def _laid_out(folder: Path, root: Path | None) -> bool:
    return root is not None or (folder / CELL).is_file()


def _run(folder: Path, root: Path | None, choice: Choice) -> Run | None:
    """Read the run in a folder; None if it has no score because it learns no labels.

    In the layout of `ftreg bench` the folders name task and method: the task of a record is that of the data, of
    which a grid may have several variants.
    """
    path, place = folder / RESULT, folder.resolve()
    record = RunResult.read(path)
    result = upwards(record) if record else None
    if result is None or result.reported is None:
        return None
    reported = result.reported
    try:
        scores = {
            split: {
                checkpoint: {metric: _value(value) for metric, value in metrics.items()}
                for checkpoint, metrics in by_checkpoint.items()
            }
            for split, by_checkpoint in result.scores.items()
        }
        seed = str(result.seeds)
        split, checkpoint = reported.split, choice.checkpoint or reported.checkpoint
        has = [reported.metric, *(m for m in scores[split][checkpoint] if m != reported.metric)]
        metric = choice.metric(has)
        majority = result.majority[split][metric]
        above = place.parent.parent.name
        named = _laid_out(folder, root) or (above == result.task and place.name == seed)
        return Run(
            task=above if named else result.task,
            method=place.parent.name if named else _named_by_methods([*result.methods, *result.callbacks]),
            seed=place.name if named else seed,
            metric=metric,
            checkpoint=checkpoint,
            score=scores[split][checkpoint][metric],
            scores=scores,
            # A correlation is undefined for the majority classifier: no better than that is 0 or less.
            majority=0.0 if majority is None else float(majority),
            failed=_failed(result, scores[split], metric),
            cost=as_plain(result.cost),
            curve=_curve(folder / METRICS, split, metric),
            place=str(folder),
            record=result,
        )
    except UsageError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError) as error:
        raise UsageError(f"{path}: not the record of a run ({error} is missing or malformed); run it again") from None


def _failed(result: RunResult, scores: Mapping[str, Mapping[str, float]], metric: str) -> bool:
    """Return whether the last checkpoint is no better than the majority; a record knows the reported metric's."""
    if result.reported and metric == result.reported.metric:
        return result.failed
    return not scores["last"][metric] > (result.majority[_split(result)][metric] or 0.0)


def _split(result: RunResult | None) -> str:
    """Return the split that a run is reported on."""
    return result.reported.split if result and result.reported else ""


def _begun(folder: Path) -> bool:
    return any((folder / name).is_file() for name in FILES)


def _value(value: float | None) -> float:
    return math.nan if value is None else float(value)


def _named_by_methods(methods: list[MethodRecord]) -> str:
    if methods:
        import ftreg.methods  # noqa: F401  options at their defaults are left out of the names of known methods
    return methods_in_words(methods)


def _curve(path: Path, split: str, metric: str) -> tuple[tuple[int, float], ...]:
    """Return (step, score) of the split that was watched: the selection split if there is one."""
    content = history.read_history(path)
    rows = [dict(zip(content.columns, cells, strict=True)) for cells in content.rows]
    sign = -1.0 if metric.startswith(REVERSED) else 1.0
    columns = [f"{watched}/{metric.removeprefix(REVERSED)}" for watched in ("selection", split)]
    column = next((column for column in columns if any(row.get(column) for row in rows)), "")
    points: dict[int, float] = {}
    for row in rows:
        text = row.get(column)
        if text:
            try:
                points[int(row[history.STEP])] = sign * float(text)  # again, in files of earlier versions
            except ValueError:
                raise UsageError(f"{path}: step {row[history.STEP]}: {column} is {text[:40]!r}, no number") from None
    return tuple(points.items())


def _declared(root: Path, grid: Mapping[str, Any], found: LoadedRuns) -> None:
    """Add the primary family of a grid, and its runs that were never begun."""
    family = [(c["task"], c["method"], c["baseline"]) for c in grid["comparisons"]]
    seeds = [str(Seeds(*(seed[name] for name in PARTS))) for seed in grid["seeds"]]
    names = [f"{task}/{method}/{seed}" for task in grid["tasks"] for method in grid["methods"] for seed in seeds]
    found.primary += [one for one in family if one not in found.primary]
    known = {f"{run.task}/{run.method}/{run.seed}" for run in found.runs}
    known.update(name for several in found.missing.values() for name in several)
    # Other tasks and methods of the grid may lie outside the paths that were given.
    waiting = [name for name in names if name not in known and not _begun(root / name)]
    if waiting:
        found.missing.setdefault("not begun", []).extend(waiting)
