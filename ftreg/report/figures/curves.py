"""This figure shows scores during training, over seeds."""

import math
from collections import defaultdict

import numpy as np
from matplotlib.figure import Figure

from ftreg.report import style
from ftreg.report.figures.panels import legend, line, panels
from ftreg.report.model import Arm, Report
from ftreg.report.verdict import title

QUANTILES = 0.1, 0.25, 0.5, 0.75, 0.9


def figure(report: Report) -> Figure | None:
    """Draw the median over seeds, its quartiles and its outer tenths, at every step that half of an arm's runs have.

    A score that is not finite counts as lower than all others: left out, it would make a method look better.
    """
    looks = style.looks(report)
    shown = {
        task: [arm for arm in style.arms(report, task) if any(run.curve for run in arm.runs)]
        for task in style.tasks(report)
    }
    shown = {task: arms for task, arms in shown.items() if arms}
    if not shown:
        return None
    drawn, grid = panels(len(shown))
    for axes, (task, arms) in zip(grid, shown.items(), strict=True):
        counts = []
        for arm in arms:
            look = looks[arm.method]
            steps, bands = quantiles(arm)
            counts.append(sum(bool(run.curve) for run in arm.runs))
            axes.fill_between(steps, bands[0], bands[4], color=look.colour, alpha=0.12, linewidth=0)
            axes.fill_between(steps, bands[1], bands[3], color=look.colour, alpha=0.22, linewidth=0)
            axes.plot(steps, bands[2], color=look.colour, linestyle="--" if look.hollow else "-")
        runs = f"{min(counts)}" + f"–{max(counts)}" * (min(counts) != max(counts))
        axes.set_title(title(task))
        axes.set_xlabel(f"optimizer step (n = {runs} runs a method)")
        axes.set_ylabel(f"{style.metric(arms[0])}, during training")
        axes.margins(x=0.01)
    used = {arm.method for arms in shown.values() for arm in arms}
    legend(drawn, [line(look, name) for name, look in looks.items() if name in used])
    return drawn


def quantiles(arm: Arm) -> tuple[list[int], list[list[float]]]:
    """Return steps, and the scores there for each of `QUANTILES`: the lowest known where it is among the diverged."""
    found: dict[int, list[float]] = defaultdict(list)
    for run in arm.runs:
        for step, score in run.curve:
            found[step].append(style.POINTS * score if math.isfinite(score) else -math.inf)
    runs = sum(bool(run.curve) for run in arm.runs)
    steps = sorted(step for step, scores in found.items() if 2 * len(scores) >= runs)
    floor = min((score for step in steps for score in found[step] if math.isfinite(score)), default=math.nan)
    bands = [np.quantile(found[step], QUANTILES, method="inverted_cdf") for step in steps]
    return steps, [
        [float(band[at]) if math.isfinite(band[at]) else floor for band in bands] for at in range(len(QUANTILES))
    ]
