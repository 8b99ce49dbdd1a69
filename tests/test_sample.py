"""The built-in sample: columns, balance, separateness, determinism, and the tokenizer that goes with it."""

import hashlib
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from transformers import AutoConfig, AutoTokenizer, BertModel

import ftreg
from glue_tasks import sample
from glue_tasks.errors import DataError
from glue_tasks.sample.tokenizer import write_tokenizer
from glue_tasks.tasks import GLUE, Task

TINY = Path(ftreg.__file__).parent / "encoder" / "backbones" / "tiny"
TASKS = tuple(GLUE.values())


def splits(task: Task) -> tuple[str, ...]:
    return (*((task.train,) if task.train else ()), *task.dev, *task.test)


def texts(task: Task, split: str) -> list[tuple[str, ...]]:
    table = sample.rows(task.name, split)
    return list(zip(*(table[column] for column in task.columns), strict=True))


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_columns_and_labels(task: Task) -> None:
    for split in splits(task):
        table = sample.rows(task.name, split)
        assert list(table) == [*task.columns, "label", "idx"]
        assert {len(column) for column in table.values()} == {len(table["idx"])}
        assert table["idx"] == list(range(len(table["idx"])))
        assert {type(label) for label in table["label"]} == {float if task.regression else int}
        counts = Counter(table["label"])
        if split in task.test:
            assert set(counts) == {-1}
            assert 90 <= len(table["idx"]) <= 110
        elif task.regression:
            levels = Counter(round(label) for label in table["label"])
            assert set(levels) == set(range(6))
            assert len(set(levels.values())) == 1
            assert 0 <= min(counts) < 0.5 < 4.5 < max(counts) <= 5
        else:
            assert set(counts) == set(range(len(task.labels)))
            assert len(set(counts.values())) == 1


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_rows_are_sentences_and_never_repeat(task: Task) -> None:
    rows = [row for split in splits(task) for row in texts(task, split)]
    for row in rows:
        assert all(text[0].isupper() and text[-1] in ".?" and "  " not in text for text in row), row
    assert len({tuple(text.lower() for text in row) for row in rows}) == len(rows)
    if task.name in ("mrpc", "stsb", "qqp"):  # where a pair is the same pair the other way round
        assert len({frozenset(text.lower() for text in row) for row in rows}) == len(rows)


@pytest.mark.parametrize("task", TASKS, ids=lambda task: task.name)
def test_splits_share_no_first_text(task: Task) -> None:
    firsts = [{row[0].lower() for row in texts(task, split)} for split in splits(task)]
    assert len(set[str]().union(*firsts)) == sum(map(len, firsts))


def test_the_diagnostic_set_is_not_in_mnli() -> None:
    mnli = {row for split in splits(GLUE["mnli"]) for row in texts(GLUE["mnli"], split)}
    assert not mnli & set(texts(GLUE["ax"], "test"))


def test_mismatched_mnli_uses_other_words() -> None:
    def words(split: str) -> set[str]:
        rows = texts(GLUE["mnli"], split)
        return {word.strip(".,").lower() for row in rows for text in row for word in text.split()}

    strange = words("dev_mismatched") - words("train")
    assert {"physicist", "olivia", "bulldozer", "promoted"} <= strange
    assert len(words("dev_matched") - words("train")) < 10 < len(strange)


def test_unknown_names_are_one_clear_line() -> None:
    with pytest.raises(DataError, match=r"no task 'rtee': use one of cola .* ax"):
        sample.rows("rtee", "train")
    with pytest.raises(DataError, match=r"mnli has no split 'dev': use one of train dev_matched"):
        sample.rows("mnli", "dev")


def test_a_caller_cannot_change_the_sample() -> None:
    sample.rows("rte", "dev")["sentence1"][0] = "changed"
    assert sample.rows("rte", "dev")["sentence1"][0] != "changed"


DIGEST = """
import hashlib, json
from glue_tasks import sample
wanted = {wanted!r}
tables = {{" ".join(name): sample.rows(*name) for name in wanted}}
print(hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest())
"""


def python(code: str, hash_seed: str) -> str:
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
    command = [sys.executable, "-c", code]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout.strip()


def test_same_rows_in_every_process_and_in_any_order() -> None:
    wanted = [(task.name, split) for task in TASKS for split in task.test]
    tables = {" ".join(name): sample.rows(*name) for name in wanted}
    here = hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
    assert python(DIGEST.format(wanted=wanted), hash_seed="1") == here
    assert python(DIGEST.format(wanted=wanted[::-1]), hash_seed="2") == here


def test_import_is_light() -> None:
    heavy = "{'torch', 'datasets', 'transformers', 'tokenizers'}"
    code = f"import sys, glue_tasks.sample; print(*sorted({heavy} & set(sys.modules)))"
    assert python(code, hash_seed="0") == ""


def test_shipped_tiny_backbone_is_what_the_sample_makes(tmp_path: Path) -> None:
    write_tokenizer(tmp_path)
    made = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert made == {path.name: path.read_bytes() for path in TINY.iterdir()}


def test_tiny_backbone_loads_offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    config = AutoConfig.from_pretrained(TINY)
    assert tokenizer.is_fast
    assert len(tokenizer) == config.vocab_size
    assert tokenizer.model_max_length == config.max_position_embeddings >= 160
    pair = tokenizer("Anna slept.", "A boy slept.")
    assert tokenizer.convert_ids_to_tokens(pair["input_ids"]) == [
        "[CLS]", "anna", "slept", ".", "[SEP]", "a", "boy", "slept", ".", "[SEP]",
    ]  # fmt: skip
    assert pair["token_type_ids"] == [0] * 5 + [1] * 5
    assert BertModel(config).num_parameters() < 100_000


def test_every_row_survives_the_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    seen: set[str] = set()
    for task in TASKS:
        for split in splits(task):
            for column in zip(*texts(task, split), strict=True):
                ids = tokenizer(list(column), add_special_tokens=False)["input_ids"]
                for text, row in zip(column, ids, strict=True):
                    tokens = tokenizer.convert_ids_to_tokens(row)
                    assert "".join(tokens) == text.lower().replace(" ", "")
                    seen.update(tokens)
    assert seen == set(sample.vocabulary())


def test_no_ascii_word_is_unknown_to_the_tiny_tokenizer() -> None:
    tokenizer = AutoTokenizer.from_pretrained(TINY)
    ids = tokenizer("Xyzzy's 42nd quizzing, #~|^ (Zzz)!", add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
