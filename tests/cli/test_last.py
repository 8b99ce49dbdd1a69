"""`last.ckpt` is the last step, whatever ends a fit and wherever it evaluates; gone on with, nothing is left to do."""

from pathlib import Path

import pytest
import torch

from tests.cli.runs import fit, metrics, result, same, weights

MASKED = "--trainer.callbacks+=MaskedLM"
STOPS = [
    "--trainer.callbacks+=pytorch_lightning.callbacks.EarlyStopping",
    "--trainer.callbacks.monitor=selection/score",
    "--trainer.callbacks.mode=max",
    "--trainer.callbacks.patience=1",
]
FROZEN = "--model.lr=0"


@pytest.mark.parametrize(
    "options",
    [
        ["--trainer.max_steps=6", "--trainer.val_check_interval=4"],
        ["--trainer.check_val_every_n_epoch=5"],
        ["--trainer.max_time=00:00:00:01", "--trainer.max_steps=500", "--trainer.val_check_interval=400"],
        ["--trainer.max_steps=6", FROZEN, *STOPS],
        ["--trainer.max_steps=12", MASKED],
    ],
    ids=["between evaluations", "without any", "time", "early", "unsupervised"],
)
def test_last_is_the_last_step(tmp_path: Path, options: list[str]) -> None:
    found = fit(tmp_path, *options)
    last = torch.load(tmp_path / "checkpoints" / "last.ckpt", weights_only=True)
    assert last["global_step"] == found["cost"]["steps"]
    rows, before = metrics(tmp_path), weights(tmp_path)
    (tmp_path / "result.json").unlink()  # as if killed within the last evaluation
    again = fit(tmp_path, *options, f"--ckpt_path={tmp_path / 'checkpoints' / 'last.ckpt'}")
    assert again["scores"] == found["scores"]
    assert again["cost"]["steps"] == found["cost"]["steps"]
    assert same(before, weights(tmp_path))
    assert metrics(tmp_path) == rows


def test_gone_on_with_elsewhere(tmp_path: Path, finished: Path, files: Path) -> None:
    """With no step left, and the best of the run still the best."""
    mixout = ["--trainer.callbacks+=Mixout", "--trainer.callbacks.p=0.7", f"--data.path={files}"]
    found = fit(tmp_path, *mixout, f"--ckpt_path={finished / 'checkpoints' / 'last.ckpt'}")
    assert found["scores"] == result(finished)["scores"]
    assert same(weights(tmp_path), weights(finished))
