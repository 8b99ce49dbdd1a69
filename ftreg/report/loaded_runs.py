"""Runs are collected as they are read, and a run's score is chosen among its scores."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field

from ftreg.report.direction import REVERSED
from ftreg.report.model import Run

CHECKPOINTS = ("best", "last")


@dataclass
class LoadedRuns:
    """The runs that paths hold, with what is said of them.

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
    """The choice of a run's score among its scores.

    Args:
        checkpoint: `best` or `last`; None for the one that a record reports, and in a CSV file the last where it has
            both: the best was often chosen on the rows that it is scored on.
        metrics: the first of these that a task has, in place of its first metric.
        columns: of CSV files, by what they are: {"task": "dataset"}.
    """

    checkpoint: str | None = None
    metrics: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    def wanted(self, has: Collection[str]) -> str | None:
        """Return the first of `metrics` among those that there are; an error goes by its name without the sign too."""
        return next((name for metric in self.metrics for name in (metric, f"{REVERSED}{metric}") if name in has), None)

    def metric(self, has: Sequence[str]) -> str:
        """Return the metric of a task, of those that it has."""
        return self.wanted(has) or has[0]
