"""The selection split of a task of one's own: what keeps rows together, and what is said of the rows it chose."""

import warnings
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from datasets import ClassLabel, Dataset, Features, Value

from glue_tasks.errors import DataError
from glue_tasks.likeness import unlike
from glue_tasks.selection_split import groups, train_and_selection
from glue_tasks.tasks import GLUE, Task

STANCE = Task("stance", ("text", "target"), ("against", "favor"))
SCORED = Task("scored", ("text",))
TARGETS = ["nuclear power", "a wealth tax", "school uniforms", "wolves", "night trains"]


def table(rows: Sequence[tuple[str, str]], labels: Sequence[int] | None = None) -> Dataset:
    features = Features(
        {"text": Value("string"), "target": Value("string"), "label": ClassLabel(names=list(STANCE.labels))}
    )
    texts, targets = zip(*rows, strict=True)
    found = labels if labels is not None else [row % 2 for row in range(len(rows))]
    return Dataset.from_dict({"text": texts, "target": targets, "label": found}, features)


FEW_TARGETS = table([(f"text number {row}", TARGETS[row // 2 % 5]) for row in range(300)])
MOSTLY_EMPTY = table([(f"text number {row}", "" if row < 270 else f"target {row}") for row in range(300)])


def carved(task: Task, whole: Dataset, size: int = 30) -> tuple[Dataset, list[str]]:
    """The selection split, and what is said of it."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        selection = train_and_selection(task, "train", whole, size, None, 0)["selection"]
    messages = [str(one.message) for one in found]
    assert all("\n" not in message and len(message) < 500 for message in messages)
    return selection, messages


def test_a_column_that_joins_all_rows_is_named_with_the_remedies() -> None:
    with pytest.raises(DataError) as error:
        train_and_selection(STANCE, "train", FEW_TARGETS, 30, None, 0)
    assert str(error.value) == (
        "no selection split can be carved out of the 300 rows of 'train' (task 'stance'): rows that share a text stay "
        "together, and 60 share one in 'target', of 5 different texts; declare the task with "
        "grouping: [text], to go by that column alone, or grouping: none, or use data.protocol=dev"
    )


@pytest.mark.parametrize("grouping", [("text",), "none"])
def test_grouping_by_chosen_columns_or_off(grouping: str | tuple[str, ...]) -> None:
    task = replace(STANCE, grouping=grouping)
    selection, messages = carved(task, FEW_TARGETS)
    assert len(selection) == 30
    assert set(selection["target"][:]) == set(TARGETS)
    assert messages == []
    assert len(set(groups(task, FEW_TARGETS).tolist())) == 300


def test_a_chosen_column_keeps_its_rows_together() -> None:
    rows = [(f"text number {row // 3}", TARGETS[row % 5]) for row in range(300)]
    whole, task = table(rows, [row // 3 % 2 for row in range(300)]), replace(STANCE, grouping=("text",))
    split = train_and_selection(task, "train", whole, 30, None, 0)
    assert len(split["selection"]) == 30
    assert not {*split["selection"]["text"][:]} & {*split["train"]["text"][:]}


@pytest.mark.parametrize("empty", ["", "  ", "\t"])
def test_an_empty_text_joins_nothing(empty: str) -> None:
    rows = [(text, target or empty) for text, target in zip(MOSTLY_EMPTY["text"], MOSTLY_EMPTY["target"], strict=True)]
    selection, messages = carved(STANCE, table(rows))
    assert len(selection) == 30
    assert 20 < sum(not target.strip() for target in selection["target"][:]) < 30
    assert messages == []
    assert len(set(groups(STANCE, table([("", ""), ("", " "), ("a", ""), ("A", "b")])).tolist())) == 3


def test_the_tasks_of_glue_are_carved_as_ever() -> None:
    task = GLUE["mrpc"]
    rows = Dataset.from_dict({"sentence1": ["a", "b", "c"], "sentence2": ["", "", "d"]})
    assert groups(task, rows).tolist() == [0, 0, 3]


def test_a_selection_unlike_train_is_told() -> None:
    boilerplate = [(f"text number {row}", "the usual" if row < 150 else f"some target {row}") for row in range(300)]
    selection, (message,) = carved(STANCE, table(boilerplate))
    assert len(selection) == 30
    assert message == (
        "the selection split of 30 rows is unlike 'train' of task 'stance': 0% have the commonest 'target' (of all: "
        "50%); rows that share a text stay together, and 150 share one in 'target', of 151 different texts; if they "
        "need not, declare the task with grouping: [text], to go by that column alone, or grouping: none"
    )


def test_what_makes_a_selection_unlike_train() -> None:
    chosen = np.arange(100)
    texts = [("one two three four" if row < 100 else f"{row} " + "word " * 20, "x") for row in range(1000)]
    labels = [0 if row < 100 else 1 for row in range(1000)]
    found = unlike(STANCE, table(texts, labels), chosen, 300)
    assert (
        found == "100 of the 300 rows that were wanted, 100% are 'against' (of all: 10%), 0% are 'favor' (of all: 90%)"
    )
    found = unlike(STANCE, table(texts, [row % 2 for row in range(1000)]), chosen, 100)
    assert found == "100% have the commonest 'text' (of all: 10%), 'text' has 4 words (of all: 18)"
    scores = Dataset.from_dict(
        {"text": [str(row) for row in range(1000)], "label": [float(row) for row in range(1000)]},
        Features({"text": Value("string"), "label": Value("float32")}),
    )
    assert unlike(SCORED, scores, chosen, 100) == "a mean target of 49.5 (of all: 500)"


@pytest.mark.parametrize("seed", range(20))
def test_a_random_selection_is_like_train(seed: int) -> None:
    random = np.random.default_rng(seed)
    rows = [
        (f"{row} " + "word " * int(random.integers(1, 40)), "" if random.random() < 0.3 else "x") for row in range(400)
    ]
    whole = table(rows, random.integers(0, 2, 400).tolist())
    for size in (3, 10, 40):
        assert unlike(STANCE, whole, np.sort(random.permutation(400)[:size]), size) == ""


def test_too_few_rows_say_so() -> None:
    with pytest.raises(DataError, match=r"of the 9 rows of 'train' .*: too few, it would be a tenth of them"):
        train_and_selection(STANCE, "train", FEW_TARGETS.select(range(9)), 0, None, 0)
