"""A split is a table in memory, with the same columns whatever source it was read from."""

from collections.abc import Mapping, Sequence

import numpy as np
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf
from numpy.typing import NDArray

from glue_tasks.labels import UNLABELLED
from glue_tasks.tags import are_tags, entity_type
from glue_tasks.tasks import Task


def table(task: Task, columns: Mapping[str, Sequence[object]]) -> Dataset:
    """Return the text and label columns as a Dataset, rows numbered.

    label: a class id, a float32 target, the ascending ids of a set of labels, or an id for each token.
    """
    text = ListOf(Value("string")) if task.kind == "tokens" else Value("string")
    label = Value("float32") if task.regression else ClassLabel(names=list(task.labels))
    features = Features(
        dict.fromkeys(task.columns, text)
        | {"label": ListOf(label) if task.kind in ("multi_label", "tokens") else label}
        | {"idx": Value("int32")}
    )
    idx = range(len(columns["label"]))
    # numbered here for every source: the Hub's own idx skips numbers in MRPC
    return Dataset.from_dict({**{name: columns[name] for name in (*task.columns, "label")}, "idx": idx}, features)


def texts(table: Dataset, column: str) -> list[str]:
    """Return a text column, one string a row; tokens are joined by spaces."""
    return [text if isinstance(text, str) else " ".join(text) for text in table[column][:]]


def class_names(table: Dataset, column: str) -> list[str] | None:
    """Return what the class ids of a column stand for; None where it has no class ids."""
    feature = table.features[column]
    names: list[str] | None = getattr(getattr(feature, "feature", feature), "names", None)
    return names


def labels_of(table: Dataset) -> NDArray[np.int64 | np.float32]:
    """Return the labels of rows that have one each: [rows], class ids, or float32 targets of a regression."""
    return np.array(table["label"][:], np.float32 if table.features["label"].dtype == "float32" else np.int64)


def label_sets(table: Dataset, labels: int) -> NDArray[np.float32]:
    """Return the labels of rows that have any number of them: float32 [rows, labels], 1 where it has that one, else 0.

    -1 throughout where a row is unlabelled.
    """
    found = np.zeros((len(table), labels), np.float32)
    for row, ids in enumerate(table["label"][:]):
        found[row, [number for number in ids if number != UNLABELLED]] = 1
        if UNLABELLED in ids:
            found[row] = UNLABELLED
    return found


def occurrence(task: Task, table: Dataset) -> tuple[list[str], NDArray[np.bool_]]:
    """Return what a row may have any number of, by name, and which row has it: bool [rows, names].

    The labels; of a task of tokens, the types of its entities, or its labels where they are no tags. O is nothing.
    """
    tags = task.kind == "tokens" and are_tags(task.labels)
    kinds = [entity_type(name) if tags else name for name in task.labels]
    names = list(dict.fromkeys(kind for kind in kinds if kind is not None))
    found = np.zeros((len(table), len(names)), bool)
    for row, ids in enumerate(table["label"][:]):
        held = {kinds[number] for number in (ids if isinstance(ids, list) else [ids]) if number != UNLABELLED}
        found[row, [names.index(kind) for kind in held if kind is not None]] = True
    return names, found
