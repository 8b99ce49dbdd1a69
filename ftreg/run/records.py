"""The JSON files that a run, a bench and a grid keep are read by one reader; what each holds is declared.

A file may hold more than is declared here. What is declared is there and of its type, or the file is refused in a line
that names the key. What `result.json` holds is declared in `ftreg.run.result`. Nothing here imports torch.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from functools import cache
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg.run.places import CELL, ERROR, GRID, RESULT
from glue_tasks.shown import shown

LACKING, NULL = "lacking", "null"
"""Keys of a field's metadata: whether a file may lack the field, and whether one that has it may have null."""


class SeedNumbers(TypedDict):
    """The three seeds of a run, as `grid.json` has them."""

    init: int
    order: int
    split: int


class CellRecord(TypedDict):
    """`cell.json`: the cell of a grid that runs in the folder."""

    name: NotRequired[str]
    identity: NotRequired[str]
    arguments: NotRequired[list[str]]
    seconds: NotRequired[float]


class FailureRecord(TypedDict):
    """`error.json`: how a run failed."""

    line: str
    exit_code: NotRequired[int]
    identity: NotRequired[str | None]
    when: NotRequired[str]


class Compared(TypedDict):
    """One comparison of a grid's primary family."""

    task: str
    method: str
    baseline: str


class GridRecord(TypedDict):
    """`grid.json`: what the runs below it are for."""

    tasks: list[str]
    methods: dict[str, list[str]]
    seeds: list[SeedNumbers]
    comparisons: list[Compared]
    primary: NotRequired[list[list[str]]]


class Matched(TypedDict):
    """An arm of `matched.json`: what its steps cost."""

    cost: float
    seconds_per_step: dict[str, float | None]


class Tuned(TypedDict):
    """An arm of `tuned.json`: its setting, among others."""

    chosen: int
    settings: list[dict[str, Any]]


MatchedArms = dict[str, dict[str, Matched]]
TunedArms = dict[str, dict[str, Tuned]]
Submitted = dict[str, str]
"""`submitted.json`: the job of each cell."""

KINDS: dict[str, Any] = {
    CELL: CellRecord,
    ERROR: FailureRecord,
    GRID: GridRecord,
    "matched.json": MatchedArms,
    "tuned.json": TunedArms,
    "submitted.json": Submitted,
}
"""What every reader of a file needs at least, by the file's name."""
WHAT = {RESULT: "the record of a run", GRID: "the record of a grid"}
DEEPEST = 50
"""The most levels of a file."""
LARGEST = 2**63
TYPES = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def read_record(path: Path, kind: Any = None) -> dict[str, Any]:
    """Return what a file holds; nothing if it is not there.

    Args:
        kind: a TypedDict or a dataclass that declares it; by default that of the file's name.

    Raises:
        UsageError: it holds something else.
    """
    try:
        content = _parse(ordinary(path).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return {}
    except RecursionError:
        raise UsageError(f"{path}: not the JSON that ftreg writes (it is nested too deeply); take it away") from None
    except (ValueError, OSError) as error:
        why = " ".join(str(getattr(error, "strerror", None) or error).split())[:200]
        raise UsageError(f"{path}: not the JSON that ftreg writes ({why}); take it away") from None
    why = record_fault(content, kind or KINDS[path.name])
    if why:
        what = WHAT.get(path.name, "what ftreg writes there")
        raise UsageError(f"{path}: not {what} ({why}); run it again, or take the file away")
    return dict(content)


def record_fault(value: Any, kind: Any, at: str = "") -> str:
    """Say where a value is not of its declared type, and how; nothing if it is.

    Args:
        at: the keys that lead to it.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return ""
    if _optional(kind):
        return "" if value is None else record_fault(value, _other_than_none(kind), at)
    if is_typeddict(kind) or is_dataclass(kind) or origin in (dict, Mapping):
        if not isinstance(value, dict):
            return _unlike(value, "keys with values", at)
        if origin is not None:
            return _first(record_fault(item, inner[1], _key(at, name)) for name, item in value.items())
        hints, needed = _declared(kind)
        missing = next((name for name in sorted(needed) if name not in value), None)
        return (
            f"{_key(at, missing)} is missing"
            if missing
            else _first(
                record_fault(value[name], hint, _key(at, name)) for name, hint in hints.items() if name in value
            )
        )
    if origin in (list, tuple):
        if not isinstance(value, list):
            return _unlike(value, "a list", at)
        return _first(record_fault(item, inner[0], _key(at, str(number))) for number, item in enumerate(value))
    fits = type(value) is kind or (kind is float and type(value) is int)
    return "" if fits and (not isinstance(value, int) or abs(value) < LARGEST) else _unlike(value, TYPES[kind], at)


def built(value: Any, kind: Any) -> Any:
    """Return what a value that has no fault stands for: dataclasses for objects, tuples for lists."""
    origin, inner = get_origin(kind), get_args(kind)
    if _optional(kind):
        return None if value is None else built(value, _other_than_none(kind))
    if is_dataclass(kind):
        made: Any = kind
        return made(**{name: built(value[name], hint) for name, hint in _declared(made)[0].items() if name in value})
    if origin is Mapping:
        return {name: built(item, inner[1]) for name, item in value.items()}
    return tuple(built(item, inner[0]) for item in value) if origin is tuple else value


@cache
def _declared(kind: Any) -> tuple[dict[str, Any], frozenset[str]]:
    """Return the type of each key, and the keys that must be there."""
    hints = get_type_hints(kind)
    if is_typeddict(kind):
        return hints, kind.__required_keys__
    own = {one.name: one.metadata for one in fields(kind)}
    strict = {name for name, told in own.items() if told.get(LACKING) and not told[NULL]}
    needed = frozenset(name for name, told in own.items() if not told.get(LACKING))
    return {name: _other_than_none(hint) if name in strict else hint for name, hint in hints.items()}, needed


def _other_than_none(kind: Any) -> Any:
    return next((inner for inner in get_args(kind) if inner is not NoneType), kind) if _optional(kind) else kind


def _optional(kind: Any) -> bool:
    return get_origin(kind) in (Union, UnionType)


def _parse(text: str) -> Any:
    content = json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    if not isinstance(content, dict):
        raise ValueError(f"it holds {shown(content, 40)}, not keys with values")
    level, depth = [content], 0
    while level:
        depth += 1
        if depth > DEEPEST:
            raise RecursionError
        level = [item for one in level for item in (one.values() if isinstance(one, dict) else one)]
        level = [item for item in level if isinstance(item, dict | list)]
    json.dumps(content, ensure_ascii=False).encode()  # half a character cannot be written anywhere
    return content


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it has {next(name for name in names if names.count(name) > 1)[:40]!r} twice")
    return content


def _no_number(text: str) -> float:
    raise ValueError(f"{text} is no number of JSON")


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text[:40]} is too large a number")
    return value


def _first(faults: Any) -> str:
    return next((found for found in faults if found), "")


def _key(at: str, name: str) -> str:
    return f"{at}.{name[:60]}" if at else name[:60]


def _unlike(value: Any, what: str, at: str) -> str:
    return f"{at}: found {shown(value, 40)}, expected {what}"
