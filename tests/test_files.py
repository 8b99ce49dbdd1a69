"""One's own TSV, CSV and JSONL files: what is read, how labels are mapped, every refusal."""

import json
from pathlib import Path

import pytest

from glue_tasks.errors import DataError
from glue_tasks.sources import fingerprint, load
from glue_tasks.tasks import Task

OWN = Task("own", ("text",), ("no", "yes"))
SCORED = Task("scored", ("text",), metrics=("pearson",), range=(0.0, 5.0))


def line(task: Task, split: str, path: Path | str | None) -> str:
    """The refusal, which must be one line."""
    with pytest.raises(DataError) as error:
        load(task, split, "files", None if path is None else str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("train.csv", '\ufefflabel,text\nyes,"one, ""two""\nthree"\nno,4\n'),
        ("train.tsv", 'text\tlabel\none, "two"\u2028three\tyes\n4\tno'),
        ("train.jsonl", '{"label": "yes", "text": "one, \\"two\\"\\nthree"}\n{"text": "4", "label": "no"}\n'),
        ("train.csv", 'text,label\n"one, ""two""\nthree",1\n4,0\n'),
        ("train.jsonl", '{"label": 1, "text": "one, \\"two\\"\\nthree"}\n{"text": "4", "label": 0}\n'),
    ],
)
def test_own_files(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    data = load(OWN, "train", "files", str(tmp_path))
    assert data.column_names == ["text", "label", "idx"]
    assert data["text"][:] == [
        'one, "two"\nthree'.replace("\n", "\u2028" if name.endswith("tsv") else "\n"),
        "4",
    ]
    assert data["label"][:] == [1, 0]
    assert data.features["label"].names == ["no", "yes"]
    pattern = str(tmp_path / f"{{split}}{Path(name).suffix}")
    assert fingerprint(load(OWN, "train", "files", pattern)) == fingerprint(data)


def test_own_labels_called_by_numbers_are_names(tmp_path: Path) -> None:
    (tmp_path / "train.csv").write_text("text,label\na,1\nb,0\n")
    assert load(Task("own", ("text",), ("1", "0")), "train", "files", str(tmp_path))["label"][:] == [0, 1]


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("test.csv", "text\na\nb\n"),
        ("test.csv", "text,label\na,\nb,\n"),
        ("test.jsonl", '{"text": "a", "label": null}\n{"text": "b", "label": -1}'),
    ],
)
def test_own_test_rows_may_lack_labels(tmp_path: Path, name: str, content: str) -> None:
    for task, unlabelled in ((OWN, [-1, -1]), (SCORED, [-1.0, -1.0])):
        (tmp_path / name).write_text(content)
        assert load(task, "test", "files", str(tmp_path))["label"][:] == unlabelled
    (tmp_path / f"dev{Path(name).suffix}").write_text(content)
    assert "label" in line(OWN, "dev", tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "dev.csv",
            "text,label\na,yes\nb,0\n",
            "dev.csv:3: label '0' is unknown; task 'own' expects no or yes",
        ),
        ("dev.csv", "text,label\na,1\nb,0\nc,2\n", "dev.csv:4: label '2' is unknown; task 'own' expects 0 or 1"),
        ("dev.csv", 'text,label\n"a\nb",no\nc,maybe\n', "dev.csv:4: label 'maybe' is unknown"),
        (
            "dev.csv",
            "text,label\na,b,yes\n",
            "dev.csv:2: found 3 columns, expected 2 comma-separated columns",
        ),
        ("dev.csv", 'text,label\na,yes\n"b,no\n', "dev.csv:3: broken CSV (unexpected end of data)"),
        (
            "dev.csv",
            "text,gold\na,yes\n",
            "dev.csv: no column 'label' (found 'text', 'gold'); the task has 'text', 'l",
        ),
        ("dev.csv", "", "dev.csv: no rows"),
        ("dev.tsv", "text\tlabel\na\n", "dev.tsv:2: found 1 column, expected 2 tab-separated columns"),
        (
            "dev.jsonl",
            '{"text": "a", "label": 1}\n{"text": "b"}\n',
            "dev.jsonl:2: no column 'label' (found 'text')",
        ),
        ("dev.jsonl", '{"text": "a", "label": 1}\n{"text":\n', "dev.jsonl:2: not JSON ("),
        ("dev.jsonl", '["a", 1]\n', 'dev.jsonl:1: found ["a", 1]; expected one JSON object per line'),
        ("dev.jsonl", '{"text": 7, "label": 1}\n', "dev.jsonl:1: 'text' is 7; expected a string of text"),
        ("dev.jsonl", '{"text": "a", "label": true}\n', "dev.jsonl:1: label 'true' is unknown"),
    ],
)
def test_own_bad_file(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content)
    assert message in line(OWN, "dev", tmp_path)


def test_own_file_in_another_encoding(tmp_path: Path) -> None:
    (tmp_path / "dev.csv").write_bytes("text,label\ncafé,yes\n".encode("latin-1"))
    assert "dev.csv:2: not UTF-8 text (byte 14 " in line(OWN, "dev", tmp_path)


def test_own_bad_score(tmp_path: Path) -> None:
    (tmp_path / "dev.jsonl").write_text('{"text": "a", "label": 4.5}\n{"text": "b", "label": "high"}\n')
    message = "dev.jsonl:2: score 'high'; task 'scored' expects a number from 0 to 5"
    assert message in line(SCORED, "dev", tmp_path)


def test_own_files_that_are_not_there(tmp_path: Path) -> None:
    assert "data.source=files needs data.path" in line(OWN, "dev", None)
    assert "no dev.tsv, dev.csv or dev.jsonl (it is empty)" in line(OWN, "dev", tmp_path)
    assert f"{tmp_path}/own_dev.csv: no such file (it is empty)" in line(OWN, "dev", f"{tmp_path}/own_{{split}}.csv")
    assert "a pattern must end in .tsv, .csv, .jsonl" in line(OWN, "dev", f"{tmp_path}/{{split}}.txt")
    for suffix in ("csv", "tsv"):
        (tmp_path / f"dev.{suffix}").write_text("text\n")
    message = line(OWN, "dev", tmp_path)
    assert "dev.tsv and dev.csv are both there; choose one with data.path=" in message
    assert "(it is a file)" in line(OWN, "dev", tmp_path / "dev.csv")


def test_fingerprint_sees_content_only(tmp_path: Path) -> None:
    rows = [{"text": "a", "label": "no"}, {"text": "b", "label": "yes"}]
    (tmp_path / "train.csv").write_text("text,label\na,no\nb,yes\n")
    (tmp_path / "dev.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    (tmp_path / "test.csv").write_text("text,label\na,no\nb,no\n")
    train, dev, test = (fingerprint(load(OWN, split, "files", str(tmp_path))) for split in ("train", "dev", "test"))
    assert train == dev != test
    renamed = Task("own", ("text",), ("nope", "yes"))
    (tmp_path / "train.csv").write_text("text,label\na,nope\nb,yes\n")
    assert fingerprint(load(renamed, "train", "files", str(tmp_path))) != train
