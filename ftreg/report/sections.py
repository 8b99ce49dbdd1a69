"""The page has sections: verdicts, tables, figures, settings, references."""

import base64
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean

from ftreg._base.errors import UsageError
from ftreg.cli import citation
from ftreg.report import style
from ftreg.report.html import Html, cell, element, join, table
from ftreg.report.model import Arm, Comparison, Report
from ftreg.report.statistics import Interval
from ftreg.report.svg_charts import interval, reach
from ftreg.report.verdict import bracket, counted, probability, significant, title
from ftreg.run.provenance import Fit, from_folder, from_result
from ftreg.run.result import RunResult
from ftreg.run.wording import points

BADGES = {"better": "▲ better", "worse": "▼ worse", "open": "○ not told apart", "few": "◌ too few pairs"}
SCREEN = 120
"""Pixels of the page to an inch of a figure."""
CAPTIONS = {
    "curves": "Scores during training, on the split that it watches: the median over seeds, with bands for the middle "
    "half and the middle 80 %. A diverged evaluation counts as lower than all others.",
    "expected": "The best score to be expected of a number of runs, by the unbiased estimator.",
    "cost": "Mean score against what a run costs, as a multiple of the baseline's. Hollow: the baseline at that "
    "method's compute.",
    "wins": "Almost stochastic order: ε_min of each comparison, with the corrected p and the number of pairs. Below "
    "0.5 the method almost dominates; a frame marks what is significant. Where there is no difference ε_min says "
    "little: read it beside p.",
}


def outcome(comparison: Comparison, alpha: float) -> str:
    """Return `better` or `worse` by the corrected p and the sign; else `few`, if n could give neither, or `open`."""
    if not significant(comparison, alpha) or comparison.difference.estimate == 0:
        return "open" if comparison.enough else "few"
    return "better" if comparison.difference.estimate > 0 else "worse"


def verdicts(report: Report) -> Html:
    """Return a card for each method: on how many tasks it is better, then each task's verdict and warnings."""
    looks = style.looks(report)
    cards = []
    for name in style.rivals(report):
        own = [one for one in report.comparisons if style.rival(one, report) == name]
        found = [outcome(one, report.alpha) for one in own]
        far = reach(own)
        entries = [_verdict(one, result, far) for one, result in zip(own, found, strict=True)]
        colour = looks[own[0].method].colour if own[0].method in looks else style.BASELINE
        cards.append(
            element(
                "article",
                element(
                    "h3", element("i", class_="chip"), own[0].method, element("small", f" against {own[0].baseline}")
                ),
                element("p", _headline(own[0], found), class_="headline"),
                element("ul", *entries),
                data_method=own[0].method,
                style=f"--c:{colour}",
            )
        )
    return join(*cards) if cards else element("p", "No method is compared with a baseline here.")


def _headline(one: Comparison, found: list[str]) -> str:
    tasks = counted(len(found), "task")
    counts = [f"{word} on {found.count(word)}" for word in ("better", "worse") if word in found]
    if not counts:
        told = "Too few pairs to tell it apart from" if set(found) == {"few"} else "Not told apart from"
        return f"{told} {one.baseline} on {f'any of {tasks}' if len(found) > 1 else 'the task'}."
    undecided = found.count("open") + found.count("few")
    rest = f", not told apart on {undecided}" if undecided else ""
    return f"{' and '.join(counts).capitalize()} of {tasks}{rest}."


def _verdict(one: Comparison, result: str, far: float) -> Html:
    told = f"{points(one.difference.estimate, signed=True)} {bracket(one.difference)} points of {one.metric}"
    kind = element("small", " exploratory") if not one.primary else ""
    return element(
        "li",
        element(
            "div",
            element("b", title(one.task)),
            element("span", BADGES[result], class_=f"badge {result}"),
            kind,
            class_="top",
        ),
        element("div", interval(one.difference, far), element("small", told), class_="difference"),
        element("p", one.verdict),
        warnings(one.warnings),
        data_task=one.task,
        data_method=one.method,
    )


def warnings(texts: Sequence[str]) -> Html:
    """Return a paragraph for each warning."""
    return join(*(element("p", "⚠ ", text, class_="warning") for text in texts))


def summaries(report: Report) -> Html:
    """Return a table of every arm, described."""
    heads = (
        ("Task", "Method", "Metric"),
        ("n", "Mean", "95 % interval", "SD", "Median", "Min", "Max", "Diverged", "Failed"),
    )
    unit = next((unit for unit in ("seconds", "steps") if any(unit in run.cost for run in report.runs)), None)
    rows = []
    for task in style.tasks(report):
        for arm in style.arms(report, task):
            s = arm.summary
            span = bracket(Interval(s.mean, s.low, s.high))
            failed = cell("–") if s.failed is None else cell(str(s.failed), float(s.failed))
            numbers = [
                (s.mean, points(s.mean)),
                (s.low, span),
                *((x, points(x)) for x in (s.std, s.median, s.min, s.max)),
            ]
            cells = [cell(text, value) for value, text in numbers]
            names = [cell(name, name) for name in (title(arm.task), arm.method, arm.metric)]
            row = [*names, cell(str(s.n), float(s.n)), *cells, cell(str(s.diverged), float(s.diverged)), failed]
            rows.append(
                element("tr", *row, *([_cost(arm, unit)] if unit else []), data_task=arm.task, data_method=arm.method)
            )
    extra = ((f"{unit.capitalize()} a run", True),) if unit else ()
    named = (*((name, False) for name in heads[0]), *((name, True) for name in heads[1]), *extra)
    return table(
        "Scores × 100 over seeds. Means, spreads and quantiles are of the runs that did not diverge.", named, rows
    )


def _cost(arm: Arm, unit: str) -> Html:
    known = [run.cost[unit] for run in arm.runs if math.isfinite(run.cost.get(unit, math.nan))]
    return cell(f"{fmean(known):,.0f}", fmean(known)) if known else cell("–")


def comparisons(report: Report) -> Html:
    """Return a table of every comparison, with its tests."""
    names = ("Task", "Method", "Against", "Outcome")
    numbers = (
        "Pairs",
        "Difference",
        "95 % interval",
        "p corrected",
        "p",
        "ε_min",
        "Cost ×",
        "p Wilcoxon",
        "p variances",
    )
    items = any(one.items for one in report.comparisons)
    rows = []
    for one in report.comparisons:
        d, ratio = one.difference, one.cost_ratio
        word = BADGES[outcome(one, report.alpha)] + ("" if one.primary else ", exploratory")
        texts = [cell(text, text) for text in (title(one.task), one.method, one.baseline, word)]
        cells = [
            cell(str(one.pairs), float(one.pairs)),
            cell(points(d.estimate, signed=True), d.estimate),
            cell(bracket(d), d.low),
            *(cell(probability(p), p) for p in (one.adjusted, one.p)),
            cell(f"{one.epsilon:.2f}" if math.isfinite(one.epsilon) else "–", one.epsilon),
            cell("–") if ratio is None else cell(f"{ratio:.2f}", float(ratio)),
            *(cell(probability(p), p) for p in (one.p_wilcoxon, one.p_variance)),
        ]
        if items:
            cells.append(cell("–") if one.items is None else cell(bracket(one.items), one.items.low))
        rows.append(element("tr", *texts, *cells, data_task=one.task, data_method=one.method))
    heads = (
        *((name, False) for name in names),
        *((name, True) for name in (*numbers, *(["Over seeds × items"] if items else []))),
    )
    caption = f"Differences × 100, paired by seed. p: sign-flip test, corrected by Holm; level {report.alpha:g}."
    return table(caption, heads, rows)


def averages(report: Report) -> Html:
    """Return the mean over tasks by method; nothing where there is none."""
    if not report.averages:
        return Html()
    rows = []
    for name, mean in sorted(report.averages.items(), key=lambda one: -one[1].estimate):
        span = bracket(mean)
        rows.append(
            element(
                "tr",
                cell(name, name),
                cell(points(mean.estimate), mean.estimate),
                cell(span, mean.low),
                data_method=name,
            )
        )
    heads = ("Method", False), ("Mean over tasks", True), ("95 % interval", True)
    return table(
        f"Mean score × 100 over {', '.join(map(title, report.averaged))}, of the runs that did not diverge.",
        heads,
        rows,
    )


def variances(report: Report) -> Html:
    """Return shares of variance, where seeds are crossed; nothing where they are not."""
    if not report.variances:
        return Html()
    parts = tuple(dict.fromkeys(part for shares in report.variances.values() for part in shares))
    rows = []
    for (task, method), shares in report.variances.items():
        cells = [cell(_share(shares, part), float(shares.get(part, math.nan))) for part in parts]
        names = cell(title(task), title(task)), cell(method, method)
        rows.append(element("tr", *names, *cells, data_task=task, data_method=method))
    heads = ("Task", False), ("Method", False), *((part.capitalize(), True) for part in parts)
    return table("Where the variance over seeds comes from, as shares.", heads, rows)


def _share(shares: Mapping[str, float], part: str) -> str:
    value = shares.get(part, math.nan)
    return f"{100 * value:.0f} %" if math.isfinite(value) else "–"


def pictures(figures: Mapping[str, Path]) -> Html:
    """Return figures as they are, inside the page; the seeds are drawn by the page itself."""
    found = []
    for name, path in figures.items():
        if name != "seeds" and path.suffix == ".png":
            source = f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
            caption = CAPTIONS.get(name, name)
            # A PNG says how many pixels wide it is in bytes 16 to 20.
            wide = int.from_bytes(path.read_bytes()[16:20]) * SCREEN // style.DPI
            image = element("img", src=source, alt=caption, width=wide)
            frame = element("div", image, class_="scroll", tabindex=0, role="region", aria_label=f"Figure: {name}")
            found.append(element("figure", frame, element("figcaption", caption)))
    return join(*found)


def settings(report: Report) -> Html:
    """Return what each method's runs were made with, from their records."""
    rows = []
    for name in style.methods(report):
        records = [run.record for run in report.runs if run.method == name and run.record]
        if records:
            told = {
                "Methods": _distinct(_call(record) for record in records),
                "Tasks and sources": _distinct(f"{record.task} of {record.source or '?'}" for record in records),
                "Backbone": _distinct(record.backbone or "?" for record in records),
                "Protocol": _distinct(record.protocol for record in records),
                "Versions": _distinct(
                    ", ".join(f"{k} {v}" for k, v in (record.versions or {}).items()) for record in records
                ),
            }
            pairs = [part for key, text in told.items() if text for part in (element("dt", key), element("dd", text))]
            rows.append(element("div", element("h3", name), element("dl", *pairs), data_method=name))
    if not rows:
        rows = [element("p", "The runs come without records of their settings.")]
    sources = element("ul", *(element("li", element("code", source)) for source in report.sources))
    return join(*rows, element("h3", "Read from"), sources)


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(sorted(set(texts)))


def _call(result: RunResult) -> str:
    """Return `Mixout(p=0.7)`, or what stands for no method."""
    calls = (
        f"{method.name}({', '.join(f'{key}={json.dumps(value)}' for key, value in method.options.items())})"
        for method in result.methods
    )
    return " + ".join(calls) or "no method: plain fine-tuning"


def _fit(result: RunResult, place: str) -> Fit:
    """Read a run's configuration, which has its loggers and its decay too; its record where a method is unknown."""
    try:
        return from_folder(Path(place))
    except UsageError:
        return from_result(result, place)


def references(report: Report) -> Html:
    """Return BibTeX of what the runs and this report use."""
    fits = {}
    for run in report.runs:
        try:
            # Seeds cite alike: one record a cell and configuration will do.
            if run.record and (key := (run.task, run.method, _call(run.record))) not in fits:
                fits[key] = _fit(run.record, run.place)
        except UsageError:
            continue
    text = citation.render(citation.cited(fits.values(), statistics=True))
    copy = element("button", "Copy", type="button", id="copy")
    return join(element("summary", "BibTeX of what was used"), copy, element("pre", text, id="bibtex", tabindex=0))
