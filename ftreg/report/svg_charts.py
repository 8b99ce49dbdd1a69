"""The page's charts are SVG whose places are shares of the width: they fit any screen undistorted."""

import math
from collections.abc import Sequence
from statistics import quantiles

from ftreg.report import style
from ftreg.report.beeswarm import offsets
from ftreg.report.html import Html, element, join
from ftreg.report.model import Arm, Comparison, Report
from ftreg.report.statistics import Interval
from ftreg.report.style import Look
from ftreg.report.verdict import title
from ftreg.run.wording import points

HIGH = 52
NOMINAL = 420
"""Pixels of a strip that its dots are kept apart at."""
DOT = 5.6


def seeds(report: Report) -> Html:
    """Return a panel for each task, in it a strip for each method, in that a dot for each run.

    A dot has the place of its run in `report.runs` as `data-run`, by which the script finds what it is.
    """
    looks, place = style.looks(report), {id(run): at for at, run in enumerate(report.runs)}
    found = []
    for task in style.tasks(report):
        arms = style.arms(report, task)
        guess = style.majority(run for arm in arms for run in arm.runs)
        scale = _Scale(arms, guess)
        rows = [_row_of_dots(arm, looks[arm.method], scale, place) for arm in arms]
        heading = element(
            "h3",
            title(task),
            " ",
            element("small", style.reported(arms[0])),
        )
        found.append(element("section", heading, *rows, _axis(scale), class_="panel", data_task=task))
    return join(*found)


class _Scale:
    """A map from a score to a share of the width, in percent."""

    def __init__(self, arms: tuple[Arm, ...], guess: float | None) -> None:
        known = [run.score for arm in arms for run in arm.runs if math.isfinite(run.score)] or [0.0, 1.0]
        low, high = min(known), max(known)
        # A guess far below would press all dots together: it is named in place of drawn.
        self.guess = guess
        self.far = guess is not None and guess < low - (high - low)
        if guess is not None and not self.far:
            low, high = min(low, guess), max(high, guess)
        margin = 0.04 * (high - low) or 0.01
        self.low, self.high = low - margin, high + margin

    def __call__(self, score: float) -> float:
        return round(100 * (score - self.low) / (self.high - self.low), 2)

    def ticks(self) -> list[tuple[float, str]]:
        """Return three to seven round scores, and how they are written."""
        wide = style.POINTS * (self.high - self.low)
        power = math.floor(math.log10(wide / 3))
        step, digits = max(
            (factor * 10.0**power, max(0, (factor % 1 > 0) - power))
            for factor in (1, 2, 2.5, 5)
            if wide / (factor * 10.0**power) >= 3
        )
        first, last = (style.POINTS * end / step for end in (self.low, self.high))
        found = [at * step for at in range(math.ceil(first), math.floor(last) + 1)]
        return [(at / style.POINTS, f"{at:.{digits}f}".replace("-", "−")) for at in found]


def _row_of_dots(arm: Arm, look: Look, scale: _Scale, place: dict[int, int]) -> Html:
    runs = [run for run in arm.runs if math.isfinite(run.score)]
    at = [scale(run.score) for run in runs]
    shifts = offsets([one * NOMINAL / 100 for one in at], DOT, HIGH / 2 - DOT / 2 - 1)
    marks: list[Html] = []
    if scale.guess is not None and not scale.far:
        guess = f"{scale(scale.guess)}%"
        marks.append(element("line", x1=guess, x2=guess, y1=0, y2=HIGH, class_="majority"))
    if len(runs) > 1:
        low, middle, high = (scale(value) for value in _quartiles([run.score for run in runs]))
        marks.append(
            element("rect", x=f"{low}%", width=f"{max(0.0, high - low):.2f}%", y=4, height=HIGH - 8, class_="box")
        )
        marks.append(element("line", x1=f"{middle}%", x2=f"{middle}%", y1=4, y2=HIGH - 4, class_="median"))
    for run, x, shift in zip(runs, at, shifts, strict=True):
        y = round(HIGH / 2 + shift, 1)
        marks.append(element("circle", cx=f"{x}%", cy=y, r=DOT / 2, data_run=place.get(id(run), -1)))
    told = arm.summary
    counts = [f"n = {told.n}"]
    if told.failed:
        counts.append(f"{told.failed} failed")
    if told.diverged:
        counts.append(f"× {told.diverged} diverged")
    label = (
        f"{arm.method} on {title(arm.task)}: {', '.join(counts)}; median {points(told.median)}, "
        f"from {points(told.min)} to {points(told.max)}. Arrow keys go through the runs."
    )
    lost = "lost" if told.diverged or told.failed else None
    name = element("div", element("b", arm.method), element("small", ", ".join(counts), class_=lost), class_="who")
    drawing = element(
        "svg", *marks, height=HIGH, role="img", aria_label=label, tabindex=0, class_="hollow" * look.hollow or None
    )
    row = "strip base" if look.colour == style.BASELINE else "strip"
    return element("div", name, drawing, class_=row, style=f"--c:{look.colour}", data_method=arm.method)


def _axis(scale: _Scale) -> Html:
    texts = [element("text", text, x=f"{scale(tick)}%", y=12) for tick, text in scale.ticks()]
    if scale.guess is None:
        note = ""
    elif scale.far:
        note = f"majority {points(scale.guess)}, off to the left"
    else:
        note = f"dashed: majority {points(scale.guess)}"
    who = element("div", element("small", note), class_="who")
    return element("div", who, element("svg", *texts, height=16, aria_hidden="true"), class_="strip axis")


def interval(difference: Interval, reach: float) -> Html:
    """Return a difference and its interval about 0.

    Args:
        reach: the difference at either end.
    """

    def at(value: float) -> str:
        return f"{50 + 48 * max(-1.0, min(1.0, value / reach)):.2f}%"

    marks = [element("line", x1="50%", x2="50%", y1=0, y2=22, class_="zero")]
    if math.isfinite(difference.low) and math.isfinite(difference.high):
        marks.append(element("line", x1=at(difference.low), x2=at(difference.high), y1=11, y2=11, class_="reach"))
    if math.isfinite(difference.estimate):
        marks.append(element("circle", cx=at(difference.estimate), cy=11, r=4.5))
    return element("svg", *marks, height=22, class_="interval", aria_hidden="true")


def reach(comparisons: Sequence[Comparison]) -> float:
    """Return the largest end of an interval."""
    ends = [
        abs(end) for one in comparisons for end in (one.difference.low, one.difference.high, one.difference.estimate)
    ]
    return max((end for end in ends if math.isfinite(end)), default=0.0) or 1.0


def _quartiles(scores: list[float]) -> tuple[float, float, float]:
    low, middle, high = quantiles(scores, n=4, method="inclusive")
    return low, middle, high
