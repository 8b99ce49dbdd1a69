"""The same with real fits: few, for each is a process of its own."""

import json
import os
import signal
import threading
import time
from pathlib import Path

import pytest

from tests.bench.conftest import Bench
from tests.cli.runs import metrics, result, same, weights

MIXOUT = {"mixout": ["--trainer.callbacks+=Mixout", "--trainer.callbacks.p=0.5"]}


def test_stopped_and_gone_on_with_is_the_same_run(
    bench: Bench, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One of two runs is stopped after its first checkpoint; then the same command is given again."""
    folder = runs / "rte" / "mixout" / "1"

    def stop() -> None:
        while not (folder / "checkpoints" / "last.ckpt").is_file():
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    # A seed that is not 0: the selection split is another one, and so are the rows in the identity.
    keys = {"methods": MIXOUT, "seeds": [1], "base": None, "tasks": {"rte": BASE}}
    thread = threading.Thread(target=stop)
    thread.start()
    assert bench(**keys) == 130
    thread.join()
    capsys.readouterr()
    assert bench("--dry-run", **keys) == 0
    assert "cut off  rte/mixout/1" in capsys.readouterr().out
    assert not (folder / "result.json").exists()
    steps = [int(row["step"]) for row in metrics(folder)]
    assert bench(**keys) == 0
    assert "--ckpt_path=" in (folder / "log.txt").read_text()
    whole = tmp_path / "whole"
    assert bench(f"--runs={whole}", **keys) == 0
    uncut = whole / "rte" / "mixout" / "1"
    assert steps == sorted(steps)
    assert max(steps) < result(uncut)["cost"]["steps"] - 1
    assert same(weights(folder), weights(uncut))
    assert result(folder)["scores"] == result(uncut)["scores"]
    assert result(folder)["identity"] == result(uncut)["identity"]
    assert "--ckpt_path=" not in (uncut / "log.txt").read_text()
    assert not (folder / "error.json").exists()


def test_what_a_real_fit_complains_of(bench: Bench, runs: Path) -> None:
    """Found out only while it runs: the folder where W&B is to write is a file."""
    folder = runs / "rte" / "plain" / "0"
    (folder / "checkpoints").mkdir(parents=True)
    (folder / "checkpoints" / "last.ckpt").write_text("no checkpoint")
    assert bench("--only=rte/plain/0") == 1
    error = json.loads((folder / "error.json").read_text())
    assert error["exit_code"] == 2
    assert "not a checkpoint, or a broken one" in error["line"]


BASE = [
    "--data.source=sample",
    "--data.task=rte",
    "--model.backbone=tiny",
    "--data.max_length=32",
    "--data.train_subset=64",
    "--trainer.accelerator=cpu",
    "--trainer.max_steps=40",
    "--trainer.log_every_n_steps=1",
]
