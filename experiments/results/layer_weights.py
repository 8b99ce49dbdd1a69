"""The layer weights that LayerPooling's mixes ended with: a line a run.

python experiments/results/layer_weights.py experiments/results/layer_pooling.jsonl OUT.png
"""

import json
import sys
from pathlib import Path

from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#999999", "#882255")
MARKERS = "osD^v<>PX"


def main() -> None:
    """Draw them."""
    records = [json.loads(line) for line in Path(sys.argv[1]).read_text(encoding="utf-8").splitlines()]
    found = {record["arm"]: record["layer_weights"] for record in records if record["layer_weights"]}
    figure = Figure(figsize=(6.4, 3.6), layout="constrained")
    axes = figure.add_subplot()
    number = len(found)
    depth = max(len(weights) for weights in found.values())
    axes.axhline(1 / depth, color="#bbbbbb", linewidth=1, label="uniform")
    for (arm, weights), colour, marker in zip(found.items(), COLOURS[:number], MARKERS[:number], strict=True):
        axes.plot(range(1, len(weights) + 1), weights, color=colour, marker=marker, markersize=4, label=arm)
    axes.set_xlabel("layer, from the bottom")
    axes.set_ylabel("weight at the last logged step (n = 1)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize=8)
    figure.savefig(sys.argv[2], dpi=150)


if __name__ == "__main__":
    main()
