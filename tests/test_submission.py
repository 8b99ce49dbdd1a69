"""The GLUE server's files."""

import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from glue_tasks.errors import DataError
from glue_tasks.submission import validate_submission, write_submission
from glue_tasks.tasks import GLUE


def test_all_files_and_the_words_of_the_server(tmp_path: Path) -> None:
    report = write_submission(
        {
            "rte.test": [0] + [1] * 2999,
            "wnli.test": [0, 1] * 73,
            "stsb.test": [5.7, -0.0, 2.71828] + [1] * 1376,
            "mnli.test_mismatched": [2] * 9847,
            "ax.test": [1] * 1104,
        },
        tmp_path,
    )
    placeholders = {"CoLA.tsv", "SST-2.tsv", "MRPC.tsv", "QQP.tsv", "MNLI-m.tsv", "QNLI.tsv"}
    assert {file for file, source in report.items() if source == "placeholder"} == placeholders
    assert report["MNLI-mm.tsv"] == "mnli.test_mismatched"
    assert len(report) == 11
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*report, "submission.zip"])

    def head(name: str, rows: int = 4) -> list[str]:
        return (tmp_path / name).read_text().split("\n")[:rows]

    assert head("RTE.tsv", 3) == ["index\tprediction", "0\tentailment", "1\tnot_entailment"]
    assert head("WNLI.tsv", 3) == ["index\tprediction", "0\t0", "1\t1"]
    assert head("STS-B.tsv") == ["index\tprediction", "0\t5.000", "1\t0.000", "2\t2.718"]
    assert head("MNLI-mm.tsv", 2) == ["index\tprediction", "0\tcontradiction"]
    assert head("AX.tsv", 2) == ["index\tprediction", "0\tneutral"]
    assert head("MRPC.tsv", 2) == ["index\tprediction", "0\t0"]
    with zipfile.ZipFile(tmp_path / "submission.zip") as archive:
        assert sorted(archive.namelist()) == sorted(report)
        assert all(archive.read(name) == (tmp_path / name).read_bytes() for name in report)
        assert {name: archive.read(name).count(b"\n") - 1 for name in report} == {
            file: rows
            for task in GLUE.values()
            if task.server
            for file, rows in zip(task.server.files, task.server.rows, strict=True)
        }


def test_the_same_predictions_give_the_same_bytes(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        write_submission({"wnli.test": [1] * 146}, tmp_path / folder)
    assert (tmp_path / "a" / "submission.zip").read_bytes() == (tmp_path / "b" / "submission.zip").read_bytes()


@pytest.mark.parametrize(
    ("key", "values", "message"),
    [
        (
            "wnli.tset",
            [0] * 146,
            "predictions 'wnli.tset': not a test split of GLUE; did you mean 'wnli.test'?",
        ),
        ("wnli.test", [0] * 145, "predictions 'wnli.test': 145 rows; the server expects 146"),
        ("wnli.test", [2] * 146, "predictions 'wnli.test', row 0: 2; expected a class id from 0 to 1"),
        ("wnli.test", [0] * 145 + [-1], "row 145: -1; expected a class id from 0 to 1"),
        ("wnli.test", [0.5] * 146, "row 0: 0.5; expected a class id from 0 to 1"),
        ("stsb.test", [float("nan")] * 1379, "predictions 'stsb.test', row 0: nan; expected a finite number"),
    ],
)
def test_predictions_the_server_would_refuse(tmp_path: Path, key: str, values: list[float], message: str) -> None:
    with pytest.raises(DataError) as error:
        write_submission({key: values}, tmp_path)
    assert message in str(error.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("index\tprediction", "id\tlabel", "RTE.tsv:1: header 'id\\tlabel'"),
        ("\n0\tentailment", "\n1\tentailment", "RTE.tsv:2: index '1'; expected 0"),
        (
            "\n0\tentailment",
            "\n0\tyes",
            "RTE.tsv:2: prediction 'yes'; expected one of entailment, not_entailment",
        ),
        ("\n0\tentailment", "", "RTE.tsv: 2999 rows; the server expects 3000"),
    ],
)
def test_a_zip_changed_by_hand(tmp_path: Path, old: str, new: str, message: str) -> None:
    write_submission({}, tmp_path)
    edited = tmp_path / "edited.zip"
    with zipfile.ZipFile(tmp_path / "submission.zip") as source, zipfile.ZipFile(edited, "w") as target:
        for name in source.namelist():
            text = source.read(name).decode()
            target.writestr(name, text.replace(old, new, 1) if name == "RTE.tsv" else text)
    with pytest.raises(DataError) as error:
        validate_submission(edited)
    assert message in str(error.value)


def test_a_zip_with_a_file_missing(tmp_path: Path) -> None:
    file = tmp_path / "some.zip"
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("RTE.tsv", "index\tprediction\n")
    with pytest.raises(DataError, match=r"holds RTE\.tsv; expected exactly CoLA\.tsv, "):
        validate_submission(file)


@pytest.mark.parametrize(
    ("damage", "line"),
    [
        (lambda data: data[:100], "no zip of text files that can be read (BadZipFile: File is not a zip file)"),
        (lambda data: b"", "no zip of text files that can be read"),
        (lambda data: data.replace(b"PK\x03\x04", b"PK\x03\x05", 1), "(BadZipFile: Bad magic number for file header)"),
    ],
)
def test_a_damaged_zip_is_refused_in_one_line(tmp_path: Path, damage: Callable[[bytes], bytes], line: str) -> None:
    write_submission({}, tmp_path)
    file = tmp_path / "submission.zip"
    file.write_bytes(damage(file.read_bytes()))
    with pytest.raises(DataError) as error:
        validate_submission(file)
    assert line in str(error.value)
    assert str(error.value).startswith(str(file))


@pytest.mark.parametrize("values", [3, None.__class__, "0" * 146, {"a": 1}])
def test_predictions_are_a_list(tmp_path: Path, values: object) -> None:
    with pytest.raises(DataError, match=r"predictions 'wnli\.test': found .*; give a list with one for each row"):
        write_submission({"wnli.test": values}, tmp_path / "out")  # type: ignore[dict-item]
    assert not (tmp_path / "out").exists()
