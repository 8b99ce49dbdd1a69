"""Runs are read from folders and CSV files together, each once and in order."""

from collections.abc import Sequence
from pathlib import Path

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg._base.names import unknown
from ftreg.report import files, folders
from ftreg.report.loaded_runs import Choice, LoadedRuns
from ftreg.report.model import Run


def read_runs(paths: Sequence[Path], choice: Choice | None = None) -> LoadedRuns:
    """Read all runs of the paths together.

    Args:
        paths: a CSV file, a run's folder, or a folder with runs below it.

    Raises:
        UsageError: no such path, no runs, a malformed record or line, or a run that is there twice.
    """
    choice = choice or Choice()
    found = LoadedRuns()
    tables: list[Path] = []
    for path in paths:
        if not path.is_dir() and not ordinary(path, most=None).exists():
            raise UsageError(f"{path}: no such file or folder; give a folder of runs, or a CSV file of scores")
        if path.is_dir() or path.suffix == ".json":
            folders.read_folder(path if path.is_dir() else path.parent, choice, found)
        else:
            tables.append(path)
    files.read_csv(tables, choice, found)
    if not found.runs:
        states = ", ".join(f"{len(names)} {what}" for what, names in found.missing.items())
        raise UsageError(
            f"{', '.join(map(str, paths))}: no run with a score{f' ({states})' * bool(states)}; a run that has ended "
            f"has a result.json, and scores of other programs are read from CSV files"
        )
    found.runs = _unique(found.runs)
    _names(found.runs, choice)
    return found


def _names(runs: Sequence[Run], choice: Choice) -> None:
    """Refuse a task with two names, and a choice among metrics of which no run has any."""
    tasks: dict[str, Run] = {}
    for run in runs:
        other = tasks.setdefault(run.task.casefold(), run)
        if other.task != run.task:
            raise UsageError(f"{run.place}: task {run.task} is called {other.task} in {other.place}; give it one name")
    has = dict.fromkeys(
        metric for run in runs for each in run.scores.values() for metrics in each.values() for metric in metrics
    )
    if choice.metrics and choice.wanted(has) is None:
        raise UsageError(unknown("--metric: no run has", choice.metrics[0], list(has)))


def by_seed(seed: str) -> tuple[tuple[int, ...], str]:
    """Return a key that sorts seeds as numbers: 2 before 10, and 0-2-0 before 0-10-0."""
    parts = seed.split("-")
    return (tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else (), seed)


def _unique(runs: Sequence[Run]) -> list[Run]:
    """Sort runs by task and method as they first occur, then by seed; the same place twice is one run."""
    seen: dict[tuple[str, str, str], Run] = {}
    for run in runs:
        key = run.task, run.method, run.seed
        if key in seen and seen[key].place != run.place:
            raise UsageError(
                f"{run.place}: task {run.task}, method {run.method}, seed {run.seed} is in {seen[key].place} too; "
                f"leave one out, or tell them apart by folders task/method/seed"
            )
        seen[key] = run
    task_at = {name: place for place, name in enumerate(dict.fromkeys(run.task for run in runs))}
    method_at = {name: place for place, name in enumerate(dict.fromkeys(run.method for run in runs))}
    return sorted(seen.values(), key=lambda run: (task_at[run.task], method_at[run.method], by_seed(run.seed)))
