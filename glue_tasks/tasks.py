"""Tasks are declarations: GLUE is a table of them, and a user writes one more in Python or in YAML.

Class ids are positions in `Task.labels`, in the order of the Hub's `nyu-mll/glue`. The same word has
different ids in different tasks (entailment is 0 in RTE and QNLI, 1 in WNLI): data are mapped by name.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

from glue_tasks.errors import DataError
from glue_tasks.fields import problems
from glue_tasks.kinds import Kind, default_metrics, kind_of, metric_name
from glue_tasks.shown import shown


@dataclass(frozen=True)
class Tsv:
    """This says where and how a task lies in the official GLUE download (a folder per task, a TSV file per split)."""

    folder: tuple[str, ...]
    """Names the folder goes by; the first that exists is read."""
    columns: tuple[str, ...] = ()
    """Header names of the text columns, in the order of `Task.columns`; () = the same names."""
    label: str = "label"
    """Header name of the label column; test files have none."""
    values: tuple[str, ...] = ()
    """How the file writes the classes, in id order; () = as in `Task.labels`."""
    header: tuple[str, ...] = ()
    """Column names where the train and dev files have no header line (CoLA)."""
    file: str = ""
    """File name without `.tsv`; "" = the name of the split."""
    drop_short_rows: bool = False
    """Leave out rows with too few columns, as the Hub's copy does (QQP's train has a few); else an error."""


@dataclass(frozen=True)
class Hub:
    """This says where a task lies on the Hugging Face Hub."""

    path: str
    config: str | None = None
    splits: dict[str, str] = field(default_factory=dict, hash=False)
    """Our split name to the Hub's, where they differ."""
    revision: str | None = None


@dataclass(frozen=True)
class Conll:
    """This says which columns are read of a file with a token a line, for a task of tokens: the first and the last."""

    token: int = 1
    """Number of the tokens' column, from 1."""
    label: int | None = None
    """Number of the labels' column, from 1; None = the last."""
    header: tuple[str, ...] = ()
    """Names of all columns, among them `Task.columns` and `Task.label`, in place of numbers: the files name none."""


@dataclass(frozen=True)
class Server:
    """This is what the GLUE server wants for a task."""

    files: tuple[str, ...]
    """One file per test split, in the order of `Task.test`."""
    rows: tuple[int, ...]
    """Number of predictions in each file."""
    values: tuple[str, ...] = ()
    """How the server writes the classes, in id order; () = as in `Task.labels`."""


@dataclass(frozen=True)
class Task:
    """A task is on texts or pairs of them, and predicts classes, sets of labels, numbers, or labels of tokens.

    Raises `DataError` when the declaration contradicts itself.
    """

    name: str
    columns: tuple[str, ...]
    """One or two text columns; of a task of tokens, the one that has them."""
    labels: tuple[str, ...] = ()
    """Class names in id order; () = regression."""
    metrics: tuple[str | dict[str, Any], ...] = field(default=(), hash=False)
    """The first is primary; () = those of `glue_tasks.kinds.default_metrics`. See `glue_tasks.metrics`.

    Those that go by a name are in `glue_tasks.kinds.METRICS`. Or a class path, or
    `{class_path: ..., init_args: {...}}`, of a torchmetrics metric of class ids (or of targets, or of sets of labels).
    """
    title: str = ""
    """Name in tables; "" = `name`."""
    train: str | None = "train"
    dev: tuple[str, ...] = ("dev",)
    test: tuple[str, ...] = ("test",)
    """Test splits may lack labels; they then read -1."""
    range: tuple[float, float] | None = None
    """Lowest and highest target of a regression; None = unbounded."""
    grouping: Literal["shared", "contained", "none"] | tuple[str, ...] = "shared"
    """What a selection split keeps on one side: rows that share a text, or also rows contained in another.

    Columns, for rows that share the text of one of these; `none`, for nothing.
    """
    label: str = "label"
    """Name of the label column in a user's files or Hub dataset."""
    tsv: Tsv | None = None
    hub: Hub | None = None
    server: Server | None = None
    kind: Kind | None = None
    """What is predicted, see `glue_tasks.kinds`; None = a class, or a number where there are no labels."""
    separator: str = ","
    """What stands between the names in a cell of a multi_label task."""
    conll: Conll | None = None

    def __post_init__(self) -> None:
        check_fields(vars(self))
        for name, value in _frozen(vars(self)).items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "title", self.title or self.name)
        object.__setattr__(self, "metrics", self.metrics or default_metrics(self.kind, self.labels))
        object.__setattr__(self, "kind", kind_of(self.kind, self.labels))

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Outputs of a head: the number of classes, 1 for regression."""
        return len(self.labels) or 1

    @property
    def metric_names(self) -> tuple[str, ...]:
        """What the metrics are called in records and tables; the first is primary."""
        return tuple(map(metric_name, self.metrics))

    @property
    def splits(self) -> tuple[str, ...]:
        """Every declared split: train, dev, test."""
        return (*self.trainable, *self.test)

    @property
    def trainable(self) -> tuple[str, ...]:
        """The splits that have labels: train, dev."""
        return (*((self.train,) if self.train is not None else ()), *self.dev)


def declare(fields: Mapping[str, Any]) -> Task:
    """Return the task of a mapping, as YAML or JSON give one.

    Raises `DataError`: the field that is wrong, and what it should be.
    """
    check_fields(fields)
    kinds = {"tsv": Tsv, "hub": Hub, "server": Server, "conll": Conll}
    made = {
        name: kinds[name](**_frozen(value)) for name, value in fields.items() if name in kinds and value is not None
    }
    return Task(**{**_frozen(fields), **made})


def check_fields(fields: Mapping[str, Any]) -> None:
    """Raise `DataError` for the worst that is wrong with the fields of a task."""
    for _, problem in problems(fields):
        name = fields.get("name")
        raise DataError(
            f"task {shown(name)}: {problem}" if isinstance(name, str) else f"a task of one's own: {problem}"
        )


def _frozen(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: tuple(value) if isinstance(value, list) else value for name, value in fields.items()}


def _hub(config: str) -> Hub:
    splits = {
        "dev": "validation",
        "dev_matched": "validation_matched",
        "dev_mismatched": "validation_mismatched",
    }
    return Hub("nyu-mll/glue", config, splits)


_BINARY = ("0", "1")
_TWO_WAY = ("entailment", "not_entailment")
_THREE_WAY = ("entailment", "neutral", "contradiction")
_PAIR = ("sentence1", "sentence2")

_TABLE = (
    Task(
        "cola", ("sentence",), ("unacceptable", "acceptable"), ("matthews",), "CoLA",
        tsv=Tsv(("CoLA",), values=_BINARY, header=("source", "label", "mark", "sentence")),
        hub=_hub("cola"), server=Server(("CoLA.tsv",), (1063,), _BINARY),
    ),
    Task(
        "sst2", ("sentence",), ("negative", "positive"), ("accuracy",), "SST-2", grouping="contained",
        tsv=Tsv(("SST-2",), values=_BINARY),
        hub=_hub("sst2"), server=Server(("SST-2.tsv",), (1821,), _BINARY),
    ),
    Task(
        "mrpc", _PAIR, ("not_equivalent", "equivalent"), ("accuracy", "f1"), "MRPC",
        tsv=Tsv(("MRPC",), ("#1 String", "#2 String"), "Quality", _BINARY),
        hub=_hub("mrpc"), server=Server(("MRPC.tsv",), (1725,), _BINARY),
    ),
    Task(
        "stsb", _PAIR, (), ("pearson", "spearman"), "STS-B", range=(0.0, 5.0),
        tsv=Tsv(("STS-B",), label="score"),
        hub=_hub("stsb"), server=Server(("STS-B.tsv",), (1379,)),
    ),
    Task(
        "qqp", ("question1", "question2"), ("not_duplicate", "duplicate"), ("accuracy", "f1"), "QQP",
        tsv=Tsv(("QQP",), label="is_duplicate", values=_BINARY, drop_short_rows=True),
        hub=_hub("qqp"), server=Server(("QQP.tsv",), (390965,), _BINARY),
    ),
    Task(
        "mnli", ("premise", "hypothesis"), _THREE_WAY, ("accuracy",), "MNLI",
        dev=("dev_matched", "dev_mismatched"), test=("test_matched", "test_mismatched"),
        tsv=Tsv(("MNLI",), _PAIR, "gold_label"),
        hub=_hub("mnli"), server=Server(("MNLI-m.tsv", "MNLI-mm.tsv"), (9796, 9847)),
    ),
    Task(
        "qnli", ("question", "sentence"), _TWO_WAY, ("accuracy",), "QNLI",
        tsv=Tsv(("QNLI",)), hub=_hub("qnli"), server=Server(("QNLI.tsv",), (5463,)),
    ),
    Task(
        "rte", _PAIR, _TWO_WAY, ("accuracy",), "RTE",
        tsv=Tsv(("RTE",)), hub=_hub("rte"), server=Server(("RTE.tsv",), (3000,)),
    ),
    Task(
        "wnli", _PAIR, ("not_entailment", "entailment"), ("accuracy",), "WNLI",
        tsv=Tsv(("WNLI",), values=_BINARY),
        hub=_hub("wnli"), server=Server(("WNLI.tsv",), (146,), _BINARY),
    ),
    Task(  # the diagnostic set: no training data, answered by an MNLI model
        "ax", ("premise", "hypothesis"), _THREE_WAY, ("matthews",), "AX", train=None, dev=(),
        tsv=Tsv(("AX", "diagnostic"), _PAIR, file="diagnostic"),
        hub=_hub("ax"), server=Server(("AX.tsv",), (1104,)),
    ),
)  # fmt: skip

GLUE: Mapping[str, Task] = MappingProxyType({task.name: task for task in _TABLE})
