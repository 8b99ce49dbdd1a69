"""Tables of committed results. Nothing in them is typed by hand.

    python experiments/results/table.py collect RUNS > experiments/results/NAME.jsonl   # from RUNS/<task>/<arm>
    python experiments/results/table.py show experiments/results/NAME.jsonl             # as Markdown

A line is a run's result.json, its arm's name, and the median over the run of each diagnostic that it logged.
"""

import csv
import json
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIAGNOSTICS = {"gradient_ratio": "∇ ratio", "loss_rise": "loss rise", "at_surface": "at surface"}


def collect(runs: Path) -> Iterator[dict[str, Any]]:
    """One record a finished run."""
    for path in sorted(runs.glob("*/*/result.json"), key=lambda path: (path.parts[-3], path.stat().st_mtime)):
        with open(path.parent / "metrics.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        logged: dict[str, list[float]] = {}
        for row in rows:
            for name, value in row.items():
                if value and name.rpartition("/")[2] in DIAGNOSTICS:
                    logged.setdefault(name.rpartition("/")[2], []).append(float(value))
        distance = [float(row["distance/relative"]) for row in rows if row.get("distance/relative")]
        yield {
            "arm": path.parent.name,
            **json.loads(path.read_text(encoding="utf-8")),
            "diagnostics": {name: statistics.median(values) for name, values in logged.items()},
            "distance": distance[-1],
        }


def show(records: list[dict[str, Any]]) -> Iterator[str]:
    """A Markdown table a task: scores × 100 of the last checkpoint, and of the best in brackets."""
    for task in dict.fromkeys(record["task"] for record in records):
        mine = [record for record in records if record["task"] == task]
        columns = [(split, metric) for split, scores in mine[0]["scores"].items() for metric in scores["last"]]
        heads = [f"{split} {metric}" for split, metric in columns]
        yield f"| {task} | {' | '.join([*heads, *DIAGNOSTICS.values(), 'distance'])} |"
        yield "|---" * (len(heads) + len(DIAGNOSTICS) + 2) + "|"
        for record in mine:
            cells = [_cell(record["scores"][split], metric) for split, metric in columns]
            cells += [f"{record['diagnostics'][n]:.2g}" if n in record["diagnostics"] else "" for n in DIAGNOSTICS]
            yield f"| {record['arm']} | {' | '.join(cells)} | {record['distance']:.4f} |"
        yield ""


def _cell(scores: dict[str, Any], metric: str) -> str:
    last, best = (100 * scores[which][metric] for which in ("last", "best"))
    return f"{last:.1f} ({best:.1f})"


def main() -> None:
    command, path = sys.argv[1], Path(sys.argv[2])
    if command == "collect":
        for record in collect(path):
            print(json.dumps(record, ensure_ascii=False))
    else:
        print("\n".join(show([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])))


if __name__ == "__main__":
    main()
