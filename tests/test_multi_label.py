"""Tasks of sets of labels: how files write them, what is counted of them, how their rows are divided."""

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from datasets import ClassLabel, Dataset, Features, Value
from datasets import Sequence as ListOf
from sklearn.metrics import f1_score

import ftreg
from ftreg.lightning.predictions import Predictions
from ftreg.run.record import write_predictions
from glue_tasks import hub
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.metrics import metrics
from glue_tasks.own_metric import import_classes
from glue_tasks.sources import load
from glue_tasks.tasks import Task

TINY = str(Path(ftreg.__file__).parent / "encoder" / "backbones" / "tiny")
NAMES = ("joy", "fear", "anger")
MOODS = Task("moods", ("text",), NAMES, kind="multi_label")
SETS = [["joy"], [], ["joy", "anger"]]


@pytest.fixture
def read(tmp_path: Path) -> Callable[..., list[list[str]]]:
    """Write a file, load it as a split of a task: the labels of each row, by name."""

    def run(content: str, name: str = "train.csv", task: Task = MOODS) -> list[list[str]]:
        (tmp_path / name).write_text(content, encoding="utf-8")
        table = load(task, name.partition(".")[0], "files", str(tmp_path))
        assert table["text"][:] == ["a", "b", "c"][: len(table)]
        return [["?" if number < 0 else task.labels[number] for number in ids] for ids in table["label"][:]]

    return run


Read = Callable[..., list[list[str]]]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", 'text,label\na,joy\nb,\nc,"anger, joy"\n'),
        ("train.tsv", "text\tlabel\na\tjoy\nb\t\nc\tjoy,anger\n"),
        ("train.tsv", 'text\tlabel\na\t["joy"]\nb\t[]\nc\t["joy", "anger"]\n'),
        ("train.csv", "text,label\na,0\nb,\nc,2.0|0.0\n"),
        ("train.csv", "text,anger,joy,fear\na,0,1,0\nb,0,0,0\nc,1,1,0\n"),
        ("train.csv", "text,joy,fear,anger\na,True,False,False\nb,False,False,False\nc,True,False,True\n"),
        ("train.csv", "text,joy,fear,anger\na,1.0,0.0,0.0\nb,0.0,0.0,0.0\nc,1.0,0.0,1.0\n"),
        (
            "train.jsonl",
            '{"text":"a","label":["joy"]}\n{"text":"b","label":[]}\n{"text":"c","label":["anger","joy"]}\n',
        ),
        ("train.jsonl", '{"text":"a","label":[0]}\n{"text":"b","label":[]}\n{"text":"c","label":[0,2]}\n'),
        (
            "train.jsonl",
            "".join(
                f'{{"text": "{text}", "joy": {joy}, "fear": 0, "anger": {anger}}}\n'
                for text, joy, anger in (("a", 1, "false"), ("b", 0, 0), ("c", "true", 1))
            ),
        ),
    ],
)
def test_a_set_is_a_cell_a_list_or_a_column_for_each_label(read: Read, name: str, content: str) -> None:
    separator = "|" if "|" in content else ","
    assert read(content, name, Task("moods", ("text",), NAMES, kind="multi_label", separator=separator)) == SETS


@pytest.mark.parametrize(
    "content",
    [
        "text\na\nb\n",
        "text,label\na,\nb,\n",
        "text,label\na,-1\nb,-1\n",
        "text,joy,fear,anger\na,-1,-1,-1\nb,,,\n",
    ],
)
def test_a_test_split_without_labels(read: Read, content: str) -> None:
    assert read(content, "test.csv") == [["?"], ["?"]]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train.csv", "text,label\na,joy;fear\n", "train.csv:2: label 'joy;fear' is unknown; did you mean"),
        ("train.csv", 'text,label\na,joy\nb,"joy,joy"\n', "train.csv:3: [\"joy\", \"joy\"] names a label twice"),
        ("train.csv", 'text,label\na,"joy,,fear"\n', "train.csv:2: the label is missing"),
        ("train.csv", "text,label\na,\"['joy', 'fear']\"\n", "is no list as JSON has it; write names with ',' between"),
        ("train.csv", "text,label,joy,fear,anger\na,joy,1,0,0\n", "a column 'label', and one for each of the"),
        ("train.csv", "text,joy,anger\na,1,0\n", "columns for 'joy', 'anger', but none for 'fear'; write 0 or 1"),
        ("train.csv", "text,joy,fear,anger\na,1,0,2\n", "train.csv:2: 'anger' is '2'; expected 0 or 1"),
        ("train.csv", "text,joy,fear,anger\na,1,0,\n", "train.csv:2: 'anger' is ''; expected 0 or 1"),
        ("train.csv", "text,mood\na,joy\n", "no column 'label' (found 'text', 'mood')"),
        ("train.csv", "text,label\na,1\nb,3\n", "labels are 1, 3 and never 0: they count from 1"),
        ("train.jsonl", '{"text": "a", "label": [true, false, true]}\n', "is no list of names; write the names"),
        ("train.jsonl", '{"text": "a", "label": [0, 1, 1]}\n{"text": "b", "label": []}\n', "if these say no or yes"),
        ("train.jsonl", '{"text": "a", "label": {"joy": 1}}\n', "train.jsonl:1: label '{\"joy\": 1}' is unknown"),
    ],
)  # fmt: skip
def test_what_is_refused_says_where(read: Read, name: str, content: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        read(content, name)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"labels": ("a,b", "c")}, "labels: 'a,b' holds the separator ','; declare another, such as separator: |"),
        ({"separator": ""}, "separator: found ''; give what stands between the names in a cell"),
        ({"kind": "single_label", "separator": "|"}, "separator stands between the labels of a row, which"),
        ({"labels": ("a ", "c")}, "labels: 'a ' begins or ends with a space"),
        ({"conll": {"label": 2}}, "conll is of files with a token a line, for kind tokens, not multi_label"),
        ({"kind": "tokens", "conll": {"token": 0}}, "conll.token: found 0; expected the number of a column, from 1"),
        ({"kind": "tokens", "conll": {"label": 1}}, "conll.token and conll.label are both 1"),
        ({"kind": "tokens", "conll": {"header": ["text", "x"]}}, "must name 'label' once, one of the task's columns"),
    ],
)  # fmt: skip
def test_what_a_declaration_cannot_mean(change: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError) as error:
        Task(**{"name": "m", "columns": ("text",), "labels": ("a", "b"), "kind": "multi_label", **change})
    assert message in str(error.value)


# Scores


def test_scores_are_scikit_learns() -> None:
    draw = np.random.default_rng(0)
    labels = draw.random((40, 3)) < (0.5, 0.2, 0.0)  # the last label is never there
    logits = torch.tensor(np.where(draw.random((40, 3)) < 0.3, -1, 1) * np.where(labels, 1, -1) * 2.0)
    logits[:, 2] = -1
    task = Task("moods", ("text",), NAMES, ("micro_f1", "macro_f1", "subset_accuracy"), kind="multi_label")
    found = Predictions(torch.arange(40), torch.tensor(labels).float(), logits)
    guesses = (logits > 0).numpy()
    scores = found.scores(metrics(task, sync_on_compute=False))
    assert scores == pytest.approx(
        {
            "micro_f1": f1_score(labels, guesses, average="micro"),
            "macro_f1": f1_score(labels, guesses, average="macro", zero_division=0),
            "subset_accuracy": (labels == guesses).all(1).mean(),
        },
        abs=1e-6,
    )
    p = logits.sigmoid()
    wanted = -torch.where(found.labels > 0, p.log(), (1 - p).log()).mean(1)
    torch.testing.assert_close(found.losses(), wanted)


def test_a_metric_by_class_path() -> None:
    task = Task("moods", ("text",), NAMES, ("torchmetrics.classification.MultilabelJaccardIndex",), kind="multi_label")
    import_classes(task)
    labels = torch.tensor([[1, 0, 0], [0, 1, 1]])
    found = metrics(task, sync_on_compute=False)
    found.update(labels, labels)
    assert found.compute() == {"MultilabelJaccardIndex": 1}
    wrong = Task("moods", ("text",), NAMES, ("torchmetrics.classification.MulticlassF1Score",), kind="multi_label")
    with pytest.raises(DataError, match="takes class ids, and a row has a set of labels; choose one of torchmetrics'"):
        metrics(wrong)


# The protocol


@pytest.fixture
def moods(tmp_path: Path) -> GlueDataModule:
    """Train rows of which a half have joy, a tenth have anger, none has fear."""
    for split, count in (("train", 100), ("dev", 20)):
        rows = [[*(["joy"] if row % 2 else []), *(["anger"] if row % 10 == 0 else [])] for row in range(count)]
        (tmp_path / f"{split}.csv").write_text(
            "text,label\n" + "".join(f'{split} {row},"{",".join(names)}"\n' for row, names in enumerate(rows))
        )
    return GlueDataModule(MOODS, TINY, "files", str(tmp_path), batch_size=8)


def test_the_protocol(moods: GlueDataModule, tmp_path: Path) -> None:
    with pytest.warns(UserWarning, match="no row of 'train' of task 'moods' has fear: a model will not predict it"):
        assert moods.sizes == {"train": 90, "selection": 10, "dev": 20}
    assert sum(2 in ids for ids in moods.table("selection")["label"][:]) == 1
    assert sum(0 in ids for ids in moods.table("selection")["label"][:]) == 5
    assert moods.majority("dev") == {"micro_f1": 0, "macro_f1": 0}
    batch = next(iter(moods.train_dataloader()))
    assert batch["labels"].dtype == torch.float32
    table = moods.table("train")
    by_id = dict(zip(table["idx"][:], table["label"][:], strict=True))
    wanted = [by_id[number] for number in batch["row_ids"].tolist()]
    assert [row.nonzero().squeeze(1).tolist() for row in batch["labels"]] == wanted
    dev = moods.rows("dev")
    write_predictions(tmp_path / "dev.parquet", Predictions(dev.row_ids, dev.labels, torch.zeros(20, 3)))
    assert pq.read_table(tmp_path / "dev.parquet").to_pydict()["label"][0] == [0, 0, 1]


def test_sets_that_are_all_alike_are_told(tmp_path: Path) -> None:
    draw = random.Random(0)
    for split in ("train", "dev"):
        (tmp_path / f"{split}.csv").write_text("text,label\n" + "".join(f"{draw.random()},joy\n" for _ in range(30)))
    with pytest.warns(UserWarning, match="all 30 rows of 'train' of task 'moods' have 'joy', so there is nothing"):
        GlueDataModule(MOODS, TINY, "files", str(tmp_path)).table("train")


# The Hub


def test_sets_of_the_hub(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Features({"text": Value("string"), "label": ListOf(ClassLabel(names=["anger", "fear", "joy"]))})
    rows = {"text": ["a", "b", "c"], "label": [[2], [], [0, 2]]}
    monkeypatch.setattr(hub, "fetch_split", lambda task, split: (Dataset.from_dict(rows, found), "there/train"))
    assert load(MOODS, "train", "hub")["label"][:] == [[0], [], [0, 2]]
    flags = {"text": ["a", "b", "c"], "joy": [1, 0, 1], "fear": [0, 0, 0], "anger": [False, False, True]}
    monkeypatch.setattr(hub, "fetch_split", lambda task, split: (Dataset.from_dict(flags), "there/train"))
    assert load(MOODS, "train", "hub")["label"][:] == [[0], [], [0, 2]]
