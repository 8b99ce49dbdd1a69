"""This figure shows every seed's score, by task and method."""

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ftreg.report import style
from ftreg.report.beeswarm import offsets
from ftreg.report.figures.panels import panels
from ftreg.report.model import Arm, Report
from ftreg.report.verdict import title

DOT = 2.6
"""Points across."""


def figure(report: Report) -> Figure | None:
    """Draw a dot a run over a box of the quartiles; diverged runs are crosses at the bottom, with their count."""
    names, looks = style.tasks(report), style.looks(report)
    if not names:
        return None
    most = max(len(style.arms(report, task)) for task in names)
    inches = max(style.PANEL[0], 0.75 * most)
    drawn, grid = panels(len(names), inches, style.PANEL[1] + 0.2)
    for axes, task in zip(grid, names, strict=True):
        _panel(axes, style.arms(report, task), looks, inches)
        axes.set_title(title(task))
    return drawn


def _panel(axes: Axes, arms: tuple[Arm, ...], looks: dict[str, style.Look], inches: float) -> None:
    scores = [[style.POINTS * run.score for run in arm.runs if math.isfinite(run.score)] for arm in arms]
    known = [score for one in scores for score in one]
    guess = style.majority(run for arm in arms for run in arm.runs)
    guess = None if guess is None else style.POINTS * guess
    bottom, top = (min(known), max(known)) if known else (0.0, 100.0)
    # A guess far below would press all dots flat: it is named in place of drawn.
    far = guess is not None and guess < bottom - (top - bottom)
    if guess is not None and not far:
        bottom, top = min(bottom, guess), max(top, guess)
    margin = 0.06 * (top - bottom) or 1.0
    lost = far or any(arm.summary.diverged for arm in arms)
    floor = bottom - (4 if lost else 1) * margin
    axes.set_ylim(floor, top + margin)
    axes.set_xlim(-0.5, len(arms) - 0.5)
    # The swarm is laid out in points; 0.75 of the panel is inside the axes.
    high = 72 * 0.75 * style.PANEL[1] / (top + margin - floor)
    wide = 72 * 0.75 * inches / len(arms)
    for at, (arm, values) in enumerate(zip(arms, scores, strict=True)):
        look = looks[arm.method]
        if len(values) > 1:
            _box(axes, at, values)
        shifts = offsets([value * high for value in values], DOT * 1.05, 0.36 * wide)
        axes.scatter(
            at + np.array(shifts) / wide,
            values,
            s=DOT**2,
            marker=look.marker,
            facecolors="white" if look.hollow else look.colour,
            edgecolors=look.colour,
            linewidths=0.6 if look.hollow else 0,
            zorder=3,
        )
        if arm.summary.diverged:
            text = f"× {arm.summary.diverged} diverged"
            axes.text(at, floor + margin, text, ha="center", va="center", fontsize=7, color=look.colour)
    if far:
        text = f"majority {guess:.1f} ↓ "
        axes.text(-0.45, floor, text, va="bottom", ha="left", fontsize=6.5, color="0.35")
    elif guess is not None:
        axes.axhline(guess, color="0.45", linewidth=0.8, linestyle=(0, (4, 3)), zorder=1)
        axes.text(-0.45, guess, "majority", va="bottom", fontsize=6.5, color="0.35")
    axes.set_xticks(range(len(arms)), [f"{arm.method}\nn = {arm.summary.n}" for arm in arms])
    if max(len(arm.method) for arm in arms) * len(arms) > 36:
        axes.tick_params(axis="x", labelrotation=35)
        for label in axes.get_xticklabels():
            label.set_horizontalalignment("right")
            label.set_rotation_mode("anchor")
    axes.set_xlabel("method, with its number of runs")
    axes.set_ylabel(style.reported(arms[0]))


def _box(axes: Axes, at: int, values: list[float]) -> None:
    thin = {"color": "0.55", "linewidth": 0.7}
    axes.boxplot(
        [values],
        positions=[at],
        widths=0.8,
        showfliers=False,  # every run is a dot already
        manage_ticks=False,
        boxprops=thin,
        whiskerprops=thin,
        showcaps=False,
        medianprops={"color": "black", "linewidth": 1.2},
    )
