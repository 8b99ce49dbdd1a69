"""Figures and page share one look: a colour, a marker and a place for each method.

The colours are those of Okabe and Ito, *Color Universal Design*, 2008, told apart with any colour vision.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from ftreg.report.model import MATCHED_PREFIX, Arm, Comparison, Report, Run

BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, YELLOW = "#E69F00", "#56B4E9", "#F0E442"
BASELINE = "#595959"
"""Grey: what the others are held against."""
COLOURS = (BLUE, VERMILLION, GREEN, PURPLE, ORANGE, SKY)
"""The methods' colours, in turn. Yellow is too pale on white for a dot."""
MARKERS = ("o", "s", "^", "D", "v", "P")
POINTS = 100
"""The points of a score of 1: figures show what the tables do."""

FONTS = ("DejaVu Sans",)
PANEL = 2.9, 2.5
"""Inches of one task's panel, wide and high."""
DPI = 200
RC: dict[Any, Any] = {
    "font.family": FONTS,
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.labelsize": 7.5,
    "ytick.labelsize": 7.5,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "legend.fontsize": 7.5,
    "legend.frameon": False,
    "lines.linewidth": 1.4,
    "text.parse_math": False,  # a $ in a method's name is a $
    "pdf.fonttype": 42,  # text stays text: publishers refuse Type 3 fonts
}


@dataclass(frozen=True)
class Look:
    """The look of one method.

    Args:
        hollow: the baseline at a method's compute: the method's own colour, not filled in.
    """

    colour: str
    marker: str = "o"
    hollow: bool = False


def tasks(report: Report) -> tuple[str, ...]:
    """Return the tasks in the order of the arms."""
    return tuple(dict.fromkeys(arm.task for arm in report.arms))


def methods(report: Report) -> tuple[str, ...]:
    """Return the baseline, then the others in the order of the arms, each before the baseline at its compute."""
    found = dict.fromkeys(arm.method for arm in report.arms)
    rest = {name: found.keys() - {name} for name in found if name != report.baseline}
    own = [name for name, others in rest.items() if name.removeprefix(MATCHED_PREFIX) not in others]
    if report.baseline in found:
        own.insert(0, report.baseline)
    return tuple(name for one in own for name in (one, MATCHED_PREFIX + one) if name in found)


def looks(report: Report) -> dict[str, Look]:
    """Return the look of each method, in their order."""
    found: dict[str, Look] = {}
    turn = 0
    for name in methods(report):
        twin = found.get(name.removeprefix(MATCHED_PREFIX))
        if name == report.baseline:
            found[name] = Look(BASELINE)
        elif twin is not None and name.startswith(MATCHED_PREFIX):
            found[name] = Look(twin.colour, twin.marker, hollow=True)
        else:
            # A round of colours, then the same ones with the next marker.
            found[name] = Look(COLOURS[turn % len(COLOURS)], MARKERS[turn // len(COLOURS) % len(MARKERS)])
            turn += 1
    return found


def arms(report: Report, task: str) -> tuple[Arm, ...]:
    """Return the arms of one task, in the methods' order."""
    place = {name: at for at, name in enumerate(methods(report))}
    return tuple(sorted((arm for arm in report.arms if arm.task == task), key=lambda arm: place[arm.method]))


def metric(arm: Arm) -> str:
    """Return what an axis says of the scores: the metric, in points as in the tables."""
    return f"{arm.metric} × 100"


def reported(arm: Arm) -> str:
    """Return the metric, and the checkpoint where that is known."""
    checkpoint = arm.runs[0].checkpoint
    return f"{metric(arm)}, {checkpoint} checkpoint" if checkpoint else metric(arm)


def rival(comparison: Comparison, report: Report) -> str:
    """Return the name of a comparison's row: the method, and what it is held against where that is not the baseline."""
    if comparison.baseline == report.baseline:
        return comparison.method
    return f"{comparison.method} vs {comparison.baseline}"


def rivals(report: Report) -> tuple[str, ...]:
    """Return the rows of comparisons, in the methods' order."""
    place = {name: at for at, name in enumerate(methods(report))}
    ordered = sorted(report.comparisons, key=lambda one: place.get(one.method, len(place)))
    return tuple(dict.fromkeys(rival(one, report) for one in ordered))


def majority(runs: Iterable[Run]) -> float | None:
    """Return the majority classifier's score, if the runs that know it agree on one."""
    known = {round(run.majority, 6) for run in runs if run.majority is not None and math.isfinite(run.majority)}
    return known.pop() if len(known) == 1 else None
