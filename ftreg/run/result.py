"""`result.json`, the record of a run, is a frozen dataclass here: `read` is its one reader, `write` its one writer.

    Fitted    what was trained ──┬─ StageResult   what a record says of the stage that its run started from
    Outcome   what came of it  ──┴─ RunResult     the whole record

Each reads as much of a file as it declares, and refuses one that lacks any of that or has it of another type. Records
of earlier versions lack keys, which are `OLDER` here. Nothing here imports torch.
"""

from collections.abc import Mapping
from dataclasses import Field, dataclass, field, fields, is_dataclass
from pathlib import Path
from typing import Any, Self

from ftreg._base.json_files import null_for_nan, write_json
from ftreg._base.seeds import Seeds
from ftreg.run.places import RESULT
from ftreg.run.records import LACKING, NULL, built, read_record

FILE = RESULT
SCHEMA = 1
"""The number that `result.json` has for its layout; it is part of a run's identity."""
ORDER = (
    "schema", "identity", "status", "task", "source", "backbone", "protocol", "methods", "seeds", "scores", "reported",
    "majority", "less_is_better", "failed", "cost", "sharding", "start", "versions", "callbacks", "stopped", "head",
    "checkpoint",
)  # fmt: skip
"""The keys of the file, as they follow one another there."""

Values = Mapping[str, float | None]
"""{metric: value}; None for what is not finite."""
Scores = Mapping[str, Mapping[str, Values]]
"""{split: {checkpoint: {metric: value}}}"""


OLDER = {LACKING: True, NULL: False}
"""The metadata of a key that earlier versions' records lack; None or nothing stands for it then."""
OLDER_NULL = {LACKING: True, NULL: True}
"""The metadata of such a key that may be null; None is written."""


@dataclass(frozen=True)
class MethodRecord:
    """A method, or another callback that may change a run's numbers, with its options."""

    name: str
    options: Mapping[str, Any]


@dataclass(frozen=True)
class ReportedScore:
    """The one score that a run is compared by: of which split, checkpoint and metric, and its value."""

    split: str
    checkpoint: str
    metric: str
    value: float | None


@dataclass(frozen=True)
class RunCost:
    """The cost is what a fit took: optimizer steps, seconds of training, real tokens, and peak memory in bytes."""

    steps: int
    seconds: float
    tokens: int | None = field(default=None, metadata=OLDER)
    peak_memory_bytes: int | None = field(default=None, metadata=OLDER)


@dataclass(frozen=True)
class Share:
    """The way in which batches were shared out from step `since` on; None for what an older record does not say.

    Args:
        ranks: processes.
        accumulation: micro-batches of a process and step.
        rows: of a micro-batch.
        device: its type.
        dropout: whether the network has any, whose masks depend on the rest.
    """

    ranks: int
    accumulation: int
    since: int | None = field(default=None, metadata=OLDER)
    rows: int | None = field(default=None, metadata=OLDER)
    device: str | None = field(default=None, metadata=OLDER)
    dropout: bool | None = field(default=None, metadata=OLDER)


@dataclass(frozen=True)
class Stop:
    """The end of a fit before its schedule: after `step` of `of` optimizer steps, stopped `by` a callback."""

    step: int
    of: int
    by: str | None


@dataclass(frozen=True, kw_only=True)
class _Record:
    """An object of `result.json`, as far as it is declared."""

    @classmethod
    def read(cls, path: Path) -> Self | None:
        """Read a record; None where there is no file.

        Raises:
            UsageError: the file holds something else.
        """
        content = read_record(path, cls)
        found: Self | None = built(content, cls) if content else None
        return found

    def write(self, path: Path) -> None:
        """Write the record, whole or not at all."""
        write_json(path, self.as_dict())

    def as_dict(self) -> dict[str, Any]:
        """Return what the file holds, its keys in order."""
        found: dict[str, Any] = null_for_nan(as_plain(self))
        return found


@dataclass(frozen=True, kw_only=True)
class Fitted(_Record):
    """This was trained, and from there: the task's name, the methods, and the stage that the run started from."""

    task: str
    methods: tuple[MethodRecord, ...]
    start: "StageResult | None" = field(default=None, metadata=OLDER_NULL)


@dataclass(frozen=True, kw_only=True)
class StageResult(Fitted):
    """A run's record says this of the stage that it started from, whose weights are in the file `checkpoint`."""

    identity: str | None = field(default=None, metadata=OLDER)
    source: str | None = field(default=None, metadata=OLDER)
    seeds: Seeds | None = field(default=None, metadata=OLDER)
    reported: ReportedScore | None = field(default=None, metadata=OLDER_NULL)
    cost: RunCost | None = field(default=None, metadata=OLDER)
    checkpoint: str | None = field(default=None, metadata=OLDER)


@dataclass(frozen=True, kw_only=True)
class Outcome(_Record):
    """The outcome is what came of a run.

    Args:
        reported: None for a run that learns no labels.
        less_is_better: metrics that are errors.
        failed: whether it ended no better than the majority classifier.
    """

    identity: str | None = field(default=None, metadata=OLDER)
    scores: Scores
    reported: ReportedScore | None
    less_is_better: tuple[str, ...] = field(default=(), metadata=OLDER)
    failed: bool
    cost: RunCost


@dataclass(frozen=True, kw_only=True)
class RunResult(Fitted, Outcome):
    """The record of a finished run.

    Args:
        status: whether its schedule was finished; `stopped` says how it was not.
        majority: scores of the majority classifier, by split.
        sharding: how the batches were shared out, one after the other.
        versions: of this package, Python and what computes.
        callbacks: those that are no methods and may have changed the numbers.
        head: `model.head`, where it is not `new`.
    """

    seeds: Seeds
    majority: Mapping[str, Values]
    protocol: str
    schema: int | None = field(default=None, metadata=OLDER)
    status: str | None = field(default=None, metadata=OLDER)
    source: str | None = field(default=None, metadata=OLDER)
    backbone: str | None = field(default=None, metadata=OLDER)
    sharding: tuple[Share, ...] = field(default=(), metadata=OLDER)
    versions: Mapping[str, str] | None = field(default=None, metadata=OLDER)
    callbacks: tuple[MethodRecord, ...] = field(default=(), metadata=OLDER)
    stopped: Stop | None = field(default=None, metadata=OLDER_NULL)
    head: str | None = field(default=None, metadata=OLDER)

    def as_stage(self, checkpoint: Path) -> StageResult:
        """Return what the record of a run says that starts from this one's weights in a checkpoint."""
        names = {one.name for one in fields(StageResult)} - {"checkpoint"}
        return StageResult(**{name: getattr(self, name) for name in names}, checkpoint=str(checkpoint))


def as_plain(value: Any) -> Any:
    """Return a value as JSON has it: objects for dataclasses, without the keys that they lack, and lists for tuples."""
    if is_dataclass(value):
        return {one.name: as_plain(getattr(value, one.name)) for one in _ordered(value) if _written(value, one)}
    if isinstance(value, Mapping):
        return {name: as_plain(item) for name, item in value.items()}
    return [as_plain(item) for item in value] if isinstance(value, list | tuple) else value


def _ordered(value: Any) -> list["Field[Any]"]:
    declared = list(fields(value))
    return sorted(declared, key=lambda one: ORDER.index(one.name)) if isinstance(value, _Record) else declared


def _written(value: Any, one: "Field[Any]") -> bool:
    return one.metadata.get(NULL, True) or getattr(value, one.name) is not None
