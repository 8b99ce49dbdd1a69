"""Lightning's own callbacks and options on the command line, and what the record says of a fit that was stopped."""

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as theirs

from ftreg import FineTuner, UsageError, backbone_path
from ftreg.__main__ import main
from ftreg.lightning.compatibility import check_monitors
from glue_tasks.data import GlueDataModule
from tests.cli.runs import MIXOUT, SHORT, fit, same, weights

ADD = "--trainer.callbacks+"
OF = "--trainer.callbacks"


def test_callbacks_that_only_watch_change_nothing(finished: Path, tmp_path: Path) -> None:
    watching = [f"{ADD}=Timer", f"{OF}.duration=00:01:00:00", f"{ADD}=LearningRateMonitor", f"{ADD}=RichProgressBar"]
    watching += [f"{ADD}=ModelCheckpoint", f"{OF}.every_n_train_steps=2", f"{OF}.save_top_k=-1", f"{ADD}=ModelSummary"]
    found = fit(tmp_path, *MIXOUT, *watching, "--trainer.num_sanity_val_steps=2")
    assert same(weights(finished), weights(tmp_path))
    assert (found["status"], found["stopped"]) == ("complete", None)
    assert [callback["name"] for callback in found["callbacks"]] == ["Timer"]
    saved = {path.name for path in (tmp_path / "checkpoints").iterdir()}
    assert saved == {"best.ckpt", "last.ckpt", "epoch=0-step=2.ckpt", "epoch=0-step=4.ckpt"}


def test_the_record_is_of_the_averaged_weights_in_the_checkpoints(files: Path, tmp_path: Path) -> None:
    fast = ["--model.lr=5e-3", f"{ADD}=EMAWeightAveraging", f"{OF}.decay=0.5"]
    found = fit(tmp_path, *fast)
    assert [(callback["name"], callback["options"]["decay"]) for callback in found["callbacks"]] == [
        ("EMAWeightAveraging", 0.5)
    ]
    data = GlueDataModule("rte", backbone_path("tiny"), source="tsv", path=str(files), max_length=64)
    trainer = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_checkpointing=False)
    for name, table in (("best", "selection"), ("last", "selection.last")):
        path = tmp_path / "checkpoints" / f"{name}.ckpt"
        model = FineTuner.load_from_checkpoint(path, weights_only=True)
        trainer.validate(model, data, verbose=False)
        recorded = pq.read_table(tmp_path / "predictions" / f"{table}.parquet")["logits"].to_pylist()
        torch.testing.assert_close(torch.tensor(recorded), model.predictions["selection"].logits)


def test_a_fit_that_was_stopped_says_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stopping = [
        f"{ADD}=EarlyStopping",
        f"{OF}.monitor=selection/loss",
        f"{OF}.stopping_threshold=9",
    ]
    found = fit(tmp_path / "a", *stopping)
    assert (found["status"], found["stopped"]) == ("complete", {"step": 1, "of": 5, "by": "EarlyStopping"})
    assert "complete: stopped by EarlyStopping after step 1 of 5" in capsys.readouterr().out
    assert torch.load(tmp_path / "a" / "checkpoints" / "last.ckpt", weights_only=True)["global_step"] == 1
    found = fit(tmp_path / "b", "--trainer.max_time=00:00:00:00")
    assert (found["status"], found["stopped"]) == ("ended early", {"step": 0, "of": 5, "by": "Timer"})


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["fit", f"{ADD}=StochasticWeightAveraging", f"{OF}.swa_lrs=1e-3"], "give WeightAveraging"),
        (["fit", f"{ADD}=BackboneFinetuning"], "give GradualUnfreezing or HeadFirst"),
        (["fit", "--trainer.overfit_batches=2"], "set data.train_subset"),
        (["fit", "--trainer.precision=16-mixed"], "give trainer.precision=bf16-mixed"),
        (["fit", f"{ADD}=EarlyStopping", f"{OF}.monitor=val_loss"], "Valid: selection/loss, selection/score"),
        (["predict", "--trainer.limit_predict_batches=1"], "predictions are written whole"),
        (["predict", "--trainer.fast_dev_run=true"], "a dry run is one of fit"),
    ],
)
def test_what_does_not_work_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    command, *options = arguments
    assert main([command, *SHORT, f"--trainer.default_root_dir={tmp_path}", *options]) == 2
    told = [text for text in capsys.readouterr().err.splitlines() if text.startswith("ftreg: error: trainer.")]
    assert len(told) == 1
    assert line in told[0]
    assert not [*tmp_path.iterdir()]


def test_what_a_callback_watches_is_logged_and_the_right_way_up(tmp_path: Path) -> None:
    logged = ["selection/loss", "selection/score"]
    for callback, line in [
        (theirs.EarlyStopping("selection/score"), "EarlyStopping watches selection/score with mode=min; give mode=max"),
        (theirs.ModelCheckpoint(monitor="selection/loss", mode="max"), "watches selection/loss .* give mode=min"),
        (theirs.ModelCheckpoint(monitor="selection/scor"), "did you mean 'selection/score'"),
        (theirs.ModelCheckpoint(save_last=True), "last.ckpt are the run's own"),
        (theirs.ModelCheckpoint(tmp_path, filename="best"), "best.ckpt and last.ckpt are the run's own"),
    ]:
        with pytest.raises(UsageError, match=line):
            check_monitors([callback], logged, tmp_path)
    with pytest.raises(UsageError, match=r"train/loss, which is logged every 10 steps .* or strict=false"):
        check_monitors([theirs.EarlyStopping("train/loss")], logged, tmp_path, every=10)
    check_monitors([theirs.EarlyStopping("train/loss", strict=False)], logged, tmp_path, every=10)
    with pytest.raises(UsageError, match="EarlyStopping: nothing is evaluated here"):
        check_monitors([theirs.EarlyStopping("loss")], [], tmp_path)
    fine = [theirs.EarlyStopping("train/loss"), theirs.EarlyStopping("x", strict=False), theirs.ModelCheckpoint()]
    check_monitors([*fine, theirs.ModelCheckpoint(tmp_path / "own", filename="best")], logged, tmp_path)
