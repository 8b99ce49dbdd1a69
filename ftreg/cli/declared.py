"""Tasks of one's own, in a command line and the files that it names, are checked before jsonargparse sees them.

It tries a task as a name, then as a declaration, and in the end says of neither what was wrong.
"""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg.cli.option_names import pairs, plain_value
from glue_tasks.auxiliary_tasks import AuxiliaryTask
from glue_tasks.errors import DataError
from glue_tasks.fields import problems
from glue_tasks.own_metric import import_classes
from glue_tasks.registry import task_of
from glue_tasks.shown import nearest, shown
from glue_tasks.written import written_out

TASK, ALSO = "data.task", "data.also"


def check_tasks(arguments: Sequence[str]) -> None:
    """Check `data.task` and `data.also` of the arguments after a subcommand.

    Raises:
        UsageError: the file, the field, and what it should be.
    """
    task: Any = None
    places: dict[str, str] = {}
    for key, value, place in _given(arguments):
        if key == ALSO:
            _check_beside(value, place)
        elif key == TASK and isinstance(value, Mapping) and value:
            # jsonargparse merges: what an earlier file says of other fields stays
            task = {**(task if isinstance(task, Mapping) else {}), **value}
            places |= {str(name): place for name in value} | {"": place}
        elif key == TASK:
            task, places = value, {"": place}
            if not isinstance(value, str):
                raise UsageError(f"{place}{TASK}: {_refusal(value)}")
        elif key.startswith(f"{TASK}."):
            field, _, inner = key.removeprefix(f"{TASK}.").partition(".")
            before = task if isinstance(task, Mapping) else {}
            task = {**before, field: {**_mapping(before.get(field)), inner: value} if inner else value}
            places |= {field: place, "": place}
    if isinstance(task, Mapping):
        field, _ = next(problems(task), ("", ""))
        try:
            import_classes(task_of(task))
        except DataError as error:
            raise UsageError(f"{places.get(field, places[''])}{TASK}: {error}") from error


def with_metrics(config: dict[str, Any]) -> dict[str, Any]:
    """Return a resolved configuration with its tasks as `glue_tasks.written.written_out` has them."""
    data = config.get("data") or {}
    for task in (data.get("task"), *(other.get("task") for other in data.get("also") or [])):
        if isinstance(task, dict):
            found = written_out(task)
            task.clear()
            task.update(found)
    return config


def _check_beside(value: Any, place: str) -> None:
    fields = [field.name for field in dataclasses.fields(AuxiliaryTask)]
    for entry in value if isinstance(value, list) else [] if value is None else [value]:
        if not isinstance(entry, Mapping) or "task" not in entry:
            raise UsageError(
                f"{place}{ALSO}: found {shown(entry)}; write each task as {{task: NAME}}, with its options"
            )
        for name in entry:
            if name not in fields:
                valid = ", ".join(fields)
                raise UsageError(f"{place}{ALSO}: no option {shown(name)}; {nearest(name, fields)}Valid: {valid}")
        try:
            import_classes(task_of(entry["task"]))
        except DataError as error:
            raise UsageError(f"{place}{ALSO}: {error}") from error


def _refusal(value: Any) -> str:
    try:
        task_of(value)
    except DataError as error:
        return str(error).removeprefix("task: ")
    return ""


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _given(arguments: Sequence[str]) -> Iterator[tuple[str, Any, str]]:
    """Yield (option, value, what a complaint begins with) of all that is said of the tasks, in order."""
    for option, text in pairs(arguments):
        if option in ("config", "c"):
            content = yaml_text.read_yaml(Path(text or ""), "check --config")
            yield from _of_group(_mapping(content).get("data"), f"{text}: ")
        elif option == "data":
            yield from _of_group(plain_value(text or "", option), "")
        elif option.startswith("data."):
            value = plain_value(text or "", option)
            # a word is what was typed: 5 and no are names on a command line
            as_typed = not isinstance(value, Mapping | list | None) and not option.endswith(".drop_short_rows")
            yield option, text if as_typed else value, ""


def _of_group(data: Any, place: str) -> Iterator[tuple[str, Any, str]]:
    for name, value in _mapping(data).items():
        yield f"data.{str(name).rstrip('+')}", value, place
