"""The fields of a task's declaration are checked: what each may hold, what is wrong with one, and the remedy.

Types come first, for a declaration may be a mapping that was read from a file. Nothing here imports torch.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from glue_tasks.kinds import KINDS, kind_of, kind_problems, metric_problems, nested_fields
from glue_tasks.shown import listed, nearest, quoted, shown

Fields = Mapping[Any, Any]
Problem = tuple[str, str]
"""The field, and a sentence that says what is wrong with it."""

GROUPINGS = ("shared", "contained", "none")


def problems(task: Fields) -> Iterator[Problem]:
    """Yield what is wrong with the fields of a task, worst first: names, then types, then what contradicts itself."""
    found = [*_unknown(task, TASK, "", "a task"), *_missing(task, ("name", "columns"), ""), *_wrong(task, TASK, "")]
    for group, (kinds, required) in NESTED.items():
        inner = nested_fields(task.get(group))
        if isinstance(inner, Mapping):
            place = f"{group}."
            inside = (
                *_unknown(inner, kinds, place, group),
                *_missing(inner, required, place),
                *_wrong(inner, kinds, place),
            )
            found += [(group, problem) for _, problem in inside]
    yield from found or _contradictions(task)


def _unknown(fields: Fields, kinds: Mapping[str, Any], place: str, what: str) -> Iterator[Problem]:
    for name in fields:
        if name not in kinds:
            unknown = shown(f"{place}{name}")
            yield str(name), f"no field {unknown}; {nearest(name, kinds)}{what} has {', '.join(kinds)}"


def _missing(fields: Fields, required: tuple[str, ...], place: str) -> Iterator[Problem]:
    for name in required:
        if name not in fields:
            yield name, f"{place}{name} is missing; it has no default"


def _wrong(fields: Fields, kinds: Mapping[str, Callable[[Any], str]], place: str) -> Iterator[Problem]:
    for name, value in fields.items():
        if name in kinds and (problem := kinds[name](value)):
            yield name, f"{place}{name}{' ' if problem.startswith('must') else ': '}{problem}"


# What a field may hold: each says what is wrong with a value, or nothing


def _word(value: Any) -> str:
    if isinstance(value, str):
        return ""
    if value is None:
        return "found null; leave the field out, or give text"
    if isinstance(value, bool):
        return f'found {shown(value)}, as YAML reads yes, no, on and off too; write it in quotes, "no" or "yes"'
    if isinstance(value, Mapping | list | tuple):
        return f"found {shown(value)}; expected one piece of text"
    return f'found {shown(value)}, which is no text; write it in quotes: "{value}"'[:300]


def _label(value: Any) -> str:
    if isinstance(value, list | tuple | Mapping):
        return f"found {shown(value)}; label names the column with the classes, the classes themselves are labels"
    return _word(value)


def _or_null(kind: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: "" if value is None else kind(value)


def _names(value: Any) -> str:
    if value is None:
        return "found null; write [] for none, or a list of names"
    if isinstance(value, str):
        return f"must be a list of names, not the string {shown(value)}; write [{value[:40]}]"
    if isinstance(value, Mapping):
        return f"found the mapping {shown(value)}; write a list of names, in the order of their ids"
    if not isinstance(value, list | tuple):
        return f"found {shown(value)}; expected a list of names"
    if all(isinstance(entry, str) for entry in value):
        return ""
    if any(isinstance(entry, bool) for entry in value):
        # no, off and false have all become False: what was written cannot be had back
        return f'found {shown(value)}: YAML reads no, yes, off and on as booleans; write them in quotes: ["no", "yes"]'
    if any(entry is None for entry in value):
        return f'found {shown(value)}: YAML reads null, ~ and nothing as no name; write it in quotes: ["null"]'
    if any(isinstance(entry, Mapping | list | tuple) for entry in value):
        return f"found {shown(value)}; expected a plain list of names"
    return f"found {shown(value)}, and names are text; write them in quotes: {shown([str(v) for v in value])}"


def _metrics(value: Any) -> str:
    if not isinstance(value, list | tuple):
        return _names(value)
    for entry in value:
        if not isinstance(entry, Mapping):
            continue
        path, arguments = entry.get("class_path"), entry.get("init_args")
        if not set(entry) <= {"class_path", "init_args"} or not isinstance(path, str):
            return f"found {shown(entry)}; a metric is a name, or a mapping with class_path and init_args"
        if arguments is not None and not isinstance(arguments, Mapping):
            return f"init_args of {shown(path)} is {shown(arguments)}; expected a mapping of its options"
    return _names([entry for entry in value if not isinstance(entry, Mapping)])


def _range(value: Any) -> str:
    if isinstance(value, list | tuple) and len(value) == 2 and all(map(_finite, value)):
        return ""
    return f"found {shown(value)}; expected the lowest and the highest target, such as [0, 5]"


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _grouping(value: Any) -> str:
    valid = f"{', '.join(GROUPINGS)}, or a list of columns"
    if isinstance(value, list | tuple):
        return _names(value)
    if value is None or value is False:
        return f"found {shown(value)}; write none for no grouping (it is one of {valid})"
    if value not in GROUPINGS:
        return f"unknown grouping {shown(value)}; {nearest(value, GROUPINGS)}choose from {valid}"
    return ""


def _kind(value: Any) -> str:
    if value in KINDS:
        return ""
    near = nearest(value, KINDS) if isinstance(value, str) else ""
    return f"found {shown(value)}; {near}choose from {', '.join(KINDS)}"


def _flag(value: Any) -> str:
    return "" if isinstance(value, bool) else f"found {shown(value)}; expected true or false"


def _counts(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(n, int) and not isinstance(n, bool) for n in value):
        return ""
    return f"found {shown(value)}; expected a list of whole numbers"


def _place(value: Any) -> str:
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return ""
    return f"found {shown(value)}; expected the number of a column, from 1"


def _renamed(value: Any) -> str:
    if isinstance(value, Mapping) and all(isinstance(name, str) for pair in value.items() for name in pair):
        return ""
    return f"found {shown(value)}; expected a mapping of our split to theirs, such as {{dev: validation}}"


def _group(name: str, example: str) -> Callable[[Any], str]:
    def kind(value: Any) -> str:
        if isinstance(value, Mapping) or type(value).__name__ == name.capitalize():
            return ""
        return f"found {shown(value)}; expected a mapping, such as {example}"

    return kind


TASK: Mapping[str, Callable[[Any], str]] = {
    "name": _word,
    "columns": _names,
    "labels": _names,
    "kind": _or_null(_kind),
    "metrics": _metrics,
    "title": _word,
    "train": _or_null(_word),
    "dev": _names,
    "test": _names,
    "range": _or_null(_range),
    "grouping": _grouping,
    "label": _label,
    "tsv": _or_null(_group("tsv", "{folder: [RTE]}")),
    "hub": _or_null(_group("hub", "{path: user/data}")),
    "server": _or_null(_group("server", "{files: [RTE.tsv], rows: [3000]}")),
    "separator": _word,
    "conll": _or_null(_group("conll", "{label: 4}")),
}
NESTED: Mapping[str, tuple[Mapping[str, Callable[[Any], str]], tuple[str, ...]]] = {
    "tsv": (
        {
            "folder": _names,
            "columns": _names,
            "label": _word,
            "values": _names,
            "header": _names,
            "file": _word,
            "drop_short_rows": _flag,
        },
        ("folder",),
    ),
    "hub": ({"path": _word, "config": _or_null(_word), "splits": _renamed, "revision": _or_null(_word)}, ("path",)),
    "server": ({"files": _names, "rows": _counts, "values": _names}, ("files", "rows")),
    "conll": ({"token": _place, "label": _or_null(_place), "header": _names}, ()),
}


# What contradicts itself, once every field has its type


def _contradictions(task: Fields) -> Iterator[Problem]:
    columns, labels, metrics = (tuple(task.get(name, ())) for name in ("columns", "labels", "metrics"))
    label, limits, grouping = task.get("label", "label"), task.get("range"), task.get("grouping", "shared")
    train, dev, test = task.get("train", "train"), tuple(task.get("dev", ("dev",))), tuple(task.get("test", ("test",)))
    splits = (*((train,) if train is not None else ()), *dev, *test)
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}", task["name"]):
        yield (
            "name",
            f"name: found {shown(task['name'])}; a name has letters, digits, _ . and -, at most 100, as a folder has",
        )
    if len(columns) not in (1, 2):
        yield "columns", f"columns must name one or two texts, not {len(columns)}"
    elif len({*columns, label, "idx"}) != len(columns) + 2:
        yield "columns", f"columns {shown(columns)}, the label column {shown(label)} and 'idx' must all differ"
    elif "label" in columns:
        yield (
            "columns",
            "a text column cannot be called 'label', as every table's label column is; rename it in the file",
        )
    if len(labels) == 1:
        yield "labels", f"labels: found only {shown(labels[0])}; name at least two classes, or none for a regression"
    if "" in labels:
        yield "labels", 'labels: a class has an empty name; call it something, such as "none"'
    if repeated := sorted(name for name, count in Counter(labels).items() if count > 1):
        yield "labels", f"labels repeat a name: {listed(repeated)}; name each class once"
    kind = kind_of(task.get("kind"), labels)
    yield from kind_problems(task, kind, columns, labels)
    yield from (("metrics", problem) for problem in metric_problems(metrics, kind, labels))
    if repeated := sorted(name for name, count in Counter(splits).items() if count > 1):
        yield (
            "dev",
            f"a split is declared twice: {listed(repeated)}; each belongs to one of train, dev and test ([] for none)",
        )
    if "selection" in splits:
        yield "dev", "'selection' is the split carved out of train; call yours something else"
    yield from (
        (field, f"{field}: found {shown(name)}; a split is called as a file may be, without / and not from a dot on")
        for field, names in (("train", splits[:1]), ("dev", dev), ("test", test))
        for name in names
        if not re.fullmatch(r"[^/\\\0.][^/\\\0]*", name)
    )
    if not splits:
        yield "train", "no split is declared; set train, dev or test"
    if limits is not None and labels:
        yield "range", f"range is for a regression, but there are labels ({listed(labels)}); leave one of them out"
    elif limits is not None and limits[0] >= limits[1]:
        yield "range", f"range {shown(limits)} is not low, high; the lowest target comes first"
    if not isinstance(grouping, str):
        if not grouping:
            yield "grouping", "grouping: an empty list groups by nothing; write none"
        elif strange := [name for name in grouping if name not in columns]:
            near = nearest(strange[0], columns)
            yield "grouping", f"grouping: {shown(strange[0])} is no text column; {near}choose from {quoted(columns)}"
    yield from _of_places(task, len(columns), len(labels), len(test))


def _of_places(task: Fields, columns: int, labels: int, tests: int) -> Iterator[Problem]:
    tsv, server = (nested_fields(task.get(name)) for name in ("tsv", "server"))
    for place, group, name, wanted, what in (
        ("tsv", tsv, "columns", columns, "as many columns as columns has"),
        ("tsv", tsv, "values", labels, "one entry per label"),
        ("server", server, "values", labels, "one entry per label"),
    ):
        if group is not None and len(group.get(name, ())) not in (0, wanted):
            yield place, f"{place}.{name} must have {what}, {wanted}; found {shown(group[name])}"
    if server is not None and not len(server["files"]) == len(server["rows"]) == tests:
        yield "server", f"server.files and server.rows must have one entry per test split, {tests}"
