"""The page of a report is one HTML file with everything in it, that opens from disk and fetches nothing."""

import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

from ftreg import __version__
from ftreg._base.atomic import write_atomically
from ftreg._base.json_files import null_for_nan
from ftreg.report import sections, style, svg_charts
from ftreg.report.html import Html, element, join
from ftreg.report.model import Report
from ftreg.report.verdict import counted, title


def write(report: Report, out: Path, figures: Mapping[str, Path]) -> Path:
    """Write `index.html` into the folder `out`, and return its path.

    Args:
        figures: PNG files by name, as `ftreg.report.figures.draw` returns them; they are put inside the page.
    """
    path = out / "index.html"
    text = compose(report, figures)
    write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
    return path


def compose(report: Report, figures: Mapping[str, Path]) -> str:
    """Return the page's text."""
    tasks, methods = style.tasks(report), style.methods(report)
    notes = Html()
    if report.notes:
        notes = join(element("h2", "Notes"), element("ul", *(element("li", note) for note in report.notes)))
    parts: dict[str, Html] = {
        "title": join(report.title),
        "lead": join(_lead(report)),
        "filters": join(_filter("Task", "task", tasks), _filter("Method", "method", methods)),
        "warnings": sections.warnings(report.warnings),
        "verdicts": sections.verdicts(report),
        "notes": notes,
        "seeds": svg_charts.seeds(report),
        "averages": sections.averages(report),
        "summaries": sections.summaries(report),
        "comparisons": sections.comparisons(report) if report.comparisons else Html(),
        "variances": sections.variances(report),
        "figures": sections.pictures(figures),
        "settings": sections.settings(report),
        "references": sections.references(report),
        "version": join(__version__),
        "data": Html(embed(payload(report))),
    }
    template = (resources.files("ftreg.report") / "page.html").read_text(encoding="utf-8")
    # In one pass, so that what is filled in is never itself a place to fill.
    return re.sub(r"\{\{(\w+)\}\}", lambda place: parts[place[1]], template)


def payload(report: Report) -> dict[str, Any]:
    """Return what the page's script reads: the runs without their records, and what was concluded of them."""
    names = "task", "method", "seed", "metric", "checkpoint", "score", "failed", "majority", "cost", "place"
    return {
        "title": report.title,
        "baseline": report.baseline,
        "alpha": report.alpha,
        "sources": report.sources,
        "runs": [{name: getattr(run, name) for name in names} for run in report.runs],
        "comparisons": [asdict(one) for one in report.comparisons],
        "warnings": report.warnings,
        "notes": report.notes,
    }


def embed(value: Any) -> str:
    """Return JSON that may stand inside a script element: nothing in it can end that."""
    text = json.dumps(null_for_nan(value), ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


def _lead(report: Report) -> str:
    tasks, methods = len(style.tasks(report)), len(style.methods(report))
    lost = sum(arm.summary.diverged for arm in report.arms)
    runs = f"{counted(len(report.runs), 'run')} of {counted(methods, 'method')} on {counted(tasks, 'task')}"
    return f"{runs}; the baseline is {report.baseline}. {lost or 'None'} of them diverged."


def _filter(name: str, kind: str, values: tuple[str, ...]) -> Html:
    boxes = [
        element(
            "label",
            element("input", type="checkbox", checked=True, data_kind=kind, value=value),
            title(value) if kind == "task" else value,
        )
        for value in values
    ]
    return element("fieldset", element("legend", name), *boxes)
