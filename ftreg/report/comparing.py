"""A method is compared with a baseline on one task, paired by seed; a family of comparisons is corrected by Holm."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ftreg.report.aso import aso
from ftreg.report.inputs import Floats
from ftreg.report.model import Arm, Comparison, Run
from ftreg.report.paired import holm, needed_pairs, sign_flip, warnings, wilcoxon
from ftreg.report.power import pairs_needed
from ftreg.report.predicted import over_items
from ftreg.report.reading import by_seed
from ftreg.report.statistics import Interval, levene, summary
from ftreg.report.verdict import counted, sentence, significant
from ftreg.run.wording import differing_shares

SIMULATIONS = 400
"""Simulations of the power: enough for a number of pairs in a sentence."""
UNKNOWN = Interval(np.nan, np.nan, np.nan)

Arms = Mapping[tuple[str, str], Arm]
"""Arms by task and method."""


@dataclass(frozen=True)
class Declared:
    """A comparison that is to be made."""

    task: str
    method: str
    baseline: str


def compare(family: Sequence[Declared], arms: Arms, primary: bool, alpha: float, effect: float) -> list[Comparison]:
    """Return the comparisons of a family whose two arms are there.

    One that was declared and has no pairs, as of runs that are still to come, counts in the correction with a p of 1.

    Args:
        family: all of it.
        primary: whether it was declared before the runs.
        alpha: level of the family.
        effect: the difference whose detection a verdict speaks of.
    """
    raw = {one: _compare(one, arms, primary) for one in family}
    ps = {one: made.p if made is not None and made.pairs else 1.0 for one, made in raw.items()}
    adjusted = holm({"\t".join(vars(one).values()): p for one, p in ps.items()})
    found = []
    for (one, made), p in zip(raw.items(), adjusted.values(), strict=True):
        if made is not None:
            made = replace(made, adjusted=p if made.pairs else np.nan)
            both = arms[one.task, one.method], arms[one.task, one.baseline]
            others = sum(p <= alpha for other, p in zip(raw, adjusted.values(), strict=True) if other != one)
            found.append(_judged(made, *both, len(family), others, alpha, effect))
    return found


def paired(method: Arm, baseline: Arm) -> tuple[list[tuple[Run, Run]], tuple[str, ...]]:
    """Return the pairs of runs with finite scores, by seed; and the seeds that are missing or diverged in one arm."""
    a, b = ({run.seed: run for run in arm.runs} for arm in (method, baseline))
    both = [seed for seed in a if seed in b and np.isfinite([a[seed].score, b[seed].score]).all()]
    missing = sorted((a.keys() | b.keys()) - set(both), key=by_seed)
    return [(a[seed], b[seed]) for seed in both], tuple(missing)


def finite_scores(arm: Arm) -> Floats:
    """Return the scores of the runs that did not diverge, [runs]."""
    return np.array([run.score for run in arm.runs if np.isfinite(run.score)], dtype=np.float64)


def _compare(one: Declared, arms: Arms, primary: bool) -> Comparison | None:
    """Return all of a comparison but what its family decides."""
    if (one.task, one.method) not in arms or (one.task, one.baseline) not in arms:
        return None
    method, baseline = arms[one.task, one.method], arms[one.task, one.baseline]
    pairs, missing = paired(method, baseline)
    differences = np.array([a.score - b.score for a, b in pairs])
    both = finite_scores(method), finite_scores(baseline)
    interval = UNKNOWN
    if pairs:
        of_mean = summary(differences)
        interval = Interval(of_mean.mean, of_mean.low, of_mean.high)
    return Comparison(
        task=one.task,
        method=one.method,
        baseline=one.baseline,
        metric=method.metric,
        pairs=len(pairs),
        missing=missing,
        enough=False,
        difference=interval,
        p=sign_flip(differences) if pairs else np.nan,
        p_wilcoxon=wilcoxon(differences) if pairs else np.nan,
        p_variance=levene(*both) if min(map(len, both)) > 2 else np.nan,
        adjusted=np.nan,
        primary=primary,
        epsilon=np.nan,
        cost_ratio=_cost_ratio(pairs),
        items=over_items(pairs),
        warnings=(),
        verdict="",
    )


def _judged(
    made: Comparison, method: Arm, baseline: Arm, m: int, others: int, alpha: float, effect: float
) -> Comparison:
    """Add what depends on its family, of m comparisons with `others` significant ones: ε_min, warnings and verdict."""
    both = finite_scores(method), finite_scores(baseline)
    epsilon = aso(*both, alpha=alpha, comparisons=m) if min(map(len, both)) > 1 else np.nan
    made = replace(
        made,
        enough=made.pairs >= needed_pairs(alpha, m - others),
        epsilon=epsilon,
        warnings=tuple(_warnings(made, method, baseline, m, others, alpha)),
    )
    needed = None
    if made.pairs > 1 and not significant(made, alpha):
        spread = np.std([a.score - b.score for a, b in paired(method, baseline)[0]], ddof=1)
        needed = pairs_needed(float(spread), effect, alpha, m, simulations=SIMULATIONS)
    diverged = method.summary.diverged, baseline.summary.diverged
    return replace(made, verdict=sentence(made, alpha, effect, needed, diverged))


def _warnings(made: Comparison, method: Arm, baseline: Arm, m: int, others: int, alpha: float) -> Iterator[str]:
    pairs, _ = paired(method, baseline)
    if pairs:
        yield from warnings(len(pairs), alpha, m, others)
    for arm, other in ((method, baseline), (baseline, method)):
        lost = {run.seed for run in arm.runs if not np.isfinite(run.score)}
        alone = {run.seed for run in arm.runs} - {run.seed for run in other.runs} - lost
        if lost:
            yield f"Leaving {counted(len(lost), 'diverged run')} of {arm.method} out makes it look better than it is."
        if alone:
            yield (
                f"{counted(len(alone), 'seed')} of {arm.method} without a run of {other.method}: "
                f"{', '.join(sorted(alone, key=by_seed))}."
            )
    if _crossed([a.seed for a, _ in pairs]):
        yield (
            "Seeds are crossed, so pairs that share a seed are not independent: p and the interval are too hopeful "
            "if most of the variance is of one of the seeds."
        )
    records = [run.record for pair in pairs for run in pair if run.record]
    for what in ("protocol", "backbone", "source"):
        values = {str(value) for record in records if (value := getattr(record, what)) is not None}
        if len(values) > 1:
            yield f"The runs differ in {what}: {', '.join(sorted(values))}."
    shared = differing_shares(record.sharding for record in records)
    if shared:
        yield f"The runs share their batches out differently, and dropout's masks depend on that: {'; '.join(shared)}."
    if len({run.checkpoint for pair in pairs for run in pair}) > 1:
        yield "The runs do not report the same checkpoint: give --checkpoint."
    machines = {str((record.versions or {}).get("gpu")) for record in records}
    if len(machines) > 1:
        yield f"The runs were on different machines ({', '.join(sorted(machines))}): their seconds do not compare."


def _crossed(seeds: Sequence[str]) -> bool:
    """Return whether some initialisation or order has several runs."""
    parts = [seed.split("-") for seed in seeds if seed.count("-") == 2]
    return any(len({part[at] for part in parts}) < len(parts) for at in (0, 1))


def _cost_ratio(pairs: Sequence[tuple[Run, Run]]) -> float | None:
    """Return the median over pairs of the training seconds' ratio."""
    ratios = [
        a.cost["seconds"] / b.cost["seconds"] for a, b in pairs if a.cost.get("seconds") and b.cost.get("seconds")
    ]
    return float(np.median(ratios)) if ratios else None
