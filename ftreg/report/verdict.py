"""A verdict says in a sentence what a comparison comes to."""

import math

from ftreg.report.model import Comparison
from ftreg.report.statistics import Interval
from ftreg.run.wording import points
from glue_tasks.tasks import GLUE


def title(task: str) -> str:
    """Return a task's name in tables: RTE for rte, and a name of one's own as it is."""
    return GLUE[task].title if task in GLUE else task


def counted(number: int, what: str) -> str:
    """Return `1 run`, `2 runs`."""
    return f"{number:,} {what}{'s' * (number != 1)}"


def counted_points(effect: float) -> str:
    """Return `1 point`, `0.5 points`."""
    return f"{100 * effect:g} point{'s' * (round(100 * effect, 6) != 1)}"


def bracket(interval: Interval) -> str:
    """Return the ends of an interval × 100: `[−0.9, 1.4]`."""
    return f"[{points(interval.low)}, {points(interval.high)}]"


def probability(p: float) -> str:
    """Return p with three decimals, and no p of 0; a dash where it is undefined."""
    if not math.isfinite(p):
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def equals(p: float) -> str:
    """Return `= 0.012`, or `< 0.001`."""
    return probability(p) if p < 0.001 else f"= {probability(p)}"


def significant(one: Comparison, alpha: float) -> bool:
    """Return whether the corrected p is α or less."""
    return one.adjusted <= alpha


def sentence(
    one: Comparison,
    alpha: float,
    effect: float = 0.01,
    needed: int | None = None,
    diverged: tuple[int, int] = (0, 0),
) -> str:
    """Return the verdict on a comparison.

    Args:
        one: with its verdict still empty.
        effect: the difference that `needed` is of, in the unit of the scores.
        needed: pairs that it takes to show it; None if more than 100.
        diverged: runs of the method and of the baseline that have no score.
    """
    what = f"{one.method} and {one.baseline} on {title(one.task)}"
    lost = [
        f"{counted(number, 'run')} of {name}"
        for number, name in zip(diverged, (one.method, one.baseline), strict=True)
        if number
    ]
    aside = f" {' and '.join(lost)} diverged and {'are' if sum(diverged) > 1 else 'is'} not in it." if lost else ""
    if not one.pairs:
        return f"Nothing to compare between {what}: no seed has a score of both.{aside}"
    gap = one.difference
    test = f"n = {counted(one.pairs, 'pair')}, p {equals(one.adjusted)} (Holm{'' if one.primary else ', exploratory'})"
    if math.isfinite(one.epsilon):
        test += f", ε_min = {one.epsilon:.2f}"
    if one.cost_ratio is not None:
        test += f", at {one.cost_ratio:.1f}× the cost"
    if significant(one, alpha):
        verb = "beats"
        if gap.estimate < 0:
            verb, gap = "is worse than", Interval(-gap.estimate, -gap.high, -gap.low)
        by = f"by {points(gap.estimate)} points {bracket(gap)}"
        return f"{one.method} {verb} {one.baseline} on {title(one.task)} {by}, {test}.{aside}"
    told = f"No difference shown between {what}" if one.enough else f"Too few pairs to tell {what} apart"
    return f"{told}: {points(gap.estimate)} points {bracket(gap)}, {test}{_enough(one.pairs, effect, needed)}.{aside}"


def _enough(pairs: int, effect: float, needed: int | None) -> str:
    """Return what it would take; nothing for a single pair, which has no spread to tell it from."""
    if pairs < 2:
        return ""
    many = "more than 100 pairs would be needed" if needed is None else f"{needed} pairs would be needed"
    if needed is not None and needed <= pairs:
        many = f"{needed} pairs are enough"
    return f"; {many} to show {counted_points(effect)} with power 0.8"
