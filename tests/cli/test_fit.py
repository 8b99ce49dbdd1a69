"""A fit and its record."""

import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from ftreg.__main__ import main
from ftreg.cli.plan import FitPlan, build
from ftreg.run.identity import identity
from tests.cli.runs import BASE, MIXOUT, ROOT, RTE, SHORT, TINY, fit, metrics, result, same, weights

KEYS = (
    "schema identity status task source backbone protocol methods seeds scores reported majority less_is_better failed"
)


def test_folder(finished: Path) -> None:
    files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
    splits = [f"predictions/{split}{which}.parquet" for split in ("dev", "selection") for which in ("", ".last")]
    assert files == {
        "config.yaml", "metrics.csv", "result.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt", *splits
    }  # fmt: skip


def test_result(finished: Path) -> None:
    found = result(finished)
    assert list(found) == [*KEYS.split(), "cost", "sharding", "start", "versions", "callbacks", "stopped"]
    assert found["status"] == "complete"
    assert (found["task"], found["source"], found["backbone"]) == ("rte", "tsv", "tiny")
    assert found["seeds"] == {"init": 0, "order": 0, "split": 0}
    assert [(m["name"], m["options"]["p"]) for m in found["methods"]] == [("Mixout", 0.7)]
    assert {split: set(value) for split, value in found["scores"].items()} == {
        "selection": {"last", "best"},
        "dev": {"last", "best"},
    }
    reported = found["reported"]
    assert (reported["split"], reported["checkpoint"], reported["metric"]) == ("dev", "best", "accuracy")
    assert reported["value"] == found["scores"]["dev"]["best"]["accuracy"]
    share = {"since": 0, "ranks": 1, "accumulation": 1, "rows": 16, "device": "cpu", "dropout": True}
    assert found["sharding"] == [share]
    assert list(found["cost"]) == ["steps", "seconds", "tokens", "peak_memory_bytes"]
    assert found["cost"]["steps"] == 5
    assert 5 * 16 * 10 < found["cost"]["tokens"] < 5 * 16 * 64
    assert found["cost"]["peak_memory_bytes"] > 1e8
    assert found["failed"] == (found["scores"]["dev"]["last"]["accuracy"] <= found["majority"]["dev"]["accuracy"])


@pytest.mark.parametrize("which", ["last", "best"])
def test_predictions_give_the_scores(finished: Path, which: str) -> None:
    for split in ("dev", "selection"):
        table = pq.read_table(finished / "predictions" / f"{split}{'' if which == 'best' else '.last'}.parquet")
        assert table.column_names == ["row_id", "label", "logits"]
        if split == "dev":
            assert table["row_id"].to_pylist() == list(range(24))
        logits = torch.tensor(table["logits"].to_pylist())
        accuracy = (logits.argmax(1) == torch.tensor(table["label"].to_pylist())).double().mean()
        assert math.isclose(accuracy, result(finished)["scores"][split][which]["accuracy"], abs_tol=1e-6)


def test_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, *MIXOUT, "--data.source=sample", "--data.eval_batch_size=256")
    out, err = capsys.readouterr()
    assert err == ""
    for piece in (
        "RTE · protocol holdout · Mixout(p=0.7) · backbone tiny",
        "init 0, order 0, split 0",
        "selection accuracy",
        "majority",
        "← reported: best",
        "5 steps",
        "tokens/s",
        "peak memory",
        "built-in sample",
    ):
        assert piece in out


def test_ten_evaluations_with_the_last_at_the_end(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.max_steps=23")
    steps = [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]]
    assert steps == [3, 5, 7, 10, 12, 14, 17, 19, 21, 23]


def test_accumulation_is_evaluated_at_whole_steps(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.accumulate_grad_batches=3")
    assert [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]] == [1, 2, 3, 4, 5]


def test_own_interval_is_kept(tmp_path: Path) -> None:
    fit(tmp_path, "--trainer.val_check_interval=4")
    assert [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]] == [4]


def test_without_an_evaluation_the_last_is_the_best(tmp_path: Path) -> None:
    scores = fit(tmp_path, "--trainer.val_check_interval=100")["scores"]["dev"]
    assert scores["best"] == scores["last"]


def test_dev_protocol_reports_the_last_checkpoint(tmp_path: Path) -> None:
    found = fit(tmp_path, "--data.protocol=dev")
    assert list(found["scores"]) == ["dev"]
    assert found["reported"]["checkpoint"] == "last"


def test_a_nan_is_null_and_failed(tmp_path: Path) -> None:
    found = fit(
        tmp_path, "--data.task=stsb", "--model.lr=1e30", "--model.max_grad_norm=0", "--model.stop_when_diverged=false"
    )
    assert found["scores"]["dev"]["last"] == {"pearson": None, "spearman": None}
    assert found["majority"]["dev"]["pearson"] is None
    assert found["failed"] is True


def test_identity(finished: Path, tmp_path: Path) -> None:
    same_run = fit(tmp_path / "a", *MIXOUT, "--trainer.accumulate_grad_batches=2", "--data.eval_batch_size=100")
    assert same_run["identity"] == result(finished)["identity"]
    assert fit(tmp_path / "b", *MIXOUT, "--seeds.order=1")["identity"] != same_run["identity"]


def test_seeds_reach_model_and_data(finished: Path, tmp_path: Path) -> None:
    base = weights(finished)
    for seed in ("init", "order", "split"):
        fit(tmp_path / seed, *MIXOUT, f"--seeds.{seed}=1")
        assert not same(base, weights(tmp_path / seed)), seed


def test_default_folder_is_of_the_configuration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for more in ([], ["--ckpt_path=last"]):
        assert main(["fit", *SHORT, "--seeds.order=3", *more]) == 0
    (folder,) = (tmp_path / "runs" / "rte" / "plain").iterdir()
    assert folder.name.startswith("0-3-0-")


def entry_of(preset: Path) -> Any:
    (entry,) = yaml.safe_load(preset.read_text())["trainer"]["callbacks+"]
    return entry


def method_of(preset: Path) -> str:
    return str(entry_of(preset)["class_path"]).rpartition(".")[2]


def options(preset: Path) -> dict[str, Any]:
    found: dict[str, Any] = entry_of(preset).get("init_args", {})
    return found


PRESETS = sorted(
    path
    for path in (ROOT / "experiments").rglob("*.yaml")
    if path.parent.name not in ("experiments", "tasks", "grids", "sweeps")
)


@pytest.mark.parametrize("preset", PRESETS, ids=lambda path: str(path.relative_to(ROOT / "experiments")))
def test_every_method_file_is_parsed(preset: Path) -> None:
    # The tiny encoder has too few layers for a preset that counts them, and nothing is loaded here.
    plan = build(["fit", *BASE, "--config", str(preset), *RTE, *TINY], FitPlan)
    (callback,) = plan.config.fit.trainer.callbacks
    method = callback.class_path.rpartition(".")[2]
    assert method == method_of(preset)
    assert all(callback.init_args[name] == value for name, value in options(preset).items())
    if method == "TwoStage":
        assert plan.stage is not None


STEPPED = {method_of(path): path for path in reversed(PRESETS)}
"""A file of each method."""


@pytest.mark.parametrize("method", STEPPED)
def test_a_file_of_every_method_takes_a_step(method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    preset = STEPPED[method]
    declared = options(preset)
    if "stages" in declared:
        # Its stages take a step each, too.
        monkeypatch.chdir(tmp_path)
        declared |= {"stages": [shortened(stage) for stage in declared["stages"]], "overlap": "allow"}
        preset = tmp_path / "preset.yaml"
        preset.write_text(
            yaml.safe_dump({"trainer": {"callbacks": [{"class_path": "TwoStage", "init_args": declared}]}})
        )
    quick = ["--config", str(ROOT / "experiments" / "quickstart.yaml"), "--config", str(preset)]
    task = ["--data.source=sample"] if "stages" in declared else []
    found = fit(tmp_path / "run", *BASE, *quick, *SHORT, "--trainer.max_steps=1", "--data.train_subset=16", *task)
    (used,) = found["methods"]
    assert used["name"] == method
    assert all(used["options"][name] == value for name, value in declared.items())
    start, stages = found["start"], len(declared.get("stages", []))
    for _ in range(stages):
        assert start["cost"]["steps"] == 1
        start = start["start"]
    assert start is None


def shortened(stage: dict[str, Any]) -> dict[str, Any]:
    subset = {} if stage.get("data", {}).get("task") == "text" else {"train_subset": 16}
    trainer = {name: value for name, value in stage["trainer"].items() if name != "max_epochs"}
    return {**stage, "data": {**stage.get("data", {}), **subset}, "trainer": {**trainer, "max_steps": 1}}


def test_two_processes_record_one_run(finished: Path, files: Path, tmp_path: Path) -> None:
    options = [*SHORT, *MIXOUT, "--data.path", str(files), "--trainer.default_root_dir", str(tmp_path)]
    ddp = ["--trainer.devices=2", "--trainer.strategy=ddp", "--trainer.accumulate_grad_batches=2"]
    subprocess.run([sys.executable, "-m", "ftreg", "fit", *options, *ddp], check=True, cwd=ROOT)
    one, two = result(finished), result(tmp_path)
    assert two["identity"] == one["identity"]
    assert two["scores"].keys() == one["scores"].keys()
    assert [two["cost"][name] for name in ("steps", "tokens")] == [one["cost"][name] for name in ("steps", "tokens")]
    for name in ("dev", "selection.last"):
        tables = [pq.read_table(root / "predictions" / f"{name}.parquet") for root in (finished, tmp_path)]
        assert tables[0]["row_id"] == tables[1]["row_id"]
        assert tables[0]["label"] == tables[1]["label"]


def test_a_folder_in_a_method_counts_by_its_content(tmp_path: Path) -> None:
    for name, content in (("a", "1"), ("b", "1"), ("c", "2")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "weights").write_text(content)
    method = {"class_path": "ftreg.Mixout", "init_args": {"anchor": ""}}
    config = {"model": {"backbone": "demo"}, "data": {}, "seeds": {}, "trainer": {"callbacks": [method]}}
    found = []
    for name in "abc":
        method["init_args"] = {"anchor": str(tmp_path / name)}
        found.append(identity(config, {}))
    assert found[0] == found[1] != found[2]
