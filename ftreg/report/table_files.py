"""A report's numbers go into files: its tables in Markdown, LaTeX and CSV, and all of it as JSON."""

import csv
import io
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from ftreg._base.atomic import write_atomically
from ftreg._base.json_files import null_for_nan
from ftreg.report.model import Comparison, Report
from ftreg.report.tables import comparisons, latex, markdown, summary


def as_json(report: Report) -> str:
    """Return the whole report: null where a number is undefined, `variances` by task and then by method."""
    content: dict[str, Any] = {**asdict(report), "variances": _nested(report.variances)}
    for run, entry in zip(report.runs, content["runs"], strict=True):
        entry["record"] = run.record.as_dict() if run.record else {}
    return f"{json.dumps(null_for_nan(content), indent=1, ensure_ascii=False)}\n"


def write(report: Report, out: Path) -> list[Path]:
    """Write `summary` and `comparisons` as md, tex and csv, and `report.json`, each whole; return their paths."""
    texts = {"report.json": as_json(report)}
    for table, numbers in ((summary(report), _summary_numbers), (comparisons(report), _comparison_numbers)):
        texts[f"{table.name}.md"] = markdown(table)
        texts[f"{table.name}.tex"] = latex(table)
        texts[f"{table.name}.csv"] = _csv(numbers(report))
    for name, text in texts.items():
        write_atomically(out / name, _writer(text))
    return [out / name for name in texts]


def _writer(text: str) -> Callable[[Path], Any]:
    return lambda path: path.write_text(text, encoding="utf-8", newline="")


def _csv(rows: Sequence[Mapping[str, object]]) -> str:
    """Return CSV with numbers in full; empty where one is undefined."""
    text = io.StringIO()
    if rows:
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: "" if v is None or (isinstance(v, float) and math.isnan(v)) else v for k, v in row.items()}
            for row in rows
        )
    return text.getvalue()


def _summary_numbers(report: Report) -> list[dict[str, object]]:
    scaled = ("mean", "std", "median", "min", "max", "low", "high")
    found: list[dict[str, object]] = []
    for arm in report.arms:
        values = {name: _hundredfold(v) if name in scaled else v for name, v in vars(arm.summary).items()}
        found.append({"task": arm.task, "method": arm.method, "metric": arm.metric, **values})
    return found


def _comparison_numbers(report: Report) -> list[dict[str, object]]:
    return [_numbers(one) for one in report.comparisons]


def _numbers(one: Comparison) -> dict[str, object]:
    gap, items = one.difference, one.items
    return {
        **{name: getattr(one, name) for name in ("task", "method", "baseline", "metric", "pairs")},
        "missing": " ".join(one.missing),
        "difference": _hundredfold(gap.estimate),
        "low": _hundredfold(gap.low),
        "high": _hundredfold(gap.high),
        "items_low": None if items is None else _hundredfold(items.low),
        "items_high": None if items is None else _hundredfold(items.high),
        **{name: getattr(one, name) for name in ("p", "adjusted", "p_wilcoxon", "p_variance", "epsilon", "cost_ratio")},
        "family": "primary" if one.primary else "exploratory",
    }


def _hundredfold(value: float) -> float:
    """Return 100 times a number, rounded where floating point would show."""
    return round(100 * value, 10)


def _nested(variances: Mapping[tuple[str, str], Mapping[str, float]]) -> dict[str, dict[str, Mapping[str, float]]]:
    found: dict[str, dict[str, Mapping[str, float]]] = {}
    for (task, method), shares in variances.items():
        found.setdefault(task, {})[method] = shares
    return found
