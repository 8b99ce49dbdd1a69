"""`metrics.csv`: what is in it after a run was killed, a disk was full, or somebody else wrote into it."""

import csv
import os
from pathlib import Path

import pytest

from ftreg._base.errors import UsageError
from ftreg.run.history import History
from ftreg.run.loggers import CSVLogger
from tests.full import full

HEAD, ROWS = "epoch,loss,step\r\n", ["0,0.5,0\r\n", "0,0.25,1\r\n", "1,0.125,2\r\n"]
WHOLE = (HEAD + "".join(ROWS)).encode()


def history(folder: Path, content: bytes) -> History:
    (folder / "metrics.csv").write_bytes(content)
    return History(folder / "metrics.csv")


def test_rows_and_growing_columns(tmp_path: Path) -> None:
    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 0.5, "epoch": 0}, 0)
    logger.log_metrics({"loss": 0.1 + 0.2, "epoch": 0}, 1)
    logger.log_metrics({"selection/accuracy": 1.0, "note": "in\ntwo lines, é"}, 1)
    CSVLogger(str(tmp_path)).log_metrics({"loss": float("nan")}, 2)  # another process goes on
    with open(tmp_path / "metrics.csv", encoding="utf-8", newline="") as file:
        head, *rows = csv.reader(file)
    assert head == ["epoch", "loss", "note", "selection/accuracy", "step"]
    assert rows == [
        ["0", "0.5", "", "", "0"],
        ["0", "0.30000000000000004", "", "", "1"],
        ["", "", "in two lines, é", "1.0", "1"],
        ["", "nan", "", "", "2"],
    ]


def test_a_kill_while_the_columns_grow_keeps_every_row(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    logger = CSVLogger(str(tmp_path))
    logger.log_metrics({"loss": 0.5}, 0)
    logger.save()
    before = (tmp_path / "metrics.csv").read_bytes()
    monkeypatch.setattr(os, "replace", killed)
    monkeypatch.setattr(csv.DictWriter, "writerows", killed)
    with pytest.raises(KeyboardInterrupt):
        logger.log_metrics({"score": 1.0}, 0)
    assert (tmp_path / "metrics.csv").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "kept", "lost"),
    [
        (WHOLE, WHOLE, ""),
        (WHOLE + b"1,0.1,3\r\n1,0.2,4\r\n", WHOLE, "goes on without the steps after 3, which are done again"),
        (WHOLE + b"1,0.", WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,0.1,3\r\n1,0.", WHOLE, "without 1 torn line and the steps after 3, which are done again"),
        (WHOLE[:-2], (HEAD + "".join(ROWS[:2])).encode(), "goes on without 1 torn line"),
        (WHOLE + b"\r\n\r\n", WHOLE, "goes on without 2 torn lines"),
        (b"\n" + WHOLE, WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"\0" * 100, WHOLE, "goes on without 1 torn line"),
        (HEAD.encode() + b"\0\0\0\r\n" + "".join(ROWS).encode(), WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,\xff\xfe,", WHOLE, "goes on without 1 torn line"),
        (WHOLE + HEAD.encode(), WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,0.51,0.25,3\r\n", WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,0.5,three\r\n", WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,0.5,-1\r\n", WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,0.5,\r\n", WHOLE, "goes on without 1 torn line"),
        (WHOLE + b'1,"0.5,3\r\n', WHOLE, "goes on without 1 torn line"),
        (WHOLE + b"1,0.5," + b"9" * 5000 + b"\r\n", WHOLE, "goes on without 1 torn line"),
        (WHOLE.replace(b"\r\n", b"\n") + b"1,0.", WHOLE, "goes on without 1 torn line"),
        (b"\xef\xbb\xbf" + WHOLE + b"1,0.", WHOLE, "goes on without 1 torn line"),
        (HEAD.encode(), HEAD.encode(), ""),
        (b"epoch,lo", b"", "goes on without 1 torn line"),
        (b"\0\0\0\0", b"", "goes on without 1 torn line"),
        (b"", b"", ""),
    ],
)
def test_a_run_goes_on_from_its_checkpoint(tmp_path: Path, content: bytes, kept: bytes, lost: str) -> None:
    """At step 3: rows 0, 1 and 2 are of before."""
    one = history(tmp_path, content)
    assert one.forget(3).endswith(lost)
    assert (tmp_path / "metrics.csv").read_bytes() == kept
    one.add({"epoch": 1, "loss": 0.0625}, 3)
    rows = [*csv.DictReader((tmp_path / "metrics.csv").read_text().splitlines())]
    assert rows[-1] == {"epoch": "1", "loss": "0.0625", "step": "3"}
    assert len(rows) == max(1, kept.count(b"\r\n"))
    assert one.forget(4) == ""


@pytest.mark.parametrize(
    "content",
    [
        b"hello, this is a letter",
        b"name,score\r\na,1\r\nb,2\r\n",
        b"step,step,loss\r\n0,0,1\r\n",
        b"epoch,loss,step\r\na,b,c\r\nd,e,f\r\n",
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + bytes(range(256)),
        WHOLE.decode().encode("utf-16"),
    ],
)
def test_what_is_no_such_file_is_refused_and_left_as_it_is(tmp_path: Path, content: bytes) -> None:
    for act in (lambda one: one.forget(1), lambda one: one.add({"loss": 1.0}, 1)):
        with pytest.raises(UsageError) as error:
            act(history(tmp_path, content))
        assert str(error.value).startswith(f"{tmp_path / 'metrics.csv'}: not the CSV file that ftreg writes: ")
        assert "\n" not in str(error.value)
        assert len(str(error.value)) < 500
        assert (tmp_path / "metrics.csv").read_bytes() == content


def test_a_folder_in_its_place_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.csv").mkdir()
    with pytest.raises(UsageError, match=r"metrics\.csv: a folder"):
        History(tmp_path / "metrics.csv").forget(1)


def test_what_the_last_step_was_about_to_log_is_there(tmp_path: Path) -> None:
    """The checkpoint is from within step 3: after it was written, the row may be there or not."""
    for content in (WHOLE, WHOLE.removesuffix(ROWS[2].encode())):
        history(tmp_path, content).forget(3, {"epoch": 1, "loss": 0.125})
        assert (tmp_path / "metrics.csv").read_bytes() == WHOLE


def test_on_a_full_disk_a_row_is_there_whole_or_not(tmp_path: Path) -> None:
    one = history(tmp_path, WHOLE)
    for values in ({"epoch": 1, "loss": 0.0625}, {"another": 1.0}):
        with full(len(WHOLE) + 3), pytest.raises(UsageError, match="cannot be written"):
            one.add(values, 3)
        assert (tmp_path / "metrics.csv").read_bytes() == WHOLE
        assert os.listdir(tmp_path) == ["metrics.csv"]
