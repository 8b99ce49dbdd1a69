"""Runs are read from CSV files of other programs: a line for each score, or for each point of a learning curve."""

import csv
import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg._base.names import unknown
from ftreg.report.direction import ERRORS
from ftreg.report.loaded_runs import CHECKPOINTS, Choice, LoadedRuns
from ftreg.report.model import Run

NEEDED = ("task", "method", "seed", "score")
MORE = ("metric", "checkpoint", "majority", "step")
UNDEFINED = ("", "na", "n/a", "none", "null", "nan", "-nan")
UNNAMED = "score"
"""The metric of a file that does not name any."""
SPLIT = "reported"
"""The name under which a run's scores are kept: what split they are of is not said."""

Key = tuple[str, str, str]
"""Task, method, seed."""
CheckpointScores = dict[str, dict[str, float]]
"""{checkpoint: {metric: value}}"""


@dataclass
class _Lines:
    """The lines of one run say these things."""

    place: str
    scores: CheckpointScores = field(default_factory=dict)
    majority: dict[str, float] = field(default_factory=dict)


def read_csv(paths: Sequence[Path], choice: Choice, found: LoadedRuns) -> None:
    """Add the runs of the files.

    A file with the column `step` has learning curves; they are kept for runs of the same task, method and seed.

    Raises:
        UsageError: not CSV, a column is missing, or a line is malformed: with its number.
    """
    lines: dict[Key, _Lines] = {}
    curves: dict[Key, dict[str, list[tuple[int, float]]]] = {}
    headers: set[str] = set()
    for path in paths:
        _read_lines(path, choice, lines, curves, found, headers)
    absent = [(name, column) for name, column in choice.columns.items() if column not in headers]
    if absent:
        name, column = absent[0]
        raise UsageError(f"--columns {name}={column}: {unknown('no column', column, sorted(headers))}")
    first: dict[str, str] = {}
    for (task, *_), of_run in lines.items():
        for scores in of_run.scores.values():
            first.setdefault(task, choice.metric(list(scores)))
    both = 0
    for key, of_run in lines.items():
        checkpoint, several = _checkpoint(of_run, choice)
        both += several
        metric, scores = first[key[0]], of_run.scores[checkpoint]
        if metric not in scores:
            raise UsageError(f"{of_run.place}: no line has {metric} of this run, as of others on {key[0]}; add it")
        points = curves.get(key, {})
        majority = of_run.majority.get(metric)
        score = scores[metric]
        found.runs.append(
            Run(
                *key,
                metric=metric,
                checkpoint=checkpoint,
                score=score,
                scores={SPLIT: of_run.scores},
                majority=majority,
                failed=None if majority is None else not score > majority,
                curve=tuple(sorted(points.get(metric, points.get(UNNAMED, [])))),
                place=of_run.place,
            )
        )
    if both:
        found.notes.append(
            f"{both} runs of CSV files have the scores of their best and of their last checkpoint: the last is "
            f"reported, since the best may have been chosen on the rows that it is scored on"
        )


def _read_lines(
    path: Path,
    choice: Choice,
    lines: dict[Key, _Lines],
    curves: dict[Key, dict[str, list[tuple[int, float]]]],
    found: LoadedRuns,
    headers: set[str],
) -> None:
    rows = list(_rows(path, choice, headers))
    for place, row in rows:
        if row.get("metric", "").lower() in ERRORS:
            what = f"less of {row['metric']} is better, and a report of a CSV file is of scores"
            raise UsageError(f"{place}: {what}; leave those lines out")
    # Published scores are in points as often as not.
    largest = max((abs(value) for _, row in rows if math.isfinite(value := _number(row["score"]))), default=0.0)
    if largest > 100:
        raise UsageError(f"{path}: a score is {largest:g}; give scores up to 1, or in points up to 100")
    unit = 100 if largest > 1 else 1
    if unit == 100:
        _one_unit(path, rows)
        found.notes.append(f"{path}: its scores are read as points, of 100")
    for place, row in rows:
        key = row["task"], row["method"], row["seed"]
        metric, value = row.get("metric") or UNNAMED, _number(row["score"]) / unit
        if "step" in row:
            step = _number(row["step"])
            if not step.is_integer():
                raise UsageError(f"{place}: step is {row['step']!r}; give a whole number")
            curves.setdefault(key, {}).setdefault(metric, []).append((int(step), value))
            continue
        of_run = lines.setdefault(key, _Lines(place))
        scores = of_run.scores.setdefault(row.get("checkpoint", ""), {})
        if metric in scores:
            raise UsageError(
                f"{place}: {metric} of task {key[0]}, method {key[1]}, seed {key[2]} is there already, with the run "
                f"that starts at {of_run.place}; leave one out"
            )
        scores[metric] = value
        majority = _number(row.get("majority", ""))
        if majority > 1 if unit == 1 else 0 < majority <= 1:
            raise UsageError(f"{place}: majority is {majority:g}, and scores are up to {unit}; give both in one unit")
        if math.isfinite(majority):
            of_run.majority[metric] = majority / unit


def _one_unit(path: Path, rows: Sequence[tuple[str, Mapping[str, str]]]) -> None:
    """Refuse a metric whose scores look like fractions among scores that are points."""
    largest: dict[str, float] = {}
    for _, row in rows:
        name, value = f"{row['task']}'s {row.get('metric') or UNNAMED}", abs(_number(row["score"]))
        if "step" not in row and math.isfinite(value):
            largest[name] = max(value, largest.get(name, 0.0))
    small = next((name for name, value in largest.items() if 0 < value <= 1), None)
    if small is not None:
        raise UsageError(f"{path}: {small} is 1 or less in every line, and other scores are points; give one unit")


def _rows(path: Path, choice: Choice, headers: set[str]) -> Iterator[tuple[str, dict[str, str]]]:
    """Yield (`file:line`, the values of known columns) of each line, checked."""
    try:
        with open(ordinary(path, most=None), encoding="utf-8-sig", newline="") as file:
            head = file.readline()
            delimiter = max(",;\t", key=head.count)
            reader = csv.reader(itertools.chain([head], file), delimiter=delimiter, strict=True)
            header = [name.strip() for name in next(reader, [])]
            headers.update(header)
            columns = _columns(path, header, choice.columns)
            for values in reader:
                place = f"{path}:{reader.line_num}"
                if not values:
                    continue
                if len(values) != len(header):
                    raise UsageError(f"{place}: {len(values)} values for {len(header)} columns; mend the line")
                row = {name: values[at].strip() for name, at in columns.items()}
                _check_line(place, row)
                yield place, row
    except (csv.Error, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not a CSV file in UTF-8 ({error}); give one with a header line") from None


def _columns(path: Path, header: list[str], given: Mapping[str, str]) -> dict[str, int]:
    """Return where each known column is; what `--columns` names and a file has not is of another file."""
    found = {}
    for name in (*NEEDED, *MORE):
        column = next((column for column in (given.get(name), name) if column in header), None)
        if column is not None:
            found[name] = header.index(column)
        elif name in NEEDED:
            also = f" or {given[name]!r}" if name in given else ""
            raise UsageError(
                f"{path}:1: no column {name!r}{also} among {', '.join(header) or 'none'}; "
                f"say which it is with --columns {name}=NAME"
            )
    return found


def _check_line(place: str, row: Mapping[str, str]) -> None:
    for name in ("task", "method", "seed"):
        if not row[name]:
            raise UsageError(f"{place}: {name} is empty; mend the line")
        if not row[name].isprintable():
            raise UsageError(f"{place}: {name} is {row[name]!r}, with what cannot be printed; mend the line")
    for name in ("score", "majority", "step"):
        try:
            _number(row.get(name, ""))
        except ValueError:
            raise UsageError(f"{place}: {name} is {row[name]!r}; give a number, or nan for a diverged run") from None
    if row.get("checkpoint", "last") not in CHECKPOINTS:
        raise UsageError(f"{place}: checkpoint is {row['checkpoint']!r}; it must be one of {', '.join(CHECKPOINTS)}")


def _number(text: str) -> float:
    return math.nan if text.lower() in UNDEFINED else float(text)


def _checkpoint(of_run: _Lines, choice: Choice) -> tuple[str, bool]:
    """Return the checkpoint that is reported, and whether it was chosen here between two."""
    has = list(of_run.scores)
    if "" in has and len(has) > 1:
        raise UsageError(f"{of_run.place}: some lines of this run name their checkpoint and others do not; name all")
    if choice.checkpoint in has:
        return choice.checkpoint, False
    if choice.checkpoint and has != [""]:
        raise UsageError(f"{of_run.place}: only the {has[0]} checkpoint has a score; leave --checkpoint out")
    return ("last", True) if len(has) > 1 else (has[0], False)
