"""This figure shows what a score costs."""

import math
from statistics import fmean

from matplotlib.figure import Figure

from ftreg.report import style
from ftreg.report.figures.panels import dot, legend, panels, runs_of
from ftreg.report.model import MATCHED_PREFIX, Arm, Report
from ftreg.report.verdict import title

UNITS = {"seconds": "training seconds", "steps": "optimizer steps"}


def figure(report: Report) -> Figure | None:
    """Draw mean scores with intervals against the mean cost of a run, as a multiple of the baseline's.

    A grey line joins a method and the baseline at that method's compute: what the method adds is the step between them.
    """
    looks = style.looks(report)
    shown = {
        task: found
        for task in style.tasks(report)
        if (found := relative(style.arms(report, task), report.baseline))
        and any(math.isfinite(arm.summary.mean) for arm in style.arms(report, task) if arm.method in found[1])
    }
    if not shown:
        return None
    drawn, grid = panels(len(shown))
    used: set[str] = set()
    for axes, (task, (unit, costs)) in zip(grid, shown.items(), strict=True):
        arms = [arm for arm in style.arms(report, task) if arm.method in costs and math.isfinite(arm.summary.mean)]
        means = {arm.method: style.POINTS * arm.summary.mean for arm in arms}
        for name in means:
            matched = MATCHED_PREFIX + name
            if matched in means:
                axes.plot(
                    [costs[name], costs[matched]], [means[name], means[matched]], color="0.7", linewidth=1, zorder=1
                )
        for arm in arms:
            look, all_of = looks[arm.method], arm.summary
            face = "white" if look.hollow else look.colour
            if math.isfinite(all_of.low):
                axes.plot(
                    [costs[arm.method]] * 2,
                    [style.POINTS * all_of.low, style.POINTS * all_of.high],
                    color=look.colour,
                    linewidth=1,
                    zorder=2,
                )
            place = costs[arm.method], means[arm.method]
            axes.plot(*place, look.marker, color=look.colour, markerfacecolor=face, markersize=5)
            if all_of.diverged:
                note = f"{all_of.diverged} of {all_of.n} diverged"
                axes.annotate(note, place, (6, -8), textcoords="offset points", fontsize=6.5, color=look.colour)
        used |= means.keys()
        axes.axvline(1, color="0.85", linewidth=0.8, zorder=0)
        axes.margins(x=0.15, y=0.12)
        axes.set_title(title(task))
        axes.set_xlabel(f"{UNITS[unit]}, × {report.baseline} ({runs_of(arms)})")
        axes.set_ylabel(f"mean {style.metric(arms[0])}, with interval")
    legend(drawn, [dot(look, name) for name, look in looks.items() if name in used])
    return drawn


def relative(arms: tuple[Arm, ...], baseline: str) -> tuple[str, dict[str, float]] | None:
    """Return the unit, and each method's cost of a run over the baseline's; None where the baseline's is not known.

    In seconds where as many methods have those as have steps, because passes differ in what a step costs.
    """
    found: dict[str, dict[str, float]] = {}
    for unit in UNITS:
        means = {}
        for arm in arms:
            known = [run.cost[unit] for run in arm.runs if math.isfinite(run.cost.get(unit, math.nan))]
            if known:
                means[arm.method] = fmean(known)
        if means.get(baseline, 0) > 0 and len(means) > 1:
            found[unit] = {method: mean / means[baseline] for method, mean in means.items()}
    if not found:
        return None
    unit = max(found, key=lambda unit: len(found[unit]))
    return unit, found[unit]
