"""A task is of one of four kinds, by what it predicts, and each kind has its metrics.

single_label   one class a row
multi_label    any subset of the labels a row, none of them too
regression     a number a row
tokens         one label a token: entities as tags (O, B-PER, I-PER), or parts of speech and the like

Nothing here imports torch.
"""

from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal, get_args

from glue_tasks.shown import listed, nearest, shown
from glue_tasks.tags import are_tags, no_tag

Kind = Literal["single_label", "multi_label", "regression", "tokens"]
KINDS: tuple[Kind, ...] = get_args(Kind)

METRICS: Mapping[Kind, tuple[str, ...]] = MappingProxyType(
    {
        "single_label": ("accuracy", "f1", "macro_f1", "micro_f1", "matthews"),
        "multi_label": ("micro_f1", "macro_f1", "subset_accuracy"),
        "regression": ("pearson", "spearman", "mse", "mae"),
        "tokens": ("entity_f1", "entity_precision", "entity_recall", "accuracy"),
    }
)
"""The metrics of each kind that go by a name; see `glue_tasks.metrics`."""
_CALLED: Mapping[Kind, str] = {
    "single_label": "a classification",
    "multi_label": "a multi_label task",
    "regression": "a regression (no labels)",
    "tokens": "a task of kind tokens",
}


def kind_of(kind: Kind | None, labels: Sequence[str]) -> Kind:
    """Return the kind of a task: as declared; else one class of the labels, or a number where there are none."""
    return kind or ("single_label" if labels else "regression")


def default_metrics(kind: Kind | None, labels: Sequence[str]) -> tuple[str, ...]:
    """Return the metrics of a task that declares none.

    An unbounded error says little without a scale, so none is among a regression's. A task of tokens is scored by its
    entities, where its labels are tags of some.
    """
    found = kind_of(kind, labels)
    if found == "tokens":
        return ("entity_f1", "accuracy") if are_tags(labels) else ("accuracy",)
    return {"single_label": ("accuracy",), "multi_label": ("micro_f1", "macro_f1")}.get(found, ("pearson", "spearman"))


def metric_name(metric: str | Mapping[str, Any]) -> str:
    """Return what a metric is called in records and tables: a class by its name without modules."""
    path = metric if isinstance(metric, str) else str(metric["class_path"])
    return path.rpartition(".")[2]


def metric_problems(metrics: Sequence[str | Mapping[str, Any]], kind: Kind, labels: Sequence[str]) -> Iterator[str]:
    """Yield what is wrong with the metrics of a task, a sentence each."""
    allowed, called = METRICS[kind], _CALLED[kind]
    names = [metric_name(metric) for metric in metrics]
    for name, metric in zip(names, metrics, strict=True):
        named = isinstance(metric, str) and "." not in metric
        if named and metric not in allowed:
            own = ", or give a class path" if kind != "tokens" else ""
            yield (
                f"metric {shown(metric)} does not suit {called}; {nearest(metric, allowed)}choose from "
                f"{', '.join(allowed)}{own}"
            )
        elif not named and kind == "tokens":
            yield f"metric {shown(name)}: {called} takes no class path; choose from {', '.join(allowed)}"
        elif name.startswith("entity_") and kind == "tokens" and not are_tags(labels):
            strange = no_tag(labels)
            found = f"{shown(strange)} is none" if strange is not None else "there is only O"
            yield f"{name} needs labels that are tags, such as O, B-PER and I-PER, and {found}; choose accuracy"
        if metric == "f1" and len(labels) > 2:
            yield f"f1 needs two classes, not {len(labels)}; macro_f1 and micro_f1 take any number"
        if names.count(name) > 1:
            yield f"metrics repeat {shown(name)}; name each once"


def kind_problems(
    task: Mapping[Any, Any], kind: Kind, columns: Sequence[str], labels: Sequence[str]
) -> Iterator[tuple[str, str]]:
    """Yield what does not go with the kind of a task: a field, and a sentence."""
    if kind == "regression" and labels:
        yield "kind", f"kind is regression, but there are labels ({listed(labels)}); leave one of them out"
    elif kind != "regression" and not labels:
        yield "kind", f"kind is {kind}, and there are no labels; name them, in the order of their ids"
    if kind == "tokens" and len(columns) != 1:
        yield "columns", f"kind is tokens, so columns must name one, that of the tokens, not {len(columns)}"
    for place in ("tsv", "server"):
        if kind in ("tokens", "multi_label") and task.get(place) is not None:
            yield place, f"{place} is of the GLUE tasks, none of which is of kind {kind}; leave it out"
    separator, conll = task.get("separator", ","), nested_fields(task.get("conll"))
    if kind != "multi_label" and separator != ",":
        yield (
            "separator",
            "separator stands between the labels of a row, which kind multi_label alone has; leave it out",
        )
    elif kind == "multi_label":
        yield from (("separator", problem) for problem in _of_separator(separator, labels))
    if conll is None:
        return
    if kind != "tokens":
        yield "conll", f"conll is of files with a token a line, for kind tokens, not {kind}; leave it out"
    else:
        yield from (("conll", problem) for problem in _of_conll(conll, [*columns, task.get("label", "label")]))


def _of_separator(separator: str, labels: Sequence[str]) -> Iterator[str]:
    if not separator.strip() and separator != "\t":
        yield f"separator: found {shown(separator)}; give what stands between the names in a cell, such as a comma"
    for label in labels:
        if separator in label:
            yield (
                f"labels: {shown(label)} holds the separator {shown(separator)}; declare another, such as "
                f"separator: {'|' if separator != '|' else ';'}"
            )
        elif label != label.strip() or label.startswith("["):
            yield f"labels: {shown(label)} begins or ends with a space, or begins with [; call it something else"


def _of_conll(conll: Mapping[Any, Any], names: Sequence[str]) -> Iterator[str]:
    token, label, header = conll.get("token", 1), conll.get("label"), tuple(conll.get("header", ()))
    if header and (token != 1 or label is not None):
        yield "conll.header names the columns, so conll.token and conll.label need no number; leave them out"
    elif token == label:
        yield f"conll.token and conll.label are both {token}; the token and its label are in two columns"
    for name in names if header else ():
        if header.count(name) != 1:
            yield f"conll.header {shown(list(header))} must name {shown(name)} once, one of the task's columns"


def nested_fields(group: Any) -> Mapping[Any, Any] | None:
    """Return the fields of a nested part of a declaration, be it a mapping or made of one; None where there is none."""
    return group if group is None or isinstance(group, Mapping) else getattr(group, "__dict__", None)
