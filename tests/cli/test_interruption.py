"""A fit that is told to stop saves at the end of its step; gone on with, it is the fit that was not."""

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from ftreg.__main__ import main
from ftreg._base.errors import INTERRUPTED, STOPPED
from ftreg.lightning.finetuner import FineTuner
from ftreg.run.cost import Cost
from ftreg.run.interruption import SIGNALS, Interruptions, evaluates
from tests.cli.runs import MIXOUT, ROOT, SHORT, fit, metrics, result, same, weights

TWICE = [
    "--trainer.accumulate_grad_batches=2",
    "--data.batch_size=8",
    "--trainer.max_steps=13",
    "--trainer.log_every_n_steps=1",
]
"""Two micro-batches a step; 13 steps, so that of three steps two are evaluated after."""


@pytest.fixture(scope="module")
def whole(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a fit that nobody stopped."""
    root = tmp_path_factory.mktemp("whole")
    fit(root, *MIXOUT, *TWICE, f"--data.path={files}")
    return root


def stopped(root: Path, *arguments: str, code: int = STOPPED) -> None:
    with pytest.raises(SystemExit) as left:
        main(["fit", *SHORT, f"--trainer.default_root_dir={root}", *arguments])
    assert left.value.code == code
    assert not (root / "result.json").exists()


def goes_on(root: Path, whole: Path, *arguments: str) -> None:
    """The folder's fit, continued, has all that the other one's has, each step once."""
    found = fit(root, *arguments, f"--ckpt_path={root / 'checkpoints' / 'last.ckpt'}")
    assert same(weights(root), weights(whole))
    assert same(weights(root, "best"), weights(whole, "best"))
    assert found["scores"] == result(whole)["scores"]
    assert metrics(root) == metrics(whole)


@pytest.mark.parametrize("micro", range(6))
def test_at_every_micro_batch(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], micro: int
) -> None:
    """Also inside an accumulation window, and in a step that an evaluation follows (the second and the third)."""
    step, number, before = FineTuner.training_step, SIGNALS[micro % 3], signal.getsignal(SIGNALS[micro % 3])

    def told(self: FineTuner, batch: Any, index: int) -> Any:
        loss = step(self, batch, index)
        if self.trainer.fit_loop.total_batch_idx == micro:
            os.kill(os.getpid(), number)
            if number == signal.SIGINT:  # the second one is the system's to act on: no line of ours is waited for
                assert signal.getsignal(number) is signal.SIG_DFL
        return loss

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "training_step", told)
        stopped(tmp_path, *MIXOUT, *TWICE)
    assert signal.getsignal(number) is before
    said = capfd.readouterr().err.splitlines()[-1]
    name = "Ctrl-C" if number == signal.SIGINT else number.name
    assert said.startswith(f"ftreg: stopped by {name} after step {micro // 2 + 1}; ")
    assert f"--ckpt_path={tmp_path}/checkpoints/last.ckpt to go on" in said
    goes_on(tmp_path, whole, *MIXOUT, *TWICE)


def test_an_evaluation_that_is_cut_off_is_not_skipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told in the second step, killed in the evaluation after it: no checkpoint says that it is past."""
    step = FineTuner.training_step

    def told(self: FineTuner, batch: Any, index: int) -> Any:
        if self.trainer.global_step == 1:
            os.kill(os.getpid(), signal.SIGTERM)
        return step(self, batch, index)

    def killed(*_: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(FineTuner, "training_step", told)
    monkeypatch.setattr(FineTuner, "on_validation_start", killed, raising=False)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path, *TWICE)
    assert not list(tmp_path.rglob("*.ckpt"))


@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--trainer.val_check_interval=0.4"],
        ["--trainer.val_check_interval=3"],
        ["--trainer.check_val_every_n_epoch=2"],
    ],
    ids=["ten", "fraction", "batches", "epochs"],
)
def test_which_step_an_evaluation_follows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str]) -> None:
    """As Lightning decides it after the hooks of the step."""
    expected, found, ended = list[int](), list[int](), Interruptions.on_train_batch_end

    def end(self: Interruptions, trainer: pl.Trainer, *args: Any) -> None:
        if evaluates(trainer):
            expected.append(trainer.fit_loop.total_batch_idx)
        ended(self, trainer, *args)

    def start(self: FineTuner) -> None:
        if self.trainer.state.fn == "fit":
            found.append(self.trainer.fit_loop.total_batch_idx)

    monkeypatch.setattr(Interruptions, "on_train_batch_end", end)
    monkeypatch.setattr(FineTuner, "on_validation_start", start, raising=False)
    length = ["--trainer.max_steps=-1", "--trainer.max_epochs=4", "--data.train_subset=40"]
    fit(tmp_path, *TWICE, *length, *options)
    assert expected == found
    assert len(found) > 1


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=lambda number: number.name)
def test_during_the_last_evaluation(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    """Training is over and saved: the process ends there and then."""

    def told(self: FineTuner, *_: Any) -> None:
        if self.trainer.state.fn != "fit":
            os.kill(os.getpid(), number)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "on_validation_start", told, raising=False)
        stopped(tmp_path, *MIXOUT, *TWICE)
    assert "after training; give the same options and --ckpt_path=" in capfd.readouterr().err.splitlines()[-1]
    goes_on(tmp_path, whole, *MIXOUT, *TWICE)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
def test_before_training(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], number: int
) -> None:
    """Nothing can be gone on with. After Ctrl-C the exit code says so; whoever sends another signal tries again."""
    monkeypatch.setattr(Cost, "setup", lambda *_, **__: os.kill(os.getpid(), number))
    stopped(tmp_path, code=INTERRUPTED if number == signal.SIGINT else STOPPED)
    assert not list(tmp_path.rglob("*.ckpt"))
    assert capfd.readouterr().err.splitlines()[-1].endswith("outside training: there is nothing to save")


def test_what_is_ignored_stays_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As of a fit in a script's background, which Ctrl-C is not meant for."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    step = FineTuner.training_step

    def told(self: FineTuner, batch: Any, index: int) -> Any:
        os.kill(os.getpid(), signal.SIGINT)
        return step(self, batch, index)

    monkeypatch.setattr(FineTuner, "training_step", told)
    try:
        assert fit(tmp_path, "--trainer.max_steps=1")["cost"]["steps"] == 1
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize("command", ["fit", "cite"])
def test_while_modules_are_imported(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    def pressed(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("ftreg.cli.command.main", pressed)
    monkeypatch.setattr("ftreg.cli.citation.main", pressed)
    assert main([command]) == INTERRUPTED
    assert capsys.readouterr().err == "ftreg: stopped by Ctrl-C\n"


class Slow(pl.Callback):
    """Says which process each rank is, and leaves the test time to tell one of them to stop."""

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        (Path(trainer.default_root_dir) / f"rank-{trainer.global_rank}").write_text(str(os.getpid()))
        time.sleep(0.1)


def test_one_rank_is_told_and_all_stop(files: Path, tmp_path: Path) -> None:
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.max_steps=200", f"--data.path={files}"]
    slow = f"--trainer.callbacks+={Slow.__module__}.Slow"
    command = [sys.executable, "-m", "ftreg", "fit", *SHORT, *ddp, slow, f"--trainer.default_root_dir={tmp_path}"]
    launch = subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    while not (rank := tmp_path / "rank-1").exists() or not rank.read_text():
        assert launch.poll() is None
        time.sleep(0.01)
    os.kill(int(rank.read_text()), signal.SIGTERM)
    said, _ = launch.communicate(timeout=100)
    assert launch.returncode == STOPPED, said
    found = re.search(r"stopped by a signal to another rank after step (\d+); ", said)
    assert found, said
    assert torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == int(found[1])
    assert not (tmp_path / "result.json").exists()
