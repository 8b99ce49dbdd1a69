"""Tasks as declarations: GLUE is a table of them, and a user writes one more in Python or in YAML.

Class ids are positions in `Task.labels`, in the order of the Hub's `nyu-mll/glue`. The same word has
different ids in different tasks (entailment is 0 in RTE and QNLI, 1 in WNLI): data are mapped by name.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

from glue_tasks.errors import DataError

CLASSIFICATION_METRICS = ("accuracy", "f1", "matthews")
REGRESSION_METRICS = ("pearson", "spearman")


@dataclass(frozen=True)
class Tsv:
    """Where and how a task lies in the official GLUE download (a folder per task, a TSV file per split)."""

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
    """Where a task lies on the Hugging Face Hub."""

    path: str
    config: str | None = None
    splits: dict[str, str] = field(default_factory=dict, hash=False)
    """Our split name to the Hub's, where they differ."""
    revision: str | None = None


@dataclass(frozen=True)
class Server:
    """What the GLUE server wants for a task."""

    files: tuple[str, ...]
    """One file per test split, in the order of `Task.test`."""
    rows: tuple[int, ...]
    """Number of predictions in each file."""
    values: tuple[str, ...] = ()
    """How the server writes the classes, in id order; () = as in `Task.labels`."""


@dataclass(frozen=True)
class Task:
    """One text classification or regression task, on single texts or pairs.

    Raises `DataError` when the declaration contradicts itself.
    """

    name: str
    columns: tuple[str, ...]
    """One or two text columns."""
    labels: tuple[str, ...] = ()
    """Class names in id order; () = regression."""
    metrics: tuple[str, ...] = ("accuracy",)
    """Of accuracy, f1 (of class 1, two classes), matthews; pearson, spearman. The first is primary."""
    title: str = ""
    """Name in tables; "" = `name`."""
    train: str | None = "train"
    dev: tuple[str, ...] = ("dev",)
    test: tuple[str, ...] = ("test",)
    """Test splits may lack labels; they then read -1."""
    range: tuple[float, float] | None = None
    """Lowest and highest target of a regression; None = unbounded."""
    grouping: Literal["shared", "contained"] = "shared"
    """What a selection split keeps on one side: rows that share a text, or also rows contained in another."""
    label: str = "label"
    """Name of the label column in a user's files or Hub dataset."""
    tsv: Tsv | None = None
    hub: Hub | None = None
    server: Server | None = None

    def __post_init__(self) -> None:
        if not self.title:
            object.__setattr__(self, "title", self.name)
        for problem in _problems(self):
            raise DataError(f"task {self.name!r}: {problem}")

    @property
    def regression(self) -> bool:
        return not self.labels

    @property
    def num_labels(self) -> int:
        """Outputs of a head: the number of classes, 1 for regression."""
        return len(self.labels) or 1

    @property
    def splits(self) -> tuple[str, ...]:
        """Every declared split: train, dev, test."""
        return (*((self.train,) if self.train is not None else ()), *self.dev, *self.test)


def _problems(task: Task) -> list[str]:
    """What is wrong with a declaration, worst first."""
    allowed = REGRESSION_METRICS if task.regression else CLASSIFICATION_METRICS
    kind = "a regression (no labels)" if task.regression else "a classification"
    splits = task.splits
    checks = [
        (not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", task.name), "a name has letters, digits, _ . and -"),
        *((isinstance(value, str), f"{name} must be a list of names, not the string {value!r}")
          for name, value in (("columns", task.columns), ("labels", task.labels), ("metrics", task.metrics),
                              ("dev", task.dev), ("test", task.test))),
        (len(task.columns) not in (1, 2), f"columns must name one or two texts, not {len(task.columns)}"),
        (len({*task.columns, task.label, "idx"}) != len(task.columns) + 2,
         f"columns {list(task.columns)}, the label column {task.label!r} and 'idx' must all differ"),
        ("label" in task.columns, "a text column cannot be called 'label'"),
        (len(task.labels) == 1, "labels must name at least two classes, or none for a regression"),
        (len(set(task.labels)) != len(task.labels), f"labels repeat a name: {', '.join(task.labels)}"),
        (not task.metrics, f"metrics is empty; choose from {', '.join(allowed)}"),
        *((metric not in allowed, f"metric {metric!r} does not suit {kind}; choose from {', '.join(allowed)}")
          for metric in task.metrics),
        ("f1" in task.metrics and len(task.labels) != 2, f"f1 needs two classes, not {len(task.labels)}"),
        (len(set(splits)) != len(splits), f"a split is declared twice: {', '.join(splits)}"),
        ("selection" in splits, "'selection' is the split carved out of train; call yours something else"),
        (not splits, "no split is declared; set train, dev or test"),
        (task.range is not None and not task.regression, "range is for a regression, but there are labels"),
        (task.range is not None and task.range[0] >= task.range[1], f"range {task.range} is not low, high"),
        (task.grouping not in ("shared", "contained"), f"unknown grouping {task.grouping!r}"),
        (task.tsv is not None and len(task.tsv.columns) not in (0, len(task.columns)),
         "tsv.columns must name as many columns as columns"),
        (task.tsv is not None and len(task.tsv.values) not in (0, len(task.labels)),
         "tsv.values must have one entry per label"),
        (task.server is not None and not len(task.server.files) == len(task.server.rows) == len(task.test),
         "server.files and server.rows must have one entry per test split"),
        (task.server is not None and len(task.server.values) not in (0, len(task.labels)),
         "server.values must have one entry per label"),
    ]  # fmt: skip
    return [line for wrong, line in checks if wrong]


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
