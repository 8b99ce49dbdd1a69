"""On a real SLURM: an array of runs, a fit on two tasks, a whole bench; stopped, requeued, and the same in the end."""

import json
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from ftreg.bench.slurm import SUBMITTED
from tests.bench.conftest import Bench, Write
from tests.cli.runs import ROOT, metrics, result, same, weights

pytestmark = pytest.mark.slurm

PATIENCE = 300
"""Seconds, on a machine that other tests keep busy."""
FIT = [
    "--data.source=sample",
    "--data.task=rte",
    "--data.max_length=32",
    "--data.train_subset=64",
    "--model.backbone=tiny",
    "--trainer.accelerator=cpu",
    "--trainer.max_steps=31",
    "--trainer.log_every_n_steps=1",
    "--trainer.callbacks+=Mixout",
    "--trainer.callbacks+=tests.cli.test_interruption.Slow",
]
GRID = {"base": None, "tasks": {"rte": FIT}, "methods": {"mixout": []}, "seeds": [0, 1]}


@pytest.fixture(autouse=True)
def surroundings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs run where they are submitted, with this environment's `ftreg`."""
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent), prepend=os.pathsep)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")


def until(what: str, done: Callable[[], object]) -> None:
    """Wait for it."""
    end = time.monotonic() + PATIENCE
    while not done():
        assert time.monotonic() < end, f"no {what} within {PATIENCE} s; {slurm('squeue')}"
        time.sleep(0.2)


def slurm(*command: str) -> str:
    return subprocess.run(command, check=True, text=True, capture_output=True).stdout


def says(job: str, what: str) -> str:
    """A field of what SLURM knows of a job."""
    found = re.search(rf"\b{what}=(\S*)", slurm("scontrol", "show", "job", job))
    return found[1] if found else ""


def told_that_its_time_is_up(job: str, started: Path, *where: str) -> None:
    """As at the end of its time; SLURM then waits two minutes before it starts the job again, and the test does not."""
    until("training", started.exists)
    slurm("scancel", "--signal=USR1", *where, job)
    until("requeued job", lambda: says(job, "Restarts") == "1" and says(job, "JobState") == "PENDING")
    time.sleep(3)  # the node still refuses what it has just revoked
    slurm("scontrol", "update", f"JobId={job}", "StartTime=now")


def test_an_array_and_an_element_that_is_requeued(
    bench: Bench, runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Elements of two tasks: the bench is told, and tells srun, which hands it on to both ranks."""
    two = [*FIT, "--trainer.strategy=ddp", "--trainer.devices=2"]
    given = {**GRID, "tasks": {"rte": two}, "slurm": {"ntasks-per-node": 2}}
    assert bench("--launcher=slurm", **given) == 0
    assert "2 runs submitted as job " in capsys.readouterr().out
    jobs = json.loads((runs / SUBMITTED).read_text())
    folder = runs / "rte" / "mixout" / "1"
    told_that_its_time_is_up(jobs["rte/mixout/1"], folder / "rank-1", "--batch")
    assert "stopped by SIGUSR1 after step" in (folder / "log.txt").read_text()
    assert not (folder / "result.json").exists()
    assert not (folder / "error.json").exists()
    until("end of the jobs", lambda: not slurm("squeue", "--noheader"))
    assert bench("--launcher=slurm", **given) == 0
    assert "2 done" in capsys.readouterr().out
    assert "--ckpt_path=" in (folder / "log.txt").read_text()
    whole = tmp_path / "whole"
    assert bench(f"--runs={whole}", "--only=rte/mixout/1", **given) == 0
    uncut = whole / "rte" / "mixout" / "1"
    assert same(weights(folder), weights(uncut))
    assert result(folder)["scores"] == result(uncut)["scores"]
    assert [row["step"] for row in metrics(folder)] == [row["step"] for row in metrics(uncut)]


def test_a_fit_on_two_tasks(tmp_path: Path) -> None:
    run, uncut = tmp_path / "run", tmp_path / "uncut"
    options = [*FIT, "--trainer.strategy=ddp"]
    said = slurm(
        "sbatch", "--parsable", "--ntasks-per-node=2", f"--output={tmp_path}/said.txt",
        "experiments/slurm/fit.sbatch", str(run), *options,
    )  # fmt: skip
    job = said.strip()
    told_that_its_time_is_up(job, run / "rank-1")
    assert not (run / "result.json").exists()
    until("end of the job", lambda: says(job, "JobState") not in ("PENDING", "RUNNING", "COMPLETING"))
    assert says(job, "JobState") == "COMPLETED", (tmp_path / "said.txt").read_text()
    local = [*options, "--trainer.devices=2", f"--trainer.default_root_dir={uncut}"]
    subprocess.run([sys.executable, "-m", "ftreg", "fit", *local], check=True, capture_output=True)
    assert same(weights(run), weights(uncut))
    assert result(run)["scores"] == result(uncut)["scores"]


def test_a_bench_as_one_job(write: Write, runs: Path, tmp_path: Path) -> None:
    said = tmp_path / "said.txt"
    grid = str(write(**{**GRID, "seeds": [0]}))
    command = ["sbatch", "--wait", f"--output={said}", "experiments/slurm/bench.sbatch", grid, f"--runs={runs}"]
    slurm(*command)
    assert "1/1 done     rte/mixout/0" in said.read_text()
    assert result(runs / "rte" / "mixout" / "0")["cost"]["steps"] == 31
