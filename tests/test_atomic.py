"""Files are written whole or not at all, and nothing is left of a process that was killed in the middle."""

import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftreg._base.atomic import together, write_atomically
from ftreg._base.errors import UsageError
from glue_tasks.errors import DataError
from glue_tasks.submission import write_submission
from tests.full import full

STRAY = [".last.ckpt.4711.tmp", f".last.ckpt.{'0a' * 16}.tmp"]
OTHERS = [".last.ckpt.tmp", "last.ckpt.4711.tmp", ".last.ckpt.4711", ".last.ckpt.word.tmp"]


def files(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_two_writers_of_one_file_have_a_temporary_file_each(tmp_path: Path) -> None:
    """Also where they have the same process number, as in two containers."""

    def write(temporary: Path) -> None:
        with open(temporary, "w") as file:
            write_atomically(tmp_path / "x", lambda path: path.write_text("inner"))
            file.write("outer")

    write_atomically(tmp_path / "x", write)
    assert (tmp_path / "x").read_text() == "outer"
    assert files(tmp_path) == {"x"}


def test_content_is_on_the_disk_before_the_name_and_the_name_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[tuple[str, int]] = []
    fsync, replace = os.fsync, os.replace

    def synced(file: int) -> None:
        calls.append(("sync", os.fstat(file).st_ino))
        fsync(file)

    def moved(source: Path, target: Path) -> None:
        calls.append(("move", os.stat(source).st_ino))
        replace(source, target)

    monkeypatch.setattr(os, "fsync", synced)
    monkeypatch.setattr(os, "replace", moved)
    folder = tmp_path / "new"
    write_atomically(folder / "x", lambda path: path.write_text("x"))
    file, place, above = ((path).stat().st_ino for path in (folder / "x", folder, tmp_path))
    assert calls == [("sync", above), ("sync", file), ("move", file), ("sync", place)]


def write_together(path: Path, write: Callable[[Path], object]) -> None:
    with together(path.parent) as folder:
        write(folder / path.name)


@pytest.mark.parametrize("write", [write_atomically, write_together])
def test_what_a_killed_process_has_left_is_taken_away(tmp_path: Path, write: Callable[..., object]) -> None:
    def killed(temporary: Path) -> None:
        temporary.write_text("half")
        os.kill(os.getpid(), signal.SIGKILL)

    child = os.fork()
    if child == 0:
        write(tmp_path / "last.ckpt", killed)
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGKILL
    assert len(files(tmp_path)) == 1
    for name in [*STRAY, *OTHERS]:
        (tmp_path / name).touch()
    write_atomically(tmp_path / "result.json", lambda path: path.write_text("{}"))
    assert files(tmp_path) == {"result.json", *OTHERS}


def test_the_file_of_a_living_process_is_left_to_it(tmp_path: Path) -> None:
    def slow(temporary: Path) -> None:
        temporary.write_text("half")
        (tmp_path / "begun").touch()
        while not (tmp_path / "go on").exists():
            time.sleep(0.01)
        temporary.write_text("whole")

    child = os.fork()
    if child == 0:
        write_atomically(tmp_path / "x", slow)
        os._exit(0)
    try:
        while not (tmp_path / "begun").exists():
            time.sleep(0.01)
        write_atomically(tmp_path / "y", lambda path: path.write_text("y"))
        (tmp_path / "go on").touch()
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    finally:
        (tmp_path / "go on").touch()
    assert (tmp_path / "x").read_text() == "whole"


def test_on_a_full_disk_one_line_and_the_file_before(tmp_path: Path) -> None:
    path = tmp_path / "x"
    path.write_text("before")
    with full(1000), pytest.raises(UsageError) as error:
        write_atomically(path, lambda temporary: temporary.write_text("long" * 1000))
    assert str(error.value).startswith(f"{path}: cannot be written (File too large); make room")
    assert path.read_text() == "before"
    assert files(tmp_path) == {"x"}


@pytest.mark.parametrize("there", [True, False])
def test_a_folder_of_files_is_replaced_together_or_not(tmp_path: Path, there: bool) -> None:
    folder = tmp_path / "report"
    if there:
        folder.mkdir()
        (folder / "a").write_text("before")
        (folder / "own").write_text("own")

    def write(size: int) -> None:
        with together(folder) as place:
            (place / "a").write_text("after")
            write_atomically(place / "figures" / "b", lambda temporary: temporary.write_text("b" * size))

    with full(1000), pytest.raises(UsageError) as error:
        write(4000)
    assert str(error.value).startswith(f"{folder}: cannot be written (File too large)")
    assert folder.exists() == there
    write(1)
    assert (folder / "a").read_text() == "after"
    assert files(folder) == {"a", "figures", *(["own"] if there else [])}


def test_a_folder_in_the_place_of_one_of_the_files_is_no_reason_to_replace_the_others(tmp_path: Path) -> None:
    (tmp_path / "b").mkdir()
    (tmp_path / "a").write_text("before")
    with pytest.raises(UsageError, match="Is a directory"), together(tmp_path) as place:
        [(place / name).write_text("after") for name in "ab"]
    assert (tmp_path / "a").read_text() == "before"


def test_a_submission_is_there_whole_or_not(tmp_path: Path) -> None:
    write_submission({}, tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    (tmp_path / STRAY[1]).touch()
    with full(100_000), pytest.raises(DataError, match="cannot be written"):
        write_submission({"sst2.test": [1] * 1821}, tmp_path)  # the largest files are others
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
