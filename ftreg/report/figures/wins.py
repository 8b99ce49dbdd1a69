"""This figure shows which method wins where."""

import math

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LinearSegmentedColormap, Normalize
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from ftreg.report import style
from ftreg.report.model import Report
from ftreg.report.verdict import equals, significant, title

SHADES = LinearSegmentedColormap.from_list("wins", [style.BLUE, "#f7f7f7", style.VERMILLION])


def figure(report: Report) -> Figure | None:
    """Draw methods by tasks: ε_min as colour and number, the corrected p, and the pairs; a frame where p ≤ α."""
    if not report.comparisons:
        return None
    rows = style.rivals(report)
    columns = [task for task in style.tasks(report) if any(one.task == task for one in report.comparisons)]
    longest = max(len(row) for row in rows)
    size = 0.08 * longest + 1.05 * len(columns) + 1.3, 0.62 * len(rows) + 0.9
    drawn = Figure(figsize=(max(4.2, size[0]), max(2.4, size[1])), layout="constrained")
    FigureCanvasAgg(drawn)
    axes = drawn.add_subplot()
    for one in report.comparisons:
        x, y = columns.index(one.task), rows.index(style.rival(one, report))
        known = math.isfinite(one.epsilon)
        sure = significant(one, report.alpha)
        face = SHADES(one.epsilon) if known else "white"
        axes.add_patch(Rectangle((x - 0.48, y - 0.46), 0.96, 0.92, facecolor=face, edgecolor="none"))
        if sure:
            axes.add_patch(
                Rectangle((x - 0.46, y - 0.43), 0.92, 0.86, facecolor="none", edgecolor="black", linewidth=1.2)
            )
        ink = "white" if known and abs(one.epsilon - 0.5) > 0.33 else "black"
        epsilon = f"{one.epsilon:.2f}" if known else "–"
        axes.text(x, y - 0.17, epsilon, ha="center", va="center", color=ink, fontsize=10, fontweight="bold")
        axes.text(
            x, y + 0.2, f"p {equals(one.adjusted)}\nn = {one.pairs}",
            ha="center", va="center", color=ink, fontsize=6.5, linespacing=1.3,
        )  # fmt: skip
    axes.set_xlim(-0.5, len(columns) - 0.5)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.set_xticks(range(len(columns)), [title(task) for task in columns])
    axes.set_yticks(range(len(rows)), rows)
    axes.tick_params(length=0)
    axes.spines[:].set_visible(False)
    axes.set_xlabel("task; n is the number of seeds that both have")
    axes.set_ylabel(f"method, against {report.baseline}")
    bar = drawn.colorbar(ScalarMappable(Normalize(0, 1), SHADES), ax=axes, fraction=0.06, pad=0.02, aspect=18)
    bar.set_label("ε_min: 0 better, 1 not")
    bar.outline.set_visible(False)
    return drawn
