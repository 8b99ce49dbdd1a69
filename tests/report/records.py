"""Folders of runs as `ftreg bench` leaves them, made in a moment."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq


def record(
    folder: Path,
    score: float | None,
    task: str = "rte",
    seed: int | tuple[int, int, int] = 0,
    seconds: float = 10.0,
    predicted: Sequence[int] | None = None,
    methods: Sequence[dict[str, Any]] = (),
    bench: bool = True,
    metric: str = "accuracy",
    failed: bool = False,
    less_is_better: Sequence[str] = (),
) -> Path:
    """A finished run; `predicted` are its classes of as many items, whose labels are 1."""
    init, order, split = seed if isinstance(seed, tuple) else (seed,) * 3
    by_checkpoint = {"last": {metric: 0.5}, "best": {metric: score}}
    result = {
        "schema": 1,
        "task": task,
        "source": "tsv",
        "backbone": "bert-base-uncased",
        "protocol": "holdout",
        "methods": list(methods),
        "seeds": {"init": init, "order": order, "split": split},
        "scores": {"selection": {"last": {metric: 0.1}, "best": {metric: 0.2}}, "dev": by_checkpoint},
        "reported": {"split": "dev", "checkpoint": "best", "metric": metric, "value": score},
        "majority": {"selection": {metric: 0.5}, "dev": {metric: 0.527}},
        "less_is_better": list(less_is_better),
        "failed": failed,
        "cost": {"steps": 100, "seconds": seconds, "tokens": 1000, "peak_memory_bytes": 2**20},
        "start": None,
        "versions": {},
    }
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(result))
    (folder / "config.yaml").write_text("data: {}\n")
    (folder / "metrics.csv").write_text(
        "best/dev/accuracy,selection/accuracy,selection/score,step,train/loss\n"
        ",,,9,0.69\n,0.5,0.55,10,\n,0.6,0.65,20,\n0.7,,,21,\n"
    )
    if bench:
        (folder / "cell.json").write_text("{}")
    if predicted is not None:
        rows = list(range(len(predicted)))[::-1]
        logits = [[0.0, 1.0] if predicted[row] else [1.0, 0.0] for row in rows]
        (folder / "predictions").mkdir()
        table = pa.table({"row_id": rows, "label": [1] * len(rows), "logits": logits})
        pq.write_table(table, folder / "predictions" / "dev.parquet")
    return folder


def grid(
    runs: Path, arms: dict[str, Sequence[float | None]], task: str = "rte", family: Sequence[tuple[str, str]] = ()
) -> Path:
    """Runs of each method, one a seed, with the grid that they are of."""
    for method, scores in arms.items():
        for seed, score in enumerate(scores):
            record(runs / task / method / str(seed), score, task, seed, seconds=30.0 if method != "plain" else 10.0)
    seeds = max(map(len, arms.values()))
    content = {
        "tasks": [task],
        "methods": {method: [] for method in arms},
        "seeds": [{"init": s, "order": s, "split": s} for s in range(seeds)],
        "primary": [list(pair) for pair in family],
        "comparisons": [{"task": task, "method": method, "baseline": baseline} for method, baseline in family],
    }
    (runs / "grid.json").write_text(json.dumps(content))
    return runs
