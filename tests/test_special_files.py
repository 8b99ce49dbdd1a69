"""Pipes, sockets, devices, endless links and much too long files: each is refused, unread, wherever a file is named."""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from ftreg._base.errors import UsageError
from ftreg._base.files import TEXT
from ftreg.bench import grid
from ftreg.cli.option_names import Names
from ftreg.core.checkpoint_reader import load_checkpoint as checkpoint
from ftreg.encoder.backbone import resolve
from ftreg.methods import TwoStage
from ftreg.report.reading import read_runs
from ftreg.run import stages
from ftreg.run.history import read_history
from ftreg.run.provenance import read_fits
from ftreg.run.result import RunResult
from glue_tasks import documents
from glue_tasks.errors import DataError
from glue_tasks.rows import read_table as read_rows
from glue_tasks.sources import load
from glue_tasks.submission import validate_submission
from glue_tasks.tasks import Task


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


def sock(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        here = os.getcwd()
        os.chdir(path.parent)  # a socket's address is short
        try:
            server.bind(path.name)
        finally:
            os.chdir(here)


def loop(path: Path) -> None:
    path.symlink_to(path)


KINDS = {pipe: "a pipe", device: "a device", sock: "a socket", loop: "a symbolic link that leads back to itself"}

OWN = Task("own", ("text",), ("no", "yes"))
READERS: dict[str, Callable[[Path], object]] = {
    "own.csv": lambda path: read_rows(path, ("text",), "label"),
    "own.tsv": lambda path: read_rows(path, ("text",), "label"),
    "own.jsonl": lambda path: read_rows(path, ("text",), "label"),
    "own.txt": lambda path: documents.read_documents(str(path)),
    "config.yaml": lambda path: Names([], {}, []).check(["--config", str(path)]),
    "whole group.yaml": lambda path: Names(["data", "data.task"], {}, []).check([f"--data={path}"]),
    "option.yaml": lambda path: Names(["data.task"], {}, []).check(["--data.task", str(path)]),
    "{split}.csv": lambda path: load(OWN, "train", "files", str(path)),
    "grid.yaml": grid.read_grid,
    "weights.bin": lambda path: resolve(str(path.parent)),
    "folder": lambda path: resolve(str(path)),
    "some.ckpt": lambda path: checkpoint(str(path), "ckpt_path"),
    "result.json": RunResult.read,
    "metrics.csv": read_history,
    "submission.zip": validate_submission,
    "stage.yaml": lambda path: stages.stage_arguments(
        TwoStage(stages=[str(path)]), {"trainer": {}, "model": {"backbone": "x"}}
    ),
    "cited.yaml": read_fits,
    "scores.csv": lambda path: read_runs([path]),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("make", KINDS, ids=lambda make: make.__name__)
def test_no_ordinary_file_is_refused_unread(tmp_path: Path, name: str, make: Callable[[Path], None]) -> None:
    path = tmp_path / name.replace("{split}", "train")
    make(path)
    with pytest.raises((UsageError, DataError)) as error:
        READERS[name](tmp_path / name)
    assert "\n" not in str(error.value)
    assert f"{path}: {KINDS[make]}; give an ordinary file" in str(error.value)


@pytest.mark.parametrize("name", ["config.yaml", "grid.yaml", "stage.yaml", "cited.yaml"])
def test_a_file_that_is_much_too_long_is_refused_unread(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.touch()
    os.truncate(path, 10**12)  # takes no room
    with pytest.raises(UsageError, match="1,000 GB long, which is more than 16 MB"):
        READERS[name](path)
    assert TEXT == 16 * 10**6
