"""A report is made of runs, their summaries, and comparisons of a method with a baseline."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from ftreg.report.statistics import Interval, Summary
from ftreg.run.result import RunResult

MATCHED_PREFIX = "plain@"
"""What stands before a method's name in that of plain at the method's compute."""


@dataclass(frozen=True)
class Run:
    """One run's score, as it is reported.

    Args:
        task, method: its cell.
        seed: what it is paired by: one number, or init, order and split as `0-0-0`.
        metric: of the score: the task's first.
        checkpoint: the score is of: `best` or `last`.
        score: NaN where the run diverged.
        scores: every metric by split and checkpoint, where they are known: {split: {checkpoint: {metric: value}}}.
        majority: the majority classifier's score; None where it is not known.
        failed: whether it ended no better than that; None where that is not known.
        cost: steps, seconds, tokens and peak_memory_bytes; empty where they are not known.
        curve: (step, score) of the evaluations during training.
        place: the run's folder, or the file and row that it was read from.
        record: the whole of `result.json`; None for a CSV row.
    """

    task: str
    method: str
    seed: str
    metric: str
    checkpoint: str
    score: float
    scores: Mapping[str, Mapping[str, Mapping[str, float]]] = field(default_factory=dict)
    majority: float | None = None
    failed: bool | None = None
    cost: Mapping[str, float] = field(default_factory=dict)
    curve: tuple[tuple[int, float], ...] = ()
    place: str = ""
    record: RunResult | None = None


@dataclass(frozen=True)
class Arm:
    """The runs of one method on one task, over seeds."""

    task: str
    method: str
    metric: str
    runs: tuple[Run, ...]
    summary: Summary
    expected: tuple[float, ...]
    """The expected maximum of 1, 2, … of these runs."""


@dataclass(frozen=True)
class Comparison:
    """A method against a baseline on one task, paired by seed.

    Args:
        pairs: seeds that both have a finite score for.
        missing: seeds that only one of them has, or that diverged in one.
        enough: whether so many pairs can be significant in their family at all.
        difference: the mean of the paired differences, with a bootstrap interval over the pairs.
        p: of the exact sign-flip test; `p_wilcoxon` beside it; `p_variance` of Levene's test.
        adjusted: p after Holm's correction over its family.
        primary: whether it was declared before: the others are exploratory, a family of their own.
        epsilon: ε_min of almost stochastic order: below 0.5 the method almost dominates the baseline.
        cost_ratio: the method's training seconds over the baseline's, per run; None where unknown.
        items: the difference with an interval over seeds × items, where predictions were saved.
        warnings: what the reader has to know, in plain sentences; less those of the whole report.
        verdict: one sentence.
    """

    task: str
    method: str
    baseline: str
    metric: str
    pairs: int
    missing: tuple[str, ...]
    enough: bool
    difference: Interval
    p: float
    p_wilcoxon: float
    p_variance: float
    adjusted: float
    primary: bool
    epsilon: float
    cost_ratio: float | None
    items: Interval | None
    warnings: tuple[str, ...]
    verdict: str


@dataclass(frozen=True)
class Report:
    """Everything that tables, figures and the page show."""

    title: str
    sources: tuple[str, ...]
    baseline: str
    alpha: float
    runs: tuple[Run, ...]
    arms: tuple[Arm, ...]
    comparisons: tuple[Comparison, ...]
    averages: Mapping[str, Interval]
    """Each method's mean over the tasks that all methods have, with a stratified bootstrap interval."""
    averaged: tuple[str, ...]
    """The tasks in that mean."""
    variances: Mapping[tuple[str, str], Mapping[str, float]]
    """The shares of init and order seed, and the rest, by task and method, where seeds are crossed."""
    warnings: tuple[str, ...]
    """Warnings on every comparison of a family, told once."""
    notes: tuple[str, ...]
    """What was left out or counted, and how."""
