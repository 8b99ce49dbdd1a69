"""How a run's batches are shared out is recorded; a run with dropout is moved only when that is asked for."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn
from transformers import AutoConfig, AutoModel

from ftreg.__main__ import main
from ftreg.encoder.backbone import backbone_path
from ftreg.report.model import Run
from ftreg.run.cost import Cost
from ftreg.run.result import Share
from ftreg.run.sharding import KEY, Sharding, drops
from ftreg.run.wording import differing_shares
from tests.cli.runs import SHORT, fit, metrics, result, weights
from tests.cli.test_folder import changed, snapshot
from tests.report.example import RECORD

ONE: dict[str, Any] = {"since": 0, "ranks": 1, "accumulation": 1, "rows": 16, "device": "cpu", "dropout": True}
OTHERS = [{"ranks": 2, "rows": 8}, {"accumulation": 2, "rows": 8}, {"device": "cuda"}, {"rows": 8}]
TWICE = "--trainer.accumulate_grad_batches=2"


def cut_off(root: Path, patch: pytest.MonkeyPatch, *arguments: str) -> Path:
    """After the second of five steps."""

    def interrupt(self: Cost, trainer: Any, *_: Any) -> None:
        if trainer.global_step == 3:
            raise ZeroDivisionError

    with patch.context() as context:
        context.setattr(Cost, "on_train_batch_end", interrupt)
        with pytest.raises(ZeroDivisionError):
            fit(root, *arguments)
    return root / "checkpoints" / "last.ckpt"


def test_with_dropout_it_has_to_be_asked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    last = cut_off(tmp_path, monkeypatch)
    saved, before = torch.load(last, weights_only=True), snapshot(tmp_path)
    assert saved[KEY] == [ONE]
    given = [*SHORT, f"--trainer.default_root_dir={tmp_path}", f"--ckpt_path={last}"]
    assert main(["fit", *given, TWICE]) == 2
    said = capsys.readouterr().err
    assert "1 process × 1 micro-batch of 16 rows on cpu, and here it is 1 process × 2 micro-batches of 8 rows" in said
    assert "--reshard" in said
    assert said.count("\n") == 1
    assert snapshot(tmp_path) == before
    del saved[KEY]
    torch.save(saved, last)  # as an earlier version wrote it
    assert main(["fit", *given, TWICE]) == 2
    assert "--reshard" in capsys.readouterr().err
    changed(last, **{KEY: [ONE]})
    found = fit(tmp_path, f"--ckpt_path={last}", TWICE, "--reshard")
    assert found["sharding"] == [ONE, {**ONE, "since": 2, "accumulation": 2, "rows": 8}]
    assert found["cost"]["steps"] == 5
    assert "reshard" not in (tmp_path / "config.yaml").read_text()
    assert [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize(("before", "after"), [([], [TWICE]), ([TWICE], ["--trainer.accumulate_grad_batches=4"])])
def test_without_dropout_it_is_the_same_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: list[str], after: list[str]
) -> None:
    steady = tmp_path / "steady"
    shutil.copytree(backbone_path("tiny"), steady)
    config = AutoConfig.from_pretrained(steady, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    AutoModel.from_config(config).save_pretrained(steady)
    options = [f"--model.backbone={steady}", "--data.train_subset=40", "--trainer.max_steps=5"]
    fit(tmp_path / "whole", *options)
    last = cut_off(tmp_path / "moved", monkeypatch, *options, *before)
    found = fit(tmp_path / "moved", *options, *after, f"--ckpt_path={last}")
    assert [share["dropout"] for share in found["sharding"]] == [False, False]
    assert found["cost"]["tokens"] == result(tmp_path / "whole")["cost"]["tokens"]
    ours, theirs = weights(tmp_path / "moved"), weights(tmp_path / "whole")
    start = {name: torch.allclose(ours[name], theirs[name], atol=1e-6) for name in ours}
    assert all(start.values()), start


def test_what_drops() -> None:
    class Own(nn.Module):
        def __init__(self, **options: Any) -> None:
            super().__init__()
            vars(self).update(options)

    class Config:
        def to_dict(self) -> dict[str, Any]:
            return {"hidden_dropout_prob": 0.1, "name": "dropout"}

    assert drops(nn.Sequential(nn.Linear(1, 1), nn.Dropout(0.1)))
    assert drops(nn.Sequential(Own(attention_dropout=0.1)))
    assert drops(nn.Sequential(Own(config=Config())))
    assert not drops(nn.Sequential(nn.Dropout(0.0), Own(dropout=0.0, drop=True, other=0.1)))


@pytest.mark.parametrize("other", OTHERS, ids=str)
def test_the_report_warns_of_it(other: dict[str, Any]) -> None:
    one, moved = Share(**ONE), Share(**ONE | other)
    found = differing_shares([[one], [moved], []])
    assert len(found) == 2
    assert all("process" in text for text in found)
    assert differing_shares([[one], [one, replace(moved, since=3)]])
    assert not differing_shares([[one], [one], []])
    assert not differing_shares([[replace(share, dropout=False)] for share in (one, moved)])


def test_in_the_warnings_of_a_comparison() -> None:
    from ftreg.report.analysis import analyse
    from ftreg.report.loaded_runs import LoadedRuns

    record = replace(RECORD, sharding=(Share(**ONE),))
    run = Run("rte", "plain", "0", metric="accuracy", checkpoint="best", score=0.5, record=record)
    runs = [replace(run, seed=str(seed), score=0.5 + seed / 100) for seed in range(3)]
    elsewhere = replace(record, sharding=(Share(**ONE | {"ranks": 4, "rows": 4}),))
    runs += [replace(run, method="m", record=elsewhere) for run in runs]
    found = LoadedRuns()
    found.runs += runs
    report = analyse(found)
    said = [*report.warnings, *(text for one in report.comparisons for text in one.warnings)]
    assert any("share their batches out differently" in text and "4 processes" in text for text in said)


def test_nothing_is_known_of_an_old_one() -> None:
    assert Sharding(16, {}).before == []
