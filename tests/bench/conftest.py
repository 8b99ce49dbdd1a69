"""A small grid to be changed, the command on it, and a stand-in for the fits."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftreg.bench import local
from ftreg.bench.command import main
from tests.cli.runs import ROOT

Bench = Callable[..., int]
Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes the grid with other keys; None leaves one out."""

    def to_file(**keys: Any) -> Path:
        content = {
            "base": [
                "--data.source=sample",
                "--model.backbone=tiny",
                "--data.max_length=32",
                "--data.train_subset=64",
                "--trainer.accelerator=cpu",
                "--trainer.max_steps=4",
            ],
            "tasks": ["rte"],
            "methods": {
                "plain": [],
                "mixout": [str(ROOT / "experiments/mixout/mixout.yaml"), "--trainer.callbacks.p=0.5"],
            },
            "seeds": [0, 1],
        }
        path = tmp_path / "grid.yaml"
        chosen = {key: value for key, value in (content | keys).items() if value is not None}
        path.write_text(yaml.safe_dump(chosen, sort_keys=False))
        return path

    return to_file


@pytest.fixture
def bench(write: Write, tmp_path: Path) -> Iterator[Bench]:
    """Runs the command on such a grid, into `runs`; returns the exit code."""

    def run(*arguments: str, **keys: Any) -> int:
        return main([str(write(**keys)), "--runs", str(tmp_path / "runs"), "--workers=2", *arguments])

    return run


@pytest.fixture
def pretend(monkeypatch: pytest.MonkeyPatch) -> None:
    """Fits are pretended."""
    monkeypatch.setattr(local, "FIT", (sys.executable, str(Path(__file__).with_name("pretend.py"))))


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    return tmp_path / "runs"
