"""Plain text: documents, the tasks made from them, and what is refused."""

from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from glue_tasks import next_sentence, sentence_order
from glue_tasks.data import GlueDataModule
from glue_tasks.documents import TASKS, read_documents
from glue_tasks.errors import DataError
from glue_tasks.registry import find
from glue_tasks.sources import Source, fingerprint, load
from glue_tasks.tasks import GLUE, Task
from tests.test_data import TINY

OWN = Task("own", ("text",), ("no", "yes"))


def corpus(documents: int, sentences: int = 4) -> list[list[str]]:
    """Sentences that all differ; the first word of each tells its document."""
    return [[f"d{number} sentence{at} of document{number}" for at in range(sentences)] for number in range(documents)]


def write(file: Path, documents: list[list[str]]) -> str:
    file.write_text("\n\n".join("\n".join(document) for document in documents) + "\n", encoding="utf-8")
    return str(file)


def refusal(task: Task, path: str | Path | None, source: Source = "text") -> str:
    with pytest.raises(DataError) as error:
        load(task, task.splits[0], source, None if path is None else str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


# Reading


def test_empty_lines_and_ends_of_files_separate_documents(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_bytes(b"\n \t\n\xef\xbb\xbf")
    (tmp_path / "c.txt").write_bytes(b"seven\n")
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfone\r\n  two\xe2\x80\xa8three \r\n\n\n\nfour\nfive")
    (tmp_path / "notes.md").write_text("not read")
    (tmp_path / ".hidden.txt").write_bytes(b"\xff")
    expected = [["one", "two\u2028three"], ["four", "five"], ["\ufeff"], ["seven"]]  # a mark is one at the start only
    assert read_documents(str(tmp_path)) == expected
    assert read_documents(str(tmp_path / "a.txt")) == expected[:2]


def test_lines_are_unlabelled_rows(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.txt", [["one", "two"], ["one"]])
    table = load(find("text"), "train", "text", path)
    assert table[:] == {"text": ["one", "two", "one"], "label": [-1.0] * 3, "idx": [0, 1, 2]}
    assert table.features["label"].dtype == "float32"


def test_what_cannot_be_read(tmp_path: Path) -> None:
    text = find("text")
    assert "needs data.path" in refusal(text, None)
    assert f"{tmp_path / 'none.txt'}: no such file or folder; check data.path" in refusal(text, tmp_path / "none.txt")
    assert "no *.txt in this folder; check data.path" in refusal(text, tmp_path)
    file = tmp_path / "corpus.txt"
    file.write_text("\n  \n")
    assert "corpus.txt: no text, only empty lines; write " in refusal(text, file)
    file.write_bytes(b"sound\n" * 5000 + b"caf\xe9 au lait\n")  # further than any buffer reaches
    assert "corpus.txt:5001: not UTF-8 text (byte 30003 of the file is 0xe9" in refusal(text, tmp_path)


# Pairs


def test_next_sentences() -> None:
    documents = [*corpus(20), *corpus(41, sentences=7)[20:], ["alone"]]
    pairs = next_sentence.pairs(documents, 0)
    following = {first: second for document in documents for first, second in pairwise(document)}
    assert pairs["first"] == list(following)
    assert Counter(pairs["label"]) == {0: 93, 1: 93}
    for first, second, label in zip(*pairs.values(), strict=True):
        assert (label == 0) == (second == following[first])
        assert (label == 0) == (first.split()[0] == second.split()[0])
    assert "alone" not in pairs["second"]


def test_any_sentence_of_any_other_document_may_be_the_random_one() -> None:
    pairs = next_sentence.pairs(corpus(5, sentences=200), 0)
    drawn = [second for second, label in zip(pairs["second"], pairs["label"], strict=True) if label]
    documents = Counter(text.split()[0] for text in drawn)
    assert min(documents.values()) > 70  # of 99.4 expected
    assert len(set(drawn)) > 350  # of 393 expected, if all are as likely
    routes = {(a.split()[0], b.split()[0]) for a, b in zip(pairs["first"], pairs["second"], strict=True)}
    assert len(routes) == 25


def test_a_right_sentence_that_was_drawn_is_no_random_one() -> None:
    assert next_sentence.pairs([["a", "b"]] * 2, 0)["label"].count(1) <= 1
    refrain = [["la", "la", "la", "la"], ["la", "la", "la", "la"]]
    assert next_sentence.pairs(refrain, 0)["label"] == [0] * 6


def test_sentence_order() -> None:
    documents = [*corpus(11), ["alone"], ["twice", "twice"]]
    pairs = sentence_order.pairs(documents, 0)
    ordered = [pair for document in corpus(11) for pair in pairwise(document)]
    assert Counter(pairs["label"]) == {0: 17, 1: 16}
    found = zip(*pairs.values(), strict=True)
    assert [(second, first) if label else (first, second) for first, second, label in found] == ordered
    assert sentence_order.pairs([["alone"]], 0) == {"first": [], "second": [], "label": []}


@pytest.mark.parametrize("module", [next_sentence, sentence_order])
def test_pairs_depend_on_the_seed_alone(module: Any) -> None:
    first, again, other = (module.pairs(corpus(10), seed) for seed in (0, 0, 1))
    assert first == again != other


@pytest.mark.parametrize(("name", "labels"), [("nsp", ["next", "random"]), ("sop", ["in_order", "swapped"])])
def test_pairs_as_a_table(tmp_path: Path, name: str, labels: list[str]) -> None:
    path = write(tmp_path / "corpus.txt", corpus(10))
    table = load(find(name), "train", "text", path)
    assert table.column_names == ["first", "second", "label", "idx"]
    assert table.features["label"].names == labels
    assert Counter(table["label"][:]) == {0: 15, 1: 15}
    assert fingerprint(table) == fingerprint(load(find(name), "train", "text", path))


def test_too_few_sentences(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.txt", [["one"], ["two"]])
    for name in ("nsp", "sop"):
        assert f"corpus.txt: no document of two sentences, so task {name!r} has no pair" in refusal(find(name), path)
    write(tmp_path / "corpus.txt", [["one", "two", "three"], ["four"]])
    assert "corpus.txt: task 'nsp' needs two or more documents of two or more " in refusal(find("nsp"), path)
    assert len(load(find("sop"), "train", "text", path)) == 2


# Tasks and sources


def test_the_tasks_are_found_and_listed_apart() -> None:
    assert [find(name) for name in ("text", "nsp", "sop")] == list(TASKS.values())
    assert not set(TASKS) & set(GLUE)
    assert all(task.splits == ("train",) for task in TASKS.values())
    with pytest.raises(DataError) as error:
        find("nps")
    assert "did you mean 'nsp'? GLUE has cola, " in str(error.value)
    assert "wnli, ax; plain text (data.source=text) has text, nsp, sop; " in str(error.value)


@pytest.mark.parametrize("source", ["hub", "tsv", "files", "sample", "web"])
@pytest.mark.parametrize("name", TASKS)
def test_from_another_source(name: str, source: Any, tmp_path: Path) -> None:
    assert f"task {name!r} is made from plain text" in refusal(find(name), tmp_path, source)


@pytest.mark.parametrize("task", [find("rte"), OWN, Task("nsp", ("a", "b"), ("yes", "no"))])
def test_for_another_task(task: Task, tmp_path: Path) -> None:
    message = refusal(task, write(tmp_path / "corpus.txt", corpus(10)))
    assert message.startswith("data.source=text is plain text for the tasks text, nsp, sop; for task ")


# The data module


def test_lines_are_never_carved_or_scored(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.txt", corpus(40))
    for options in ({}, {"protocol": "dev"}, {"evaluate": False}):
        data = GlueDataModule("text", TINY, "text", path, **options)  # type: ignore[arg-type]
        data.setup("fit")
        assert data.evaluation_splits == data.final_splits == ()
        assert data.sizes == {"train": 160}
        assert data.val_dataloader() == []
        assert list(data.fingerprints) == ["train"]
        assert next(iter(data.train_dataloader()))["labels"].tolist() == [-1.0] * 16
    assert data.labels == ()


@pytest.mark.parametrize("name", ["nsp", "sop"])
def test_a_selection_of_pairs_shares_no_sentence_with_train(name: str, tmp_path: Path) -> None:
    data = GlueDataModule(name, TINY, "text", write(tmp_path / "corpus.txt", corpus(301)))
    assert data.evaluation_splits == data.final_splits == ("selection",)
    train, selection = (data.table(split) for split in ("train", "selection"))
    assert len(train) + len(selection) == 903
    assert len(selection) > 80
    sentences = [{*table["first"][:], *table["second"][:]} for table in (train, selection)]
    assert sentences[0].isdisjoint(sentences[1])


def test_pairs_that_cannot_be_carved_say_how_to_train_on_all(tmp_path: Path) -> None:
    path = write(tmp_path / "corpus.txt", corpus(2, sentences=30))
    with pytest.raises(DataError, match=r"data.protocol=dev with data.evaluate=false$"):
        GlueDataModule("sop", TINY, "text", path).setup("fit")
    data = GlueDataModule("sop", TINY, "text", path, protocol="dev", evaluate=False)
    data.setup("fit")
    assert data.sizes == {"train": 58}
    with pytest.raises(DataError, match="leaves no split to evaluate on"):
        GlueDataModule("sop", TINY, "text", path, protocol="dev")
