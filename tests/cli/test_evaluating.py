"""A checkpoint is scored as its run would have scored it, and the record of that run stays as it is."""

import shutil
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch

from ftreg.__main__ import main
from tests.cli.runs import BASE, fit, result
from tests.cli.test_folder import changed, snapshot

COMMANDS = ["validate", "test", "predict"]


@pytest.fixture
def run(finished: Path, tmp_path: Path) -> Path:
    root = tmp_path / "run"
    shutil.copytree(finished, root)
    return root


def test_all_options_come_from_the_checkpoint(run: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The run's own files, sizes and seeds: nothing but the checkpoint is given."""
    before = snapshot(run)
    for command, split, rows, name in (("validate", "selection", 8, "last"), ("test", "dev", 24, "best")):
        path = run / "checkpoints" / f"{name}.ckpt"
        assert main([command, f"--ckpt_path={path}", "--trainer.accelerator=cpu"]) == 0
        said = capsys.readouterr()
        assert said.err == ""
        line = said.out.splitlines()[0]
        assert line.startswith(f"scores RTE · {split} {rows} rows · source tsv /")
        assert f" · backbone tiny · {path}, step " in line
        assert "other than" not in line
        assert str(result(run)["scores"][split][name]["accuracy"]) in said.out
    assert snapshot(run) == before


def test_other_rows_under_the_same_options_are_told(
    run: Path, files: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of a training set that has grown, another selection is carved: the run may have been trained on its rows."""
    shutil.copytree(files, tmp_path / "files")
    table = tmp_path / "files" / "RTE" / "dev.tsv"
    table.write_text("".join(table.read_text().splitlines(keepends=True)[:-1]))
    given = [f"--data.path={tmp_path / 'files'}", "--trainer.accelerator=cpu"]
    assert main(["test", f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}", *given]) == 0
    assert "not the rows of its run, and maybe some that it was trained on: dev" in capsys.readouterr().out


@pytest.mark.parametrize("by_file", [False, True])
def test_what_is_given_wins(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], by_file: bool) -> None:
    given = ["--data.source=sample", "--data.max_length=32", "--trainer.accelerator=cpu"]
    if by_file:
        (tmp_path / "given.yaml").write_text("data:\n  source: sample\n  max_length: 32\n")
        given = [f"--config={tmp_path / 'given.yaml'}", "--trainer.accelerator=cpu"]
    assert main(["test", *given, f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"]) == 0
    line = capsys.readouterr().out.splitlines()[0]
    assert "source sample (built in" in line
    assert line.endswith("other than in its run: data.source, data.path, data.max_length")


def test_a_network_that_a_method_changed_is_rebuilt(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Also beside callbacks of one's own; that a foreign class did it does not import that class."""
    root = tmp_path / "run"
    layers = ["--trainer.callbacks+=LayerPooling", "--trainer.callbacks.mix=concat", "--trainer.max_steps=2"]
    found = fit(root, *layers, "--data.source=sample", "--data.train_subset=32")
    (tmp_path / "given.yaml").write_text("trainer:\n  callbacks: null\n  accelerator: cpu\n")
    for more in ([], [f"--config={tmp_path / 'given.yaml'}"], [f"--config={root / 'config.yaml'}"]):
        capsys.readouterr()
        assert main(["validate", *more, f"--ckpt_path={root / 'checkpoints' / 'last.ckpt'}"]) == 0
        said = capsys.readouterr()
        assert str(found["scores"]["selection"]["last"]["accuracy"]) in said.out
        assert said.err == ""
    changed(root / "checkpoints" / "last.ckpt", ftreg={"methods": [{"class": "Foreign", "options": {}}]})
    assert main(["validate", f"--ckpt_path={root / 'checkpoints' / 'last.ckpt'}"]) == 2
    assert "was trained with Foreign, which is unknown here" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_checkpoint_it_has_to_be_said(
    run: Path, capsys: pytest.CaptureFixture[str], command: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Predictions of an untrained head are nobody's: not the run's whose configuration is given."""
    monkeypatch.chdir(tmp_path)
    before = snapshot(tmp_path)
    config = [f"--config={run / 'config.yaml'}", f"--trainer.default_root_dir={run}"]
    assert main([command, *config]) == 2
    assert f"{command} needs --ckpt_path RUN/checkpoints/best.ckpt, or --untrained" in capsys.readouterr().err
    assert main([command, *config, "--untrained"]) == (2 if command == "predict" else 0)
    said = capsys.readouterr()
    if command == "predict":
        assert f"{run} has the record of a run, which these predictions are not of" in said.err
        assert snapshot(tmp_path) == before
        assert main([command, *config, "--untrained", f"--trainer.default_root_dir={tmp_path / 'new'}"]) == 0
        said = capsys.readouterr()
        assert [path.name for path in (tmp_path / "new").rglob("*.parquet")] == ["test.untrained.parquet"]
    else:
        assert snapshot(tmp_path) == before
    assert "no checkpoint: the head is untrained" in said.out


def test_predictions_have_names_of_their_own(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = snapshot(run)
    shutil.copy(run / "checkpoints" / "best.ckpt", run / "checkpoints" / "mine.ckpt")
    for name in ("best", "last", "mine"):
        assert main(["predict", f"--ckpt_path={run / 'checkpoints' / name}.ckpt", "--trainer.accelerator=cpu"]) == 0
    (run / "checkpoints" / "mine.ckpt").unlink()
    after = snapshot(run)
    new = {"predictions/test.parquet", "predictions/test.last.parquet", "predictions/test.mine.parquet"}
    assert after.keys() - before.keys() == new
    assert all(after[name][1] == content for name, (_, content) in before.items())
    best, last = (pq.read_table(run / "predictions" / f"test{which}.parquet")["logits"] for which in ("", ".last"))
    assert best == pq.read_table(run / "predictions" / "test.mine.parquet")["logits"]
    state = [torch.load(run / "checkpoints" / f"{n}.ckpt", weights_only=True)["global_step"] for n in ("best", "last")]
    assert (best == last) == (state[0] == state[1])
    other = tmp_path / "other"
    shutil.copytree(run, other)
    assert main(["predict", f"--ckpt_path={run}/checkpoints/best.ckpt", f"--trainer.default_root_dir={other}"]) == 2
    assert f"{other} has the record of a run" in capsys.readouterr().err


@pytest.mark.parametrize("command", COMMANDS)
def test_no_logger_hears_of_it(run: Path, command: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the configuration of a run that logs to W&B either."""
    seen: list[Any] = []
    monkeypatch.setattr("ftreg.run.loggers.set_up", lambda *args, **_: seen.append(args) or [])
    before = snapshot(run)
    path = f"--ckpt_path={run / 'checkpoints' / 'best.ckpt'}"
    assert main([command, *BASE, f"--config={run / 'config.yaml'}", path, f"--trainer.default_root_dir={run}"]) == 0
    assert not seen
    assert snapshot(run).keys() - before.keys() <= {"predictions/test.parquet"}
    assert (run / "metrics.csv").read_bytes() == before["metrics.csv"][1]


def test_last_is_of_the_default_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    short = ["--data.source=sample", "--model.backbone=tiny", "--trainer.max_steps=1", "--data.train_subset=32"]
    assert main(["fit", *short, "--ckpt_path=last"]) == 2
    assert "/checkpoints/last.ckpt: no such file" in capsys.readouterr().err
    assert main(["fit", *short]) == 0
    assert main(["fit", *short, "--ckpt_path=last"]) == 0
    assert len(list(tmp_path.rglob("result.json"))) == 1
