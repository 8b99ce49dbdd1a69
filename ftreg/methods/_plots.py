"""Methods draw figures of a run with matplotlib (the extra `plots`), which is imported when a figure is drawn."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from pytorch_lightning.utilities import rank_zero_info

from ftreg._base.atomic import write_atomically


def layer_weights(path: Path, steps: Sequence[int], weights: Mapping[int, Sequence[float]]) -> None:
    """Draw each layer's weight over the optimizer steps, from light (low) to dark (high), labelled at its end.

    Args:
        path: of the PNG.
        steps: at which they were logged.
        weights: by the layer's number, one value a step.
    """
    try:
        import matplotlib
    except ImportError:
        rank_zero_info(f"no {path.name}: matplotlib is missing; pip install 'ftreg[plots]'")
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.2), layout="constrained")
    axes = figure.add_subplot()
    colours = matplotlib.colormaps["viridis_r"]
    for place, (number, values) in enumerate(weights.items()):
        colour = colours(0.1 + 0.9 * place / max(1, len(weights) - 1))
        axes.plot(steps, values, color=colour, linewidth=1.5)
        axes.annotate(f" {number}", (steps[-1], values[-1]), color=colour, fontsize=8, verticalalignment="center")
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("weight of the layer")
    axes.spines[["top", "right"]].set_visible(False)
    FigureCanvasAgg(figure)  # no window, whatever the backend
    write_atomically(path, lambda temporary: figure.savefig(temporary, format="png", dpi=150))
