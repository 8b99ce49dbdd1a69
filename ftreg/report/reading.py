"""Runs from folders and CSV files, with what is known beside them: the primary family, and what was left out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftreg.errors import UsageError
from ftreg.report.model import Run

CHECKPOINTS = ("best", "last")


@dataclass
class Found:
    """What paths hold.

    Attributes:
        runs: by task, method and seed, in that order; each once.
        primary: (task, method, baseline) of the family that was declared before the runs, in `grid.json`.
        missing: runs of a grid that have no score, by what is the matter with them: `task/method/seed`.
        notes: what was left out, and how it was read.
    """

    runs: list[Run] = field(default_factory=list)
    primary: list[tuple[str, str, str]] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Choice:
    """Which of a run's scores is its score.

    Args:
        checkpoint: `best` or `last`; None for the one that a record reports, and in a CSV file the last where it has
            both: the best was often chosen on the rows that it is scored on.
        metrics: the first of these that a task has, in place of its first metric.
        columns: of CSV files, by what they are: {"task": "dataset"}.
    """

    checkpoint: str | None = None
    metrics: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def metric(self, has: Sequence[str]) -> str:
        """The metric of a task, of those that it has."""
        return next((metric for metric in self.metrics if metric in has), has[0])


def read(paths: Sequence[Path], choice: Choice | None = None) -> Found:
    """All runs of the paths together.

    Args:
        paths: a CSV file, a run's folder, or a folder with runs below it.

    Raises:
        UsageError: no such path, no runs, a malformed record or line, or a run that is there twice.
    """
    from ftreg.report import files, folders

    choice = choice or Choice()
    found = Found()
    tables: list[Path] = []
    for path in paths:
        if not path.exists():
            raise UsageError(f"{path}: no such file or folder; give a folder of runs, or a CSV file of scores")
        if path.is_file() and path.suffix != ".json":
            tables.append(path)
        else:
            folders.read(path if path.is_dir() else path.parent, choice, found)
    files.read(tables, choice, found)
    if not found.runs:
        states = ", ".join(f"{len(names)} {what}" for what, names in found.missing.items())
        raise UsageError(
            f"{', '.join(map(str, paths))}: no run with a score{f' ({states})' * bool(states)}; a run that has ended "
            f"has a result.json, and scores of other programs are read from CSV files"
        )
    found.runs = _unique(found.runs)
    return found


def by_seed(seed: str) -> tuple[tuple[int, ...], str]:
    """A key that sorts seeds as numbers: 2 before 10, and 0-2-0 before 0-10-0."""
    parts = seed.split("-")
    return (tuple(map(int, parts)) if all(part.isdecimal() for part in parts) else (), seed)


def _unique(runs: Sequence[Run]) -> list[Run]:
    """Sorted by task and method as they first occur, then by seed; the same place twice is one run."""
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
