"""Second runs, resumed runs, and what is done with a finished run."""

import os
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from ftreg.__main__ import main
from ftreg.run.cost import Cost
from tests.cli.runs import MIXOUT, RTE, TINY, fit, metrics, result, same, weights


def test_config_of_a_run_repeats_it(finished: Path, tmp_path: Path) -> None:
    assert main(["fit", "--config", str(finished / "config.yaml"), f"--trainer.default_root_dir={tmp_path}"]) == 0
    assert same(weights(finished), weights(tmp_path))
    assert result(tmp_path)["identity"] == result(finished)["identity"]


@pytest.mark.parametrize("elsewhere", [False, True])
def test_resume_is_exact(finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool) -> None:
    def interrupt(self: Cost, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 4:
            # As after a kill: what is logged after the last checkpoint is there already.
            trainer.logger.log_metrics({"selection/score": 9.0}, 3)
            raise ZeroDivisionError

    root = tmp_path / "first"
    with monkeypatch.context() as patch:
        patch.setattr(Cost, "on_train_batch_end", interrupt)
        with pytest.raises(ZeroDivisionError):
            fit(root, *MIXOUT)
    assert not (root / "result.json").exists()
    target = tmp_path / "second" if elsewhere else root
    found = fit(target, *MIXOUT, "--ckpt_path", str(root / "checkpoints" / "last.ckpt"))
    assert same(weights(finished), weights(target))
    reference = result(finished)
    assert found["scores"] == reference["scores"]
    assert (found["cost"]["steps"], found["cost"]["tokens"]) == (5, reference["cost"]["tokens"])
    if not elsewhere:
        assert metrics(root) == metrics(finished)


def test_a_save_that_is_cut_off_leaves_the_checkpoint_before(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, save = tmp_path / "checkpoints", torch.save

    def half(checkpoint: Any, place: Any) -> None:
        assert Path(place).parent == folder  # on the same file system: it is moved, not copied
        save(checkpoint, place)
        if checkpoint["global_step"] > 1:
            os.truncate(place, 1000)
            raise ZeroDivisionError

    monkeypatch.setattr(torch, "save", half)
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path)
    assert torch.load(folder / "last.ckpt", weights_only=True)["global_step"] == 1
    assert {path.name for path in folder.iterdir()} == {"best.ckpt", "last.ckpt"}


@pytest.mark.parametrize(("command", "split"), [("validate", "selection"), ("test", "dev")])
def test_scores_of_a_checkpoint(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, split: str
) -> None:
    checkpoint = str(finished / "checkpoints" / "best.ckpt")
    options = [*RTE, *TINY, "--ckpt_path", checkpoint, "--trainer.default_root_dir", str(tmp_path)]
    assert main([command, *options]) == 0
    score = result(finished)["scores"][split]["best"]["accuracy"]
    assert f"{split}/accuracy" in (out := capsys.readouterr().out)
    assert str(score) in out


def test_predict(finished: Path, tmp_path: Path) -> None:
    checkpoint = str(finished / "checkpoints" / "best.ckpt")
    options = [*RTE, *TINY, "--ckpt_path", checkpoint, "--trainer.default_root_dir", str(tmp_path)]
    assert main(["predict", *options]) == 0
    table = pq.read_table(tmp_path / "predictions" / "test.parquet")
    assert table["row_id"].to_pylist() == list(range(8))
    assert set(table["label"].to_pylist()) == {-1}


def test_model_options_come_from_the_checkpoint(tmp_path: Path) -> None:
    fit(tmp_path, "--model.backbone=tiny", "--model.lr=0.001")
    assert (
        main(["test", *RTE, "--data.max_length=64", "--ckpt_path=best", f"--trainer.default_root_dir={tmp_path}"]) == 0
    )
