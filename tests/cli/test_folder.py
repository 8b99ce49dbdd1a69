"""A folder holds one run, one fit writes there, and what is refused touches nothing."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ftreg.__main__ import main
from ftreg._base.locks import Lock
from ftreg.cli.config import SaveConfig
from ftreg.run.cost import Cost
from ftreg.run.evaluations import Last
from ftreg.run.folder import LOCK
from tests.cli.runs import MIXOUT, SHORT, fit, metrics, result, same, weights

Found = dict[str, tuple[int, bytes]]


def snapshot(root: Path) -> Found:
    """Every file and folder, with its bytes and the moment of its last change."""
    return {
        str(path.relative_to(root)): (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"")
        for path in [root, *root.rglob("*")]
    }


@pytest.fixture
def refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Any:
    """Runs a command that is to be refused, in one line, and to leave the whole folder as it was."""

    def run(*arguments: str, command: str = "fit") -> str:
        before = snapshot(tmp_path)
        capsys.readouterr()
        assert main([command, *arguments]) == 2
        said = capsys.readouterr().err
        assert snapshot(tmp_path) == before
        assert said.startswith("ftreg: error: ")
        assert said.count("\n") == 1
        assert len(said) < 500
        return said

    return run


def interrupted(root: Path, patch: pytest.MonkeyPatch, *arguments: str, at: int = 3) -> None:
    def interrupt(self: Cost, trainer: Any, *_: Any) -> None:
        if trainer.global_step == at:
            raise ZeroDivisionError

    with patch.context() as context:
        context.setattr(Cost, "on_train_batch_end", interrupt)
        with pytest.raises(ZeroDivisionError):
            fit(root, *arguments)


@pytest.fixture
def cut_off(finished: Path, files: Path, tmp_path: Path) -> Path:
    """A run that was killed within its last evaluation."""
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    (root / "result.json").unlink()
    shutil.rmtree(root / "predictions")
    return root


def changed(path: Path, **content: Any) -> None:
    """A checkpoint of something else."""
    torch.save({**torch.load(path, weights_only=True), **content}, path)


WANDB = "--trainer.logger=pytorch_lightning.loggers.WandbLogger"
OPTIONS = [
    (["--model.lr=0.1"], "model.lr is 2.0e-05 in "),
    (["--trainer.gradient_clip_val=0"], "trainer.gradient_clip_val is null in "),
    (["--trainer.callbacks.p=0.6"], "p: 0.6"),
    (["--data.task=qnli"], "is of task rte, this run is of qnli"),
    (["--data.train_subset=40"], "data.train_subset is null in "),
    (["--data.path={other}"], "other rows, another backbone"),
    (["--trainer.callbacks+=PGD", "--trainer.callbacks+=FreeLB"], "PGD and FreeLB both own"),
    (["--trainer.limit_train_batches=2"], "runs are recorded whole"),
    (["--trainer.strategy=nonesuch"], "nonesuch"),
    (["--overwrite"], "--overwrite begins anew"),
    (["--trainer.default_root_dir={other}/new", "--seeds.init=1"], "seeds.init is 0 in"),
    (["--ckpt_path={other}/../hpc_ckpt_1.ckpt"], "no such file"),
]


@pytest.mark.parametrize(("options", "line"), OPTIONS, ids=[" ".join(options) for options, _ in OPTIONS])
def test_what_is_refused_touches_nothing(
    cut_off: Path, files: Path, tmp_path: Path, refused: Any, options: list[str], line: str
) -> None:
    other = tmp_path / "other"
    shutil.copytree(files, other)
    (other / "RTE" / "train.tsv").write_text((files / "RTE" / "train.tsv").read_text().replace("the", "a"))
    last = cut_off / "checkpoints" / "last.ckpt"
    given = [*SHORT, *MIXOUT, f"--data.path={files}", f"--trainer.default_root_dir={cut_off}", f"--ckpt_path={last}"]
    assert line in refused(*given, WANDB, *(option.format(other=other) for option in options))


OTHERS: list[tuple[dict[str, Any], str]] = [
    ({"ftreg_run": {}, "ftreg": {"labels": ["yes", "no"]}}, "is of another task: its labels are ['yes', 'no']"),
    ({"ftreg_run": {}, "state_dict": {"encoder.x": torch.zeros(2)}}, "does not fit this model"),
]


@pytest.mark.parametrize(("content", "line"), OTHERS, ids=["labels", "weights"])
def test_a_checkpoint_of_something_else(
    cut_off: Path, files: Path, refused: Any, content: dict[str, Any], line: str
) -> None:
    last = cut_off / "checkpoints" / "last.ckpt"
    changed(last, **content)
    given = [*SHORT, *MIXOUT, f"--data.path={files}", f"--trainer.default_root_dir={cut_off}", f"--ckpt_path={last}"]
    assert line in refused(*given, WANDB)


def test_a_method_that_cannot_be_begun(tmp_path: Path, refused: Any) -> None:
    """Its layers, its anchor and the network are looked at before there is a folder."""
    given = [*SHORT, f"--trainer.default_root_dir={tmp_path / 'run'}", WANDB]
    for method, option in (("LayerPooling", "layers=99"), ("Mixout", "anchor=/nonexistent/anchor")):
        refused(*given, f"--trainer.callbacks+={method}", f"--trainer.callbacks.{option}")
    refused(*given, "--model.backbone=/nonexistent/backbone")


def test_a_second_fit_is_refused(finished: Path, cut_off: Path, files: Path, tmp_path: Path, refused: Any) -> None:
    done = tmp_path / "done"
    shutil.copytree(finished, done)
    for more in ([], ["--seeds.init=1"]):
        given = [*SHORT, *MIXOUT, f"--data.path={files}", *more]
        said = refused(*given, f"--trainer.default_root_dir={done}")
        assert f"{done} holds a finished run" in said
        assert "--overwrite" in said
        assert "ckpt_path" not in said
        said = refused(*given, f"--trainer.default_root_dir={cut_off}")
        assert f"{cut_off} holds a run that was cut off" in said
        assert "give --ckpt_path last" in said
    elsewhere = f"--ckpt_path={cut_off / 'checkpoints' / 'last.ckpt'}"
    assert "holds a finished run" in refused(*given[:-1], elsewhere, f"--trainer.default_root_dir={done}")
    (cut_off / "config.yaml").write_text((done / "config.yaml").read_text().replace("lr: 2.0e-05", "lr: 0.1"))
    own = [f"--ckpt_path={cut_off / 'checkpoints' / 'last.ckpt'}", f"--trainer.default_root_dir={cut_off}"]
    assert "config.yaml is of another run (model.lr is 0.1 there" in refused(*given[:-1], *own)


@pytest.mark.parametrize("damaged", ["train", "dev"])
def test_rows_that_cannot_be_read_leave_the_run_where_it_is(
    finished: Path, files: Path, tmp_path: Path, refused: Any, damaged: str
) -> None:
    """Neither is an earlier run moved aside for them, nor a new folder made."""
    shutil.copytree(files, tmp_path / "files")
    table = tmp_path / "files" / "RTE" / f"{damaged}.tsv"
    table.write_text(table.read_text().splitlines()[0] + "\n")
    shutil.copytree(finished, tmp_path / "run")
    given = [*SHORT, f"--data.path={tmp_path / 'files'}"]
    assert "no rows" in refused(*given, f"--trainer.default_root_dir={tmp_path / 'run'}", "--overwrite")
    assert "no rows" in refused(*given, f"--trainer.default_root_dir={tmp_path / 'new'}")


def test_a_finished_run_is_not_rewound(finished: Path, files: Path, tmp_path: Path, refused: Any) -> None:
    done = tmp_path / "done"
    shutil.copytree(finished, done)
    changed(done / "checkpoints" / "best.ckpt", global_step=2)
    given = [*SHORT, *MIXOUT, f"--data.path={files}", f"--trainer.default_root_dir={done}", "--ckpt_path=best"]
    assert "holds a finished run of 5 steps; to go on from step 2" in refused(*given)


def test_overwrite_moves_what_is_there_aside(
    finished: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    (tmp_path / "run.replaced-1").mkdir()
    before = snapshot(root)
    second = fit(root, "--overwrite", "--seeds.init=1", f"--data.path={files}")
    aside = tmp_path / "run.replaced-2"
    assert snapshot(aside).keys() == before.keys()
    assert all(snapshot(aside)[name][1] == content for name, (_, content) in before.items())
    assert f"{root} held a run, which is now in {aside}" in capsys.readouterr().out
    assert {path.name for path in root.iterdir()} == {path.name for path in finished.iterdir()}
    assert len(metrics(root)) == len(metrics(finished))
    assert second["seeds"]["init"] == 1
    saved = yaml.safe_load((root / "config.yaml").read_text())
    assert saved["seeds"]["init"] == 1
    assert "overwrite" not in saved
    fit(tmp_path / "new", "--overwrite", f"--data.path={files}")  # where there is nothing to replace


def test_overwrite_is_no_option_of_a_run(tmp_path: Path, refused: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a.yaml").write_text("overwrite: true\n")
    assert "give it there, as --overwrite" in refused(f"--config={tmp_path / 'a.yaml'}", *SHORT)
    root = tmp_path / "run"
    root.mkdir()
    (root / "result.json").write_text("{}")
    monkeypatch.chdir(root)
    assert "where you are" in refused(*SHORT, "--overwrite", "--trainer.default_root_dir=.")


def test_killed_before_its_first_checkpoint_it_begins_anew(
    finished: Path, files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refused: Any
) -> None:
    given = [*MIXOUT, f"--data.path={files}"]
    monkeypatch.setattr(Last, "_save", lambda *_: None)
    monkeypatch.setattr("ftreg.run.evaluations.Best._save_checkpoint", lambda *_: None)
    interrupted(tmp_path / "run", monkeypatch, *given)
    monkeypatch.undo()
    assert metrics(tmp_path / "run")
    where = f"--trainer.default_root_dir={tmp_path / 'run'}"
    said = refused(*SHORT, *given, where, "--seeds.init=1")
    assert "cut off before its first checkpoint (seeds.init is 0 there and 1 here)" in said
    fit(tmp_path / "run", *given)
    assert metrics(tmp_path / "run") == metrics(finished)
    assert same(weights(tmp_path / "run"), weights(finished))


def test_what_is_no_run_is_left_alone(tmp_path: Path, refused: Any) -> None:
    root = tmp_path / "run"
    root.mkdir()
    (root / "metrics.csv").write_text("mine\n")
    given = [*SHORT, f"--trainer.default_root_dir={root}"]
    assert "without a config.yaml" in refused(*given)
    (root / "config.yaml").write_text("mine: 1\n")
    assert "holds a run that was cut off before" in refused(*given)


def test_a_dry_run_is_no_run(finished: Path, files: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    before = snapshot(root)
    given = [*MIXOUT, f"--data.path={files}", f"--trainer.default_root_dir={root}"]
    assert main(["fit", *SHORT, *given, "--trainer.fast_dev_run=true"]) == 0
    assert snapshot(root) == before


def test_two_fits_at_once(
    files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The second one is refused while the first is at work, and the first one never knows."""
    said: list[str] = []
    root = tmp_path / "run"
    setup = SaveConfig.setup

    def second(self: SaveConfig, trainer: Any, module: Any, stage: str) -> None:
        setup(self, trainer, module, stage)
        if stage == "fit" and not said:
            said.append("")
            before = snapshot(root)
            for more in ([], ["--overwrite"]):
                assert main(["fit", *SHORT, *more, f"--trainer.default_root_dir={root}"]) == 2
                said.append(capsys.readouterr().err)
            assert snapshot(root) == before

    monkeypatch.setattr(SaveConfig, "setup", second)
    fit(root)
    assert len(metrics(root)) == 6
    for line in said[1:]:
        assert line == f"ftreg: error: {root}: another fit is writing there; wait for its end, or give another folder\n"
    assert not (root / LOCK).exists()


def test_a_lock_whose_file_was_taken_away_guards_nothing(tmp_path: Path) -> None:
    first, second = Lock(tmp_path / LOCK), Lock(tmp_path / LOCK)
    assert first.take()
    assert not second.take()
    os.rename(tmp_path / LOCK, tmp_path / "moved")
    assert second.take()
    second.remove()
    assert first.take()
    assert not second.take()
    first.remove()
    assert [path.name for path in tmp_path.iterdir()] == ["moved"]


@pytest.mark.parametrize("command", ["fit", "validate", "test", "predict"])
def test_a_checkpoint_that_lightning_would_load_unasked(
    finished: Path, files: Path, tmp_path: Path, refused: Any, command: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "run"
    root.mkdir()
    shutil.copy(finished / "checkpoints" / "last.ckpt", root / "hpc_ckpt_1.ckpt")
    for name, value in (("SLURM_NTASKS", "1"), ("SLURM_JOB_NAME", "fit"), ("SLURM_JOB_ID", "1")):
        monkeypatch.setenv(name, value)
    path = [] if command == "fit" else [f"--ckpt_path={finished / 'checkpoints' / 'best.ckpt'}"]
    given = [*SHORT, f"--data.path={files}", f"--trainer.default_root_dir={root}", *path]
    assert "hpc_ckpt_1.ckpt: not of ftreg" in refused(*given, command=command)
    (root / "hpc_ckpt_1.ckpt").unlink()
    assert "ckpt_path hpc" in refused(*given, "--ckpt_path=hpc", command=command)


def test_the_word_is_for_a_report_too(finished: Path, tmp_path: Path) -> None:
    """A run that was replaced is none of its arm's any more."""
    from ftreg.report.folders import read_folder
    from ftreg.report.loaded_runs import Choice, LoadedRuns

    for name in ("0", "0.replaced-1"):
        shutil.copytree(finished, tmp_path / "rte" / "m" / name)
        (tmp_path / "rte" / "m" / name / "cell.json").write_text(json.dumps({"name": "rte/m/0"}))
    found = LoadedRuns()
    read_folder(tmp_path, Choice(), found)
    assert [run.seed for run in found.runs] == ["0"]
    assert found.notes == [f"Left out below {tmp_path}: 1 run that another has replaced"]
    assert result(finished)
