"""Figures have a panel for each task, with the same words on the axes."""

from collections.abc import Iterable, Sequence
from math import ceil

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from ftreg.report import style
from ftreg.report.model import Arm
from ftreg.report.style import Look


def panels(count: int, width: float = style.PANEL[0], height: float = style.PANEL[1]) -> tuple[Figure, list[Axes]]:
    """Make a figure of `count` panels, up to three in a row, or four where that makes a single row."""
    columns = count if count <= 4 else 3
    columns = 2 if count == 4 and width > style.PANEL[0] else columns
    rows = ceil(count / columns)
    figure = Figure(figsize=(width * columns, height * rows + 0.35), layout="constrained")
    FigureCanvasAgg(figure)  # no window, whatever the backend
    grid = figure.subplots(rows, columns, squeeze=False).ravel().tolist()
    for empty in grid[count:]:
        empty.remove()
    return figure, grid[:count]


def runs_of(arms: Sequence[Arm]) -> str:
    """Return `n = 50`, or `n = 20–50` where arms differ."""
    counts = sorted({arm.summary.n for arm in arms})
    return f"n = {counts[0]}" + f"–{counts[-1]}" * (len(counts) > 1)


def line(look: Look, label: str) -> Line2D:
    """Return what a legend shows of a method that is drawn as a line."""
    return Line2D([], [], color=look.colour, linestyle="--" if look.hollow else "-", label=label)


def dot(look: Look, label: str) -> Line2D:
    """Return what a legend shows of a method that is drawn as dots."""
    face = "white" if look.hollow else look.colour
    return Line2D([], [], linestyle="", marker=look.marker, color=look.colour, markerfacecolor=face, label=label)


def legend(figure: Figure, handles: Iterable[Line2D]) -> None:
    """Draw one legend for all panels, below them."""
    entries = list(handles)
    width = float(figure.get_figwidth())
    longest = max(len(str(entry.get_label())) for entry in entries)
    columns = max(1, int(width * 15 / (longest + 6)))
    figure.legend(handles=entries, loc="outside lower center", ncols=min(columns, len(entries)))
