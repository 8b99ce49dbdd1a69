"""What is handed to SLURM; `sbatch` and `squeue` are small scripts here."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ftreg.bench import slurm
from tests.bench.conftest import Bench

PROGRAMS = {
    "sbatch": '[ -e "{folder}/refuse" ] && {{ echo "sbatch: error: invalid partition" >&2; exit 1; }}\n'
    'cp "$2" "{folder}/script"; echo "77;cluster"',
    "squeue": 'cat "{folder}/queue"',
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the two programs are, the last script that was submitted, and the queue."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name, text in PROGRAMS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text.format(folder=folder)}\n")
        (folder / name).chmod(0o755)
    (folder / "queue").touch()
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def test_an_array_of_single_runs(
    bench: Bench, runs: Path, folder: Path, pretend: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "BENCH", ("echo", "bench"))
    assert bench("--only=rte/plain/0", "--launcher=local") == 0
    options = {"partition": "gpu", "gres": "gpu:1", "time": "1:00:00"}
    assert bench("--launcher=slurm", "--slurm=time=30", slurm=options) == 0
    script = (folder / "script").read_text()
    flags = re.findall(r"^#SBATCH --(.*)", script, re.MULTILINE)
    assert {"array=0-2%2", "requeue", "partition=gpu", "gres=gpu:1", "time=30"} <= set(flags)
    said = [
        subprocess.run(
            ["bash", folder / "script"], env={**os.environ, "SLURM_ARRAY_TASK_ID": str(n)}, capture_output=True
        )
        for n in range(3)
    ]
    names = [one.stdout.decode().split() for one in said]
    assert [words[-2:] for words in names] == [
        ["--only", cell] for cell in ("rte/mixout/0", "rte/plain/1", "rte/mixout/1")
    ]
    assert names[0][:4] == ["bench", str(runs.parent / "grid.yaml"), "--runs", str(runs)]


def test_what_is_in_the_queue_is_not_submitted_again(
    bench: Bench, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert bench("--launcher=slurm") == 0
    (folder / "queue").write_text("77_0\n77_1\n77_2\n77_3\n12\n")
    (folder / "script").unlink()
    capsys.readouterr()
    assert bench("--launcher=slurm") == 0
    assert capsys.readouterr().out == "4 runs are in the queue\n"
    assert not (folder / "script").exists()
    (folder / "queue").write_text("77_1\n")
    assert bench("--launcher=slurm") == 0
    assert "runs=(rte/plain/0 rte/plain/1 rte/mixout/1)" in (folder / "script").read_text()


def test_complaints(
    bench: Bench, runs: Path, folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "refuse").touch()
    assert bench("--launcher=slurm") == 2
    assert "invalid partition" in capsys.readouterr().err
    assert not (runs / slurm.SUBMITTED).exists()
    assert bench("--launcher=slurm", "--slurm=time") == 2
    assert "--slurm: found 'time'; write NAME=VALUE" in capsys.readouterr().err
    monkeypatch.setenv("PATH", str(Path(sys.executable).parent))
    assert bench("--launcher=slurm") == 2
    assert "there is no sbatch here; use --launcher local" in capsys.readouterr().err
