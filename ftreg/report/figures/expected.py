"""This figure shows the best score to be expected of a number of runs."""

from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ftreg.report import style
from ftreg.report.figures.panels import legend, line, panels
from ftreg.report.model import Report
from ftreg.report.verdict import title


def figure(report: Report) -> Figure | None:
    """Draw a line a method, each as long as it has runs: what a budget of so many tries buys."""
    looks = style.looks(report)
    shown = {task: [arm for arm in style.arms(report, task) if arm.expected] for task in style.tasks(report)}
    shown = {task: arms for task, arms in shown.items() if arms}
    if not shown:
        return None
    drawn, grid = panels(len(shown))
    for axes, (task, arms) in zip(grid, shown.items(), strict=True):
        for arm in arms:
            look = looks[arm.method]
            budgets = range(1, len(arm.expected) + 1)
            best = [style.POINTS * score for score in arm.expected]
            axes.plot(budgets, best, color=look.colour, linestyle="--" if look.hollow else "-")
            axes.plot(budgets[-1], best[-1], look.marker, color=look.colour, markersize=3)
        known = sorted({len(arm.expected) for arm in arms})
        runs = f"{known[0]}" + f"–{known[-1]}" * (len(known) > 1)
        axes.set_title(title(task))
        axes.set_xlabel(f"number of runs (of n = {runs} known)")
        axes.set_ylabel(f"expected best {style.metric(arms[0])}")
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    used = {arm.method for arms in shown.values() for arm in arms}
    legend(drawn, [line(look, name) for name, look in looks.items() if name in used])
    return drawn
