"""Tables of committed results. Nothing in them is typed by hand.

    python experiments/results/table.py collect RUNS > experiments/results/NAME.jsonl  # of RUNS/<task>/<arm>[/<seed>]
    python experiments/results/table.py show experiments/results/NAME.jsonl           # as Markdown

A line is a run's result.json, its arm's name, and the median over the run of each diagnostic that it logged.
"""

import csv
import json
import re
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

DIAGNOSTICS = {"gradient_ratio": "∇ ratio", "loss_rise": "loss rise", "at_surface": "at surface"}


def collect(runs: Path) -> Iterator[dict[str, Any]]:
    """One record a finished run."""
    found = [path for depth in ("*/*", "*/*/*") for path in runs.glob(f"{depth}/result.json")]
    for path in sorted(found, key=lambda path: (path.relative_to(runs).parts[0], path.stat().st_mtime)):
        with open(path.parent / "metrics.csv", newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        logged: dict[str, list[float]] = {}
        for row in rows:
            for name, value in row.items():
                if value and name.rpartition("/")[2] in DIAGNOSTICS:
                    logged.setdefault(name.rpartition("/")[2], []).append(float(value))
        layers = sorted(name for name in rows[0] if name.startswith("layer_weight/"))
        distance = [float(row["distance/relative"]) for row in rows if row.get("distance/relative")]
        yield {
            "arm": "-".join(path.relative_to(runs).parts[1:-1]),
            **_portable(json.loads(path.read_text(encoding="utf-8"))),
            "diagnostics": {name: statistics.median(values) for name, values in logged.items()},
            "distance": distance[-1],
            "layer_weights": [next(float(row[name]) for row in reversed(rows) if row.get(name)) for name in layers],
        }


def _portable(value: Any) -> Any:
    """Without the folders of the machine that it was run on."""
    if isinstance(value, dict):
        return {name: _portable(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_portable(item) for item in value]
    return Path(value).name if isinstance(value, str) and Path(value).is_absolute() else value


def show(records: list[dict[str, Any]]) -> Iterator[str]:
    """A Markdown table a task: scores × 100 of the last checkpoint, and of the best in brackets.

    Runs of one arm with other seeds (`ARM-0`, `ARM-1`) are one row: mean ± standard deviation, and n.
    """
    for task in dict.fromkeys(record["task"] for record in records):
        mine = [record for record in records if record["task"] == task]
        arms: dict[str, list[dict[str, Any]]] = {}
        for record in mine:
            arms.setdefault(re.sub(r"-\d+$", "", record["arm"]), []).append(record)
        columns = [(split, metric) for split, scores in mine[0]["scores"].items() for metric in scores["last"]]
        heads = ["n", *(f"{split} {metric}" for split, metric in columns)]
        logged = [name for name in DIAGNOSTICS if any(name in record["diagnostics"] for record in mine)]
        heads += [DIAGNOSTICS[name] for name in logged] + ["distance", "stage one, steps"]
        yield f"| {task} | {' | '.join(heads)} |"
        yield "|---" * (len(heads) + 1) + "|"
        for arm, runs in arms.items():
            cells = [
                str(len(runs)),
                *(_cell([run["scores"][split] for run in runs], metric) for split, metric in columns),
            ]
            cells += [_several([r["diagnostics"][n] for r in runs if n in r["diagnostics"]], ".2g") for n in logged]
            cells += [_several([run["distance"] for run in runs], ".4f")]
            start = runs[0].get("start")
            yield f"| {arm} | {' | '.join(cells)} | {start['cost']['steps'] if start else ''} |"
        yield ""


def _cell(scores: list[dict[str, Any]], metric: str) -> str:
    last, best = ([100 * score[which][metric] for score in scores] for which in ("last", "best"))
    spread = f" ± {statistics.stdev(last):.1f}" if len(last) > 1 else ""
    return f"{statistics.mean(last):.1f}{spread} ({statistics.mean(best):.1f})"


def _several(values: list[float], form: str) -> str:
    return format(statistics.mean(values), form) if values else ""


def main() -> None:
    command, path = sys.argv[1], Path(sys.argv[2])
    if command == "collect":
        for record in collect(path):
            print(json.dumps(record, ensure_ascii=False))
    else:
        print("\n".join(show([json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()])))


if __name__ == "__main__":
    main()
