"""The JSON files that a run, a bench and a grid keep: what each holds, and the one reader of them all.

A file may hold more than is declared here. What is declared is there and of its type, or the file is refused in a line
that names the key. Nothing here imports torch.
"""

import json
import math
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, NotRequired, TypedDict, Union, get_args, get_origin, get_type_hints, is_typeddict

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from glue_tasks.shown import shown

Values = dict[str, float | None]
"""By metric; null for what is not finite."""


class Seeds(TypedDict):
    """Of a run."""

    init: int
    order: int
    split: int


class Method(TypedDict):
    """A method with its options."""

    name: str
    options: dict[str, Any]


class Reported(TypedDict):
    """The score of a run."""

    split: str
    checkpoint: str
    metric: str
    value: float | None


class Cost(TypedDict):
    """Of a run."""

    steps: int
    seconds: float
    tokens: NotRequired[int]
    peak_memory_bytes: NotRequired[int]


class Fitted(TypedDict):
    """`result.json`: what was trained, and from where."""

    task: str
    methods: list[Method]
    start: NotRequired["Fitted | None"]


class Outcome(TypedDict):
    """`result.json`: what came of it."""

    identity: NotRequired[str]
    scores: dict[str, dict[str, Values]]
    reported: Reported | None
    less_is_better: NotRequired[list[str]]
    failed: bool
    cost: Cost


class Result(Fitted, Outcome):
    """`result.json`: what a comparison reads."""

    seeds: Seeds
    majority: dict[str, Values]
    protocol: str
    source: NotRequired[str]
    backbone: NotRequired[str]
    versions: NotRequired[dict[str, str]]
    sharding: NotRequired[list["Share"]]


class Share(TypedDict):
    """How a run's batches were shared out, from a step on."""

    ranks: int
    accumulation: int
    since: NotRequired[int]
    rows: NotRequired[int]
    device: NotRequired[str]
    dropout: NotRequired[bool]


class Stage(Fitted):
    """`result.json` of a stage: what its target's record says of it."""

    identity: str
    source: str
    seeds: Seeds
    reported: Reported | None
    cost: Cost


class Cell(TypedDict):
    """`cell.json`: the cell of a grid that runs in the folder."""

    name: NotRequired[str]
    identity: NotRequired[str]
    arguments: NotRequired[list[str]]
    seconds: NotRequired[float]


class Failure(TypedDict):
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
    seeds: list[Seeds]
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
    "result.json": Outcome,
    "cell.json": Cell,
    "error.json": Failure,
    "grid.json": GridRecord,
    "matched.json": MatchedArms,
    "tuned.json": TunedArms,
    "submitted.json": Submitted,
}
"""By the file's name: what every reader of it needs, at least."""
WHAT = {"result.json": "the record of a run", "grid.json": "the record of a grid"}
DEEPEST = 50
"""Levels of a file."""
LARGEST = 2**63
TYPES = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def load(path: Path, kind: Any = None) -> dict[str, Any]:
    """What a file holds; empty if it is not there.

    Args:
        kind: one of those above, where a reader needs more than that of the file's name.

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
    why = fault(content, kind or KINDS[path.name])
    if why:
        what = WHAT.get(path.name, "what ftreg writes there")
        raise UsageError(f"{path}: not {what} ({why}); run it again, or take the file away")
    return dict(content)


def fault(value: Any, kind: Any, at: str = "") -> str:
    """Where a value is not of its declared type, and how; empty if it is.

    Args:
        at: the keys that lead to it.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if kind is Any:
        return ""
    if origin is NotRequired:
        return fault(value, inner[0], at)
    if origin in (Union, UnionType):
        return "" if value is None else fault(value, next(k for k in inner if k is not NoneType), at)
    if is_typeddict(kind) or origin is dict:
        if not isinstance(value, dict):
            return _unlike(value, "keys with values", at)
        if origin is dict:
            return _first(fault(item, inner[1], _key(at, name)) for name, item in value.items())
        missing = next((name for name in sorted(kind.__required_keys__) if name not in value), None)
        hints = get_type_hints(kind, include_extras=True)
        return (
            f"{_key(at, missing)} is missing"
            if missing
            else _first(fault(value[name], hint, _key(at, name)) for name, hint in hints.items() if name in value)
        )
    if origin is list:
        if not isinstance(value, list):
            return _unlike(value, "a list", at)
        return _first(fault(item, inner[0], _key(at, str(number))) for number, item in enumerate(value))
    fits = type(value) is kind or (kind is float and type(value) is int)
    return "" if fits and (not isinstance(value, int) or abs(value) < LARGEST) else _unlike(value, TYPES[kind], at)


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
