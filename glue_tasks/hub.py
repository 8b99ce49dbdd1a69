"""A split is read from the Hugging Face Hub, which fails soon where that cannot be reached."""

from collections.abc import Callable

from datasets import Dataset, load_dataset
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from glue_tasks import label_sets
from glue_tasks.conll import Sentences, check_lists, encoded_sentences
from glue_tasks.errors import DataError
from glue_tasks.labels import UNLABELLED, encode
from glue_tasks.shown import listed, nearest, shown
from glue_tasks.tables import class_names, table
from glue_tasks.tasks import Task

TIMEOUT = 5.0
"""Seconds to wait for the Hub's first answer."""

_ELSEWHERE = "use data.source=tsv (or files) with data.path, or data.source=sample"


def load_from_hub(task: Task, split: str) -> Dataset:
    """Read the rows of a split, as `glue_tasks.sources.load` describes them.

    Raises `DataError`.
    """
    data, place = fetch_split(task, split)

    def where(row: int) -> str:
        return f"{place}, row {row}"

    withheld = split in task.test
    flagged = task.kind == "multi_label" and task.label not in data.column_names and task.labels[0] in data.column_names
    wanted = task.labels if flagged else (task.label,)
    missing = [name for name in (*task.columns, *wanted) if name not in data.column_names]
    if missing and not (missing == [task.label] and withheld):
        near = nearest(missing[0], data.column_names)
        raise DataError(f"{place}: no column {missing[0]!r}; {near}it has {listed(data.column_names)}")
    if task.kind == "tokens":
        return _of_tokens(task, data, where, withheld, not missing)
    texts = {name: data[name][:] for name in task.columns}
    for name, column in texts.items():
        for row, value in enumerate(column):
            if not isinstance(value, str):
                raise DataError(f"{where(row)}: {name!r} is {shown(value)}; expected text, so choose other columns")
    if missing:
        unlabelled = [UNLABELLED] if task.kind == "multi_label" else UNLABELLED
        return table(task, {**texts, "label": [unlabelled] * len(data)})
    return table(task, {**texts, "label": _labels(task, data, flagged, where, withheld)})


def _labels(task: Task, data: Dataset, flagged: bool, where: Callable[[int], str], withheld: bool) -> list[object]:
    """Return a label a row, or the ascending ids of its labels."""
    if flagged:
        flags = {name: [_written(value, None) for value in data[name][:]] for name in task.labels}
        return [*label_sets.from_flags(task, flags, where, withheld)]
    values, names = data[task.label][:], class_names(data, task.label)
    if task.kind != "multi_label":
        return [*encode(task, [_written(value, names) for value in values], where, (), withheld)]
    if not any(isinstance(value, list) for value in values):
        return [*label_sets.from_cells(task, [_written(value, names) for value in values], where, withheld)]
    return [
        *label_sets.from_names(
            task, [[_written(one, names) for one in value or ()] for value in values], where, withheld
        )
    ]


def _of_tokens(task: Task, data: Dataset, where: Callable[[int], str], withheld: bool, labelled: bool) -> Dataset:
    tokens, names = data[task.columns[0]][:], class_names(data, task.label) if labelled else None
    values = data[task.label][:] if labelled else [None] * len(tokens)
    for row, (words, tags) in enumerate(zip(tokens, values, strict=True)):
        check_lists(words, tags, task, where(row), labelled)
    labels = [[_written(tag, names) for tag in tags or ()] for tags in values] if labelled else None
    found = Sentences(tokens, labels, lambda row, word: f"{where(row)}, token {word + 1}")
    return table(task, {task.columns[0]: tokens, "label": encoded_sentences(task, found, withheld)})


def _written(value: object, names: list[str] | None) -> str:
    """Return a Hub label by its name, where its column has names."""
    if value is None:
        return ""
    return names[value] if names and isinstance(value, int) and value >= 0 else str(value)


def fetch_split(task: Task, split: str) -> tuple[Dataset, str]:
    """Read the split as the Hub has it, and its name for messages; from the local cache if HF_HUB_OFFLINE is set.

    Raises `DataError` where there is no such data set, split or connection. No other source is tried.
    """
    hub = task.hub
    if hub is None:
        raise DataError(f"task {task.name!r} declares no hub; {_ELSEWHERE}")
    theirs = hub.splits.get(split, split)
    place = "/".join(part for part in (hub.path, hub.config, theirs) if part)
    if not constants.HF_HUB_OFFLINE:
        _reach(hub.path, hub.revision, place)
    try:
        return load_dataset(hub.path, hub.config, split=theirs, revision=hub.revision), place
    except Exception as error:  # datasets raises a dozen unrelated types for "cannot be had"
        offline = " (offline, and not in the local cache)" if constants.HF_HUB_OFFLINE else ""
        raise DataError(
            f"{place}: cannot be loaded from the Hub{offline}: {_first_line(error)}; {_ELSEWHERE}"
        ) from error


def _reach(path: str, revision: str | None, place: str) -> None:
    """Make one short request: without it `load_dataset` retries an unreachable Hub for minutes."""
    try:
        HfApi().dataset_info(path, revision=revision, timeout=TIMEOUT)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise DataError(f"{place}: the Hub has no such data set (or it is private); check the task's hub") from error
    except Exception as error:  # the client's errors changed family between its versions
        raise DataError(
            f"{place}: the Hugging Face Hub cannot be reached ({_first_line(error)}); set HF_HUB_OFFLINE=1 "
            f"to read a copy cached earlier, or {_ELSEWHERE}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
