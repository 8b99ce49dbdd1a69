"""Runs become a report: summaries of the arms, the comparisons, averages over tasks, and variance components."""

import math
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace

import numpy as np

from ftreg._base.errors import UsageError
from ftreg._base.names import unknown
from ftreg.bench.grid import PLAIN
from ftreg.report.comparing import Arms, Declared, compare, finite_scores
from ftreg.report.components import variance_components
from ftreg.report.direction import REVERSED
from ftreg.report.expected import expected_maximum_unbiased
from ftreg.report.inputs import inside
from ftreg.report.loaded_runs import LoadedRuns
from ftreg.report.model import MATCHED_PREFIX, Arm, Comparison, Report, Run
from ftreg.report.reading import by_seed
from ftreg.report.statistics import Interval, glue_average, summary
from ftreg.report.verdict import counted, title
from ftreg.run.wording import notes

SELECTION = "selection"
SOME = 8
"""Names that a note lists before it only counts."""


def analyse(
    found: LoadedRuns,
    baseline: str | None = None,
    primary: Sequence[str] = (),
    alpha: float = 0.05,
    effect: float = 0.01,
    heading: str = "",
    sources: Sequence[str] = (),
) -> Report:
    """Return the report on what was read.

    Args:
        baseline: that every method is compared with; None for `plain`.
        primary: methods whose comparisons with the baseline are the primary family, in place of a grid's.
        alpha: level of each family.
        effect: the difference for which a verdict says how many pairs would show it, in the unit of the scores.
        heading: of the report; empty for one that says what is in it.
        sources: where the runs come from.

    Raises:
        UsageError: an unknown method, runs of one task with different metrics, or an effect that is not positive.
    """
    inside("alpha", alpha)
    if not 0 < effect < 1:
        raise UsageError(f"--effect is {100 * effect:g}; give points, above 0 and below 100")
    methods = list(dict.fromkeys(run.method for run in found.runs))
    baseline = _baseline(baseline, methods)
    for name in primary:
        if name not in methods or name == baseline:
            raise UsageError(unknown("--primary: no method", name, [m for m in methods if m != baseline]))
    arms = _arms(found.runs, baseline)
    family = _family(found, baseline, primary, arms)
    rest = [
        one
        for task, method in arms
        for other in dict.fromkeys((baseline, f"{MATCHED_PREFIX}{method}"))
        if method != other and (task, other) in arms and (one := Declared(task, method, other)) not in family
    ]
    declared, of_declared = _told_once(compare(family, arms, True, alpha, effect))
    further, of_further = _told_once(compare(rest, arms, False, alpha, effect))
    averages, averaged = _averages(arms, methods)
    tasks = ", ".join(title(task) for task in dict.fromkeys(run.task for run in found.runs))
    return Report(
        title=heading or f"{', '.join(methods)} on {tasks}",
        sources=tuple(sources),
        baseline=baseline,
        alpha=alpha,
        runs=tuple(found.runs),
        arms=tuple(arms.values()),
        comparisons=(*declared, *further),
        averages=averages,
        averaged=averaged,
        variances=dict(_variances(arms)),
        warnings=(*of_declared, *of_further),
        notes=(
            *_notes(found, arms, family, rest, baseline, bool(primary)),
            *_average_notes(averaged, arms),
        ),
    )


def _baseline(given: str | None, methods: Sequence[str]) -> str:
    if given is not None and given not in methods:
        raise UsageError(unknown("--baseline: no method", given, methods))
    if given is None and len(methods) > 1 and PLAIN not in methods:
        raise UsageError(f"no method is called {PLAIN!r}; say with --baseline which of them the others are compared "
                         f"with: {', '.join(methods)}")  # fmt: skip
    return given or (PLAIN if PLAIN in methods else methods[0])


def _arms(runs: Sequence[Run], baseline: str) -> Arms:
    """Group the runs by task and method, the baseline first in each task."""
    found: dict[tuple[str, str], list[Run]] = {}
    metrics: dict[str, Run] = {}
    for run in runs:
        other = metrics.setdefault(run.task, run)
        if run.metric != other.metric:
            raise UsageError(
                f"{run.place}: {run.metric} is reported for {run.task}, and {other.metric} in {other.place}; "
                f"choose with --metric"
            )
        found.setdefault((run.task, run.method), []).append(run)
    tasks = list(metrics)
    ordered = sorted(found, key=lambda key: (tasks.index(key[0]), key[1] != baseline))
    return {key: _arm(key, found[key]) for key in ordered}


def _arm(key: tuple[str, str], runs: list[Run]) -> Arm:
    of_runs = summary([run.score for run in runs])
    if all(run.failed is not None for run in runs):
        # Run by run: seeds that draw other splits have other majorities, and a record judges its last checkpoint.
        of_runs = replace(of_runs, failed=sum(bool(run.failed) for run in runs if math.isfinite(run.score)))
    arm = Arm(*key, metric=runs[0].metric, runs=tuple(runs), summary=of_runs, expected=())
    known = finite_scores(arm)
    return replace(arm, expected=tuple(expected_maximum_unbiased(known, n) for n in range(1, len(known) + 1)))


def _family(found: LoadedRuns, baseline: str, primary: Sequence[str], arms: Arms) -> list[Declared]:
    """Return what was declared: on the command line, or else in a grid."""
    if primary:
        tasks = dict.fromkeys(task for task, _ in arms)
        return [Declared(task, method, baseline) for task in tasks for method in dict.fromkeys(primary)]
    return [Declared(*one) for one in found.primary]


def _told_once(family: list[Comparison]) -> tuple[list[Comparison], list[str]]:
    """Return the comparisons without the warnings that all of them have; and those, as sentences on the family."""
    if len(family) < 2:
        return family, []
    shared = [text for text in family[0].warnings if all(text in one.warnings for one in family)]
    rest = [replace(one, warnings=tuple(text for text in one.warnings if text not in shared)) for one in family]
    which = "primary" if family[0].primary else "exploratory"
    return rest, [f"Of every {which} comparison: {text}" for text in shared]


def _averages(arms: Arms, methods: Sequence[str]) -> tuple[dict[str, Interval], tuple[str, ...]]:
    """Average each method over the tasks that every method has a finite score on; nothing for fewer than two tasks."""
    tasks = dict.fromkeys(task for task, _ in arms)
    metrics = {task: _shared([arm for arm in arms.values() if arm.task == task]) for task in tasks}
    scores = {
        key: [mean for run in arm.runs if math.isfinite(mean := _mean(run, metrics[arm.task]))]
        for key, arm in arms.items()
        if not arm.metric.startswith(REVERSED)
    }
    shared = tuple(task for task in tasks if all(scores.get((task, method)) for method in methods))
    if len(shared) < 2:
        return {}, ()
    return {method: glue_average({task: scores[task, method] for task in shared}) for method in methods}, shared


def _metrics(run: Run) -> dict[tuple[str, str], float]:
    """Return the scores by set and metric, of the sets that a run is scored on: MNLI has two."""
    return {
        (split, metric): value
        for split, by_checkpoint in run.scores.items()
        if split != SELECTION or len(run.scores) == 1
        for metric, value in by_checkpoint.get(run.checkpoint, {}).items()
        if not metric.startswith(REVERSED)  # an error has a scale of its own
    }


def _shared(arms: Iterable[Arm]) -> set[tuple[str, str]]:
    """Return sets and metrics that all runs with a score have: a mean over others would compare different things."""
    found = [_metrics(run).keys() for arm in arms for run in arm.runs if math.isfinite(run.score)]
    return set.intersection(*map(set, found)) if found else set()


def _mean(run: Run, metrics: Collection[tuple[str, str]]) -> float:
    """Return the mean of a run's metrics; its score where there are none."""
    values = [value for name, value in _metrics(run).items() if name in metrics]
    return float(np.mean(values)) if values and math.isfinite(run.score) else run.score


def _variances(arms: Arms) -> Iterator[tuple[tuple[str, str], dict[str, float]]]:
    """Yield the shares of arms whose initialisation and order seeds are crossed, every pair run once on one split."""
    for key, arm in arms.items():
        scores: dict[tuple[str, ...], float] = {tuple(run.seed.split("-")): run.score for run in arm.runs}
        if any(len(seed) != 3 for seed in scores) or len({seed[-1] for seed in scores}) != 1:
            continue
        only = next(iter(scores))[-1]
        inits, orders = (sorted({seed[at] for seed in scores}, key=by_seed) for at in (0, 1))
        grid = np.array([[scores.get((init, order, only), np.nan) for order in orders] for init in inits])
        if min(grid.shape) > 1 and np.isfinite(grid).all():
            yield key, variance_components(grid).shares


def _notes(
    found: LoadedRuns, arms: Arms, family: Sequence[Declared], rest: Sequence[Declared], baseline: str, chosen: bool
) -> Iterator[str]:
    yield from _reported(found.runs)
    turned = dict.fromkeys(run.metric for run in found.runs if run.metric.startswith(REVERSED))
    if turned:
        yield f"{', '.join(turned)}: an error with its sign reversed, so that more is better, and × 100 as all scores"
    yield from found.notes
    for what, names in found.missing.items():
        listed = ", ".join(names[:SOME]) + (", …" if len(names) > SOME else "")
        yield f"{counted(len(names), 'run')} {what}, and not in any number here: {listed}"
    diverged = sum(arm.summary.diverged for arm in arms.values())
    if diverged:
        yield (
            f"{counted(diverged, 'run')} of {len(found.runs):,} diverged: counted in n, and in no mean, interval, test "
            f"or expected maximum"
        )
    early = sum(run.record is not None and run.record.status == "ended early" for run in found.runs)
    if early:
        yield f"{counted(early, 'run')} of {len(found.runs):,} ended before the end of the schedule, by the clock, say"
    if not family:
        yield "No primary family was declared before the runs: every comparison is exploratory"
    else:
        where = "with --primary, for this report" if chosen else "in grid.json, before the runs"
        yield f"The primary family was declared {where}: {counted(len(family), 'comparison')}, corrected together"
        absent = [one for one in family if (one.task, one.method) not in arms or (one.task, one.baseline) not in arms]
        if absent:
            pairs = ", ".join(f"{one.method} and {one.baseline} on {title(one.task)}" for one in absent[:SOME])
            yield f"Of that family, without runs, and counted with a p of 1: {pairs}{', …' * (len(absent) > SOME)}"
        if rest:
            yield f"Exploratory, a family of its own: {counted(len(rest), 'comparison')}"
    for task in dict.fromkeys(task for task, _ in arms):
        if (task, baseline) not in arms and any(method != baseline for name, method in arms if name == task):
            yield f"{title(task)} has no run of {baseline}: nothing is compared with it there"


def _reported(runs: Sequence[Run]) -> Iterator[str]:
    """Yield what the scores are of, and what they are not."""
    sets = dict.fromkeys(
        (run.record.reported.split, run.checkpoint, run.record.protocol)
        for run in runs
        if run.record and run.record.reported
    )
    if sets:
        of = "; ".join(f"{split}, {checkpoint} checkpoint, protocol {protocol}" for split, checkpoint, protocol in sets)
        yield f"Scores are of {of}"
    told = (notes(run.record.source, run.record.backbone) for run in runs if run.record)
    yield from (f"{note[0].upper()}{note[1:]}" for note in sorted({note for each in told for note in each}))


def _average_notes(averaged: Sequence[str], arms: Arms) -> Iterator[str]:
    if averaged:
        errors = {arm.task for arm in arms.values() if arm.metric.startswith(REVERSED)}
        left = [task for task in dict.fromkeys(task for task, _ in arms) if task not in averaged]
        why = {
            "some method has no score there": [title(task) for task in left if task not in errors],
            "their scores are errors": [title(task) for task in left if task in errors],
        }
        also = "".join(f"; not in it, since {reason}: {', '.join(names)}" for reason, names in why.items() if names)
        of = f"{', '.join(map(title, averaged))}, of each the mean of the metrics that all its runs have"
        yield f"Averages are over {of}{also}"
