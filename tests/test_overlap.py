"""Evaluation rows in an earlier stage's training rows: found however they are written, and nothing else."""

import time
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset

from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.overlap import Overlap, check_overlap, overlap
from glue_tasks.tasks import Task
from tests.test_data import write

PAIR = ("a", "b")
PAIRS = Task("pairs", PAIR, ("no", "yes"))
SINGLE = Task("single", ("text",), ("no", "yes"))


def table(columns: tuple[str, ...], *rows: tuple[str, ...]) -> Dataset:
    texts = {name: [row[number] for row in rows] for number, name in enumerate(columns)}
    return Dataset.from_dict({**texts, "idx": [10 + row for row in range(len(rows))]})


NONE = table(PAIR)


def found(ours: Dataset, theirs: Dataset, train: Dataset = NONE, single: bool = False) -> int:
    """How many rows of one split."""
    columns = [tuple(name for name in one.column_names if name != "idx") for one in (ours, theirs)]
    result = overlap({"dev": ours}, columns[0], theirs, columns[1], train, single)
    return 0 if result is None else result.counts["dev"]


def test_pairs_are_the_same_in_any_order_and_however_written() -> None:
    ours = table(
        PAIR,
        ("The cat sat .", "A dog"),
        ("It 's Straße no. ½", "“Quoted”"),
        ("The cat sat", "another dog"),
        ("a", "b c"),
    )
    theirs = table(("x", "y"), ("a DOG!", "the cat  sat"), ('"quoted"', "It's STRASSE no. 1⁄2"), ("b", "a c"))
    assert found(ours, theirs) == 2


def test_one_text_of_a_pair_is_not_the_pair() -> None:
    shared = "a sentence of more than four words"
    assert found(table(PAIR, (shared, "one")), table(PAIR, (shared, "two"))) == 0
    assert found(table(PAIR, (shared, "one")), table(PAIR, (shared, "two")), single=True) == 1


def test_rows_without_letters_or_digits_are_not_all_the_same() -> None:
    assert found(table(PAIR, ("?", "...")), table(PAIR, ("!", ""))) == 0


def test_single_texts_against_pairs_need_four_words() -> None:
    theirs = table(PAIR, ("We saw it.", "We all saw it."))
    assert found(table(("text",), ("We saw it",), ("we all saw it",)), theirs, table(("text",))) == 1
    single = table(("text",), ("We saw it.",), ("We all saw it.",))
    assert found(table(PAIR, ("We saw it", "and left"), ("and left", "we all saw it")), single) == 1
    assert found(single, single, table(("text",))) == 2


def test_what_the_target_trains_on_anyway_does_not_count() -> None:
    rows = table(PAIR, ("one", "two"), ("three", "four"))
    assert found(rows, rows, table(PAIR, ("Two", "one."))) == 1
    assert found(rows, rows, rows) == 0


def test_the_result_names_the_first_row() -> None:
    first = table(PAIR, ("left", "right"))
    second = table(PAIR, ("one", "two"), ("three", "x" * 99), ("five", "six"))
    theirs = table(PAIR, *zip(second["a"][1:], second["b"][1:], strict=True))
    result = overlap({"selection": first, "dev": second}, PAIR, theirs, PAIR, NONE)
    assert result == Overlap({"selection": 0, "dev": 2}, "dev", 11, ("three", "x" * 99))
    assert str(result) == (
        f"evaluation rows that were trained on before: 2 of dev; the first is row 11 of dev: 'three' / '{'x' * 57}...'"
    )
    assert overlap({"selection": first}, PAIR, theirs, PAIR, NONE) is None


def test_many_rows_take_no_quadratic_time() -> None:
    theirs = table(PAIR, *((f"row {row}", f"of many {row}") for row in range(60_000)))
    start = time.monotonic()
    assert found(theirs, theirs) == 60_000
    assert time.monotonic() - start < 30  # comparing all pairs would take an hour


# Data modules


@pytest.fixture
def stages(tmp_path: Path) -> tuple[GlueDataModule, Path]:
    """A target with 60 train rows, 10 dev rows and no test file; the folder of a stage with its dev row 4 in train."""
    target, stage = tmp_path / "target", tmp_path / "stage"
    for folder in (target, stage):
        folder.mkdir()
        for split, count in (("train", 60), ("dev", 10)):
            rows = [(f"{folder.name} {split} {row}", f"and number {row}", "yes") for row in range(count)]
            write(folder, split, ("a", "b", "label"), rows)
    with (stage / "train.tsv").open("a") as file:
        file.write("AND number 4\ttarget DEV 4!\tno\n")
    return GlueDataModule(PAIRS, source="files", path=str(target)), stage


def stage_of(folder: Path, **options: Any) -> GlueDataModule:
    return GlueDataModule(PAIRS, source="files", path=str(folder), protocol="dev", **options)


def test_stages(stages: tuple[GlueDataModule, Path]) -> None:
    target, folder = stages
    result = check_overlap(target, stage_of(folder, evaluate=False))
    assert result is not None
    assert (result.counts, result.split, result.row) == ({"selection": 0, "dev": 1}, "dev", 4)
    write(folder, "train", ("a", "b", "label"), [("one", "two", "no"), ("three", "four", "yes")])
    assert check_overlap(target, stage_of(folder, evaluate=False)) is None


def test_the_test_split_counts_where_it_is_there(stages: tuple[GlueDataModule, Path]) -> None:
    target, folder = stages
    write(Path(str(target.path)), "test", PAIR, [("stage train 0", "and number 0"), ("stage train 0", "and number 1")])
    result = check_overlap(target, stage_of(folder))
    assert result is not None
    assert result.counts == {"selection": 0, "dev": 1, "test": 1}


def test_the_rows_the_stage_does_not_train_on_do_not_count(stages: tuple[GlueDataModule, Path]) -> None:
    target, folder = stages
    write(folder, "dev", ("a", "b", "label"), [(f"target dev {row}", f"and number {row}", "no") for row in range(10)])
    write(folder, "train", ("a", "b", "label"), [(f"other {row}", f"and number {row}", "no") for row in range(30)])
    assert check_overlap(target, stage_of(folder)) is None


def test_a_missing_dev_split_is_an_error(stages: tuple[GlueDataModule, Path]) -> None:
    target, folder = stages
    (Path(str(target.path)) / "dev.tsv").unlink()
    with pytest.raises(DataError, match=r"dev\.tsv"):
        check_overlap(target, stage_of(folder))


@pytest.mark.parametrize("name", ["text", "nsp", "sop"])
def test_plain_text_counts_by_the_sentence(name: str, tmp_path: Path) -> None:
    for split, count in (("train", 60), ("dev", 10)):
        rows = [(f"the long {split} sentence {row}", f"number {row}", "yes") for row in range(count)]
        write(tmp_path, split, ("a", "b", "label"), rows)
    file = tmp_path / "corpus.txt"
    file.write_text("The long dev sentence 3.\nUnlike this one.\nNumber 5\n\nthe long train sentence 7\nand one more\n")
    stage = GlueDataModule(name, source="text", path=str(file), protocol="dev", evaluate=False)
    result = check_overlap(GlueDataModule(PAIRS, source="files", path=str(tmp_path)), stage)
    assert result is not None
    assert result.counts["dev"] == 1
    assert result.row == 3


# Real files


def real(name: str, glue_dir: Path, **options: Any) -> GlueDataModule:
    return GlueDataModule(name, source="tsv", path=str(glue_dir), **options)


def test_rte_after_its_own_dev_set(glue_dir: Path) -> None:
    stage = real("rte", glue_dir, train_split="dev", evaluate=False)
    result = check_overlap(real("rte", glue_dir), stage)
    assert result is not None
    assert result.counts == {"selection": 0, "dev": stage.sizes["train"], "test": 0}


def test_rte_after_mnli_and_after_itself(glue_dir: Path) -> None:
    assert (
        check_overlap(real("rte", glue_dir), real("mnli", glue_dir, train_split="dev_matched", evaluate=False)) is None
    )
    assert check_overlap(real("rte", glue_dir), real("rte", glue_dir)) is None


@pytest.mark.parametrize("name", ["cola", "stsb"])
def test_rows_that_are_in_train_and_dev_of_one_task(name: str, glue_dir: Path) -> None:
    assert check_overlap(real(name, glue_dir), real(name, glue_dir)) is None


def test_stsb_has_rows_of_mrpc(glue_dir: Path) -> None:
    """Both take them from the Microsoft Research Paraphrase Corpus, in splits of their own."""
    result = check_overlap(real("stsb", glue_dir), real("mrpc", glue_dir, protocol="dev"))
    assert result is not None
    assert result.counts["dev"] > 100
