"""Stages: trained once, before the target, by the same command."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ftreg.__main__ import main
from ftreg.lightning.finetuner import FineTuner
from tests.cli.runs import ROOT, SHORT, fit, metrics, result, same, weights

QNLI = {"data": {"task": "qnli", "max_length": 64}, "trainer": {"max_steps": 6}, "model": {"lr": 1e-3}}
MASKED = {"trainer": {"max_steps": 5, "callbacks": ["MaskedLM"]}}


def two_stage(*stages: Any, store: Path, **options: Any) -> str:
    init_args = {"stages": list(stages), "store": str(store), **options}
    return "--trainer.callbacks=" + json.dumps([{"class_path": "TwoStage", "init_args": init_args}])


def stages(store: Path) -> list[Path]:
    return sorted(path.parent for path in store.glob("*/result.json"))


def test_a_stage_is_trained_once_and_every_run_starts_from_it(tmp_path: Path) -> None:
    store = tmp_path / "store"
    found = fit(tmp_path / "a", two_stage(QNLI, store=store))
    (stage,) = stages(store)
    before = (stage / "result.json").stat().st_mtime_ns
    other = fit(tmp_path / "b", two_stage(QNLI, store=store), "--seeds.init=1", "--model.lr=1e-5")
    assert (
        main(["fit", f"--config={tmp_path / 'a' / 'config.yaml'}", f"--trainer.default_root_dir={tmp_path / 'c'}"]) == 0
    )
    again = result(tmp_path / "c")
    assert stages(store) == [stage]
    assert (stage / "result.json").stat().st_mtime_ns == before
    assert found["start"] == other["start"] == again["start"]
    assert found["identity"] == again["identity"] != other["identity"]
    record = result(stage)
    assert stage.name == f"qnli-{record['identity']}"
    assert (record["task"], record["backbone"], record["source"], record["seeds"]["init"]) == ("qnli", "tiny", "tsv", 0)
    assert found["start"]["identity"] == record["identity"]
    assert found["start"]["cost"] == record["cost"]
    assert same(weights(tmp_path / "a"), weights(tmp_path / "c"))


def test_the_target_starts_where_the_stage_ended(tmp_path: Path) -> None:
    for which in ("best", "last"):
        root = tmp_path / which
        fit(root, two_stage(QNLI, store=tmp_path / "store", weights=which), "--model.lr=0")
        (stage,) = stages(tmp_path / "store")
        ours, theirs = weights(root), weights(stage, which)
        assert all(torch.equal(ours[name], theirs[name]) for name in ours if ".bert." in name)
    assert not same(weights(stage, "best"), weights(stage, "last")) or result(stage)["cost"]["steps"] == 0


def test_stages_in_sequence(tmp_path: Path) -> None:
    store = tmp_path / "store"
    one = fit(tmp_path / "one", two_stage(MASKED, QNLI, store=store))
    assert [path.name.split("-")[0] for path in stages(store)] == ["qnli", "rte"]
    assert (one["start"]["task"], one["start"]["start"]["task"], one["start"]["start"]["start"]) == (
        "qnli",
        "rte",
        None,
    )
    fit(tmp_path / "other", two_stage(QNLI, store=store))
    assert [path.name.split("-")[0] for path in stages(store)] == ["qnli", "qnli", "rte"]


def test_further_pre_training_sees_no_row_that_is_evaluated(tmp_path: Path, files: Path) -> None:
    """Also not their texts: with other dev and test texts, the stage is the same run."""
    store = tmp_path / "store"
    fit(tmp_path / "a", two_stage(MASKED, store=store))
    (stage,) = stages(store)
    record = result(stage)
    assert (record["scores"], record["reported"], record["failed"]) == ({}, None, False)
    assert sorted(path.name for path in (stage / "checkpoints").iterdir()) == ["last.ckpt"]
    assert not (stage / "predictions").exists()
    rows = {float(row["train/MaskedLM"]) for row in metrics(stage) if row.get("train/MaskedLM")}
    assert rows or record["cost"]["steps"] < 10
    other = tmp_path / "files"
    shutil.copytree(files, other)
    for split in ("dev", "test"):
        path = other / "RTE" / f"{split}.tsv"
        head, *lines = path.read_text().split("\n")
        path.write_text("\n".join([head, *(f"{line.split(chr(9))[0]} changed\t{chr(9).join(line.split(chr(9))[1:])}"
                                           for line in lines)]))  # fmt: skip
    fit(tmp_path / "b", two_stage(MASKED, store=store), f"--data.path={other}")
    assert stages(store) == [stage]
    # Another selection split leaves other rows to train on.
    fit(tmp_path / "c", two_stage(MASKED, store=store), "--seeds.split=1")
    assert len(stages(store)) == 2
    assert all(folder.name == f"rte-{result(folder)['identity']}" for folder in stages(store))


def test_another_configuration_or_other_data_is_another_stage(tmp_path: Path, files: Path) -> None:
    store, other = tmp_path / "store", tmp_path / "files"
    shutil.copytree(files, other)
    path = other / "QNLI" / "train.tsv"
    path.write_text(path.read_text().replace("the", "a"))
    fit(tmp_path / "a", two_stage(QNLI, store=store))
    fit(tmp_path / "b", two_stage(QNLI | {"seeds": {"init": 1}}, store=store))
    fit(tmp_path / "c", two_stage(QNLI, store=store), f"--data.path={other}")
    assert len(stages(store)) == 3


@pytest.mark.parametrize("stage", [QNLI, MASKED], ids=["supervised", "masked words"])
def test_a_stage_that_was_cut_off_is_resumed(stage: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path / "whole", two_stage(stage, store=tmp_path / "uncut"))
    step = FineTuner.training_step
    seen: list[int] = []

    def fails(self: FineTuner, *args: Any) -> Any:
        seen.append(self.trainer.global_step)
        if self.trainer.global_step == 3:
            raise OSError("the power went")
        return step(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(FineTuner, "training_step", fails)
        cut = [*SHORT, two_stage(stage, store=tmp_path / "store"), f"--trainer.default_root_dir={tmp_path / 'cut'}"]
        assert main(["fit", *cut]) == 2
    assert seen == [0, 1, 2, 3]
    assert not (tmp_path / "cut" / "result.json").exists()
    assert stages(tmp_path / "store") == []

    def counts(self: FineTuner, *args: Any) -> Any:
        seen.append(self.trainer.global_step)
        return step(self, *args)

    monkeypatch.setattr(FineTuner, "training_step", counts)
    fit(tmp_path / "cut", two_stage(stage, store=tmp_path / "store"))
    assert seen[4:6] == [3, 4]
    (whole,), (resumed,) = stages(tmp_path / "uncut"), stages(tmp_path / "store")
    assert whole.name == resumed.name
    assert same(weights(whole), weights(resumed))
    assert same(weights(tmp_path / "whole"), weights(tmp_path / "cut"))


def run(root: Path, *arguments: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "ftreg", "fit", *SHORT, f"--trainer.default_root_dir={root}", *arguments]
    return subprocess.Popen(command, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def test_two_launches_at_once_train_it_once(tmp_path: Path) -> None:
    """One trains and the other waits; one of them on two processes, which is the same stage."""
    store, ddp = tmp_path / "store", ["--trainer.devices=2", "--trainer.strategy=ddp"]
    option = two_stage(QNLI, store=store)
    launches = [run(tmp_path / "a", option, *ddp), run(tmp_path / "b", option, "--seeds.init=1")]
    for launch in launches:
        said, _ = launch.communicate(timeout=300)
        assert launch.returncode == 0, said
    (stage,) = stages(store)
    steps = [row["step"] for row in metrics(stage) if row.get("selection/accuracy")]
    assert steps == sorted({*steps}, key=int)
    assert len(steps) == QNLI["trainer"]["max_steps"]
    assert [path.name for path in stage.iterdir() if path.name.startswith(".")] == [".lock"]
    assert result(tmp_path / "a")["start"] == result(tmp_path / "b")["start"]


def test_several_tasks_at_once(tmp_path: Path) -> None:
    stage = QNLI | {"data": {"task": "qnli", "max_length": 64, "also": [{"task": "mrpc"}, {"task": "stsb"}]}}
    found = fit(tmp_path / "a", two_stage(stage, store=tmp_path / "store"), "--model.lr=0")
    (folder,) = stages(tmp_path / "store")
    ours, theirs = weights(tmp_path / "a"), weights(folder, "best")
    assert {name.split(".")[3] for name in theirs if "parts.MultiTask" in name} == {"mrpc_head", "stsb_head"}
    assert not any("parts" in name for name in ours)
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if ".bert." in name)
    assert [method["name"] for method in found["start"]["methods"]] == ["MultiTask"]


def test_a_stage_may_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "stage.yaml").write_text(yaml.safe_dump(QNLI))
    one = fit(tmp_path / "a", two_stage(QNLI, store=tmp_path / "store"))
    other = fit(tmp_path / "b", two_stage(str(tmp_path / "stage.yaml"), store=tmp_path / "store"))
    (stage,) = stages(tmp_path / "store")
    fit(tmp_path / "c", two_stage(str(stage / "config.yaml"), store=tmp_path / "store"))
    assert stages(tmp_path / "store") == [stage]
    assert one["start"] == other["start"]
    assert one["identity"] == other["identity"]


def test_a_given_checkpoint(finished: Path, tmp_path: Path) -> None:
    option = f"--trainer.callbacks.checkpoint={finished / 'checkpoints' / 'best.ckpt'}"
    found = fit(tmp_path / "a", "--trainer.callbacks+=TwoStage", option, "--model.lr=0")
    ours, theirs = weights(tmp_path / "a"), weights(finished, "best")
    assert all(torch.equal(ours[name], theirs[name]) for name in ours if ".bert." in name)
    moved = tmp_path / "moved"
    shutil.copytree(finished, moved)
    other = fit(tmp_path / "b", "--trainer.callbacks+=TwoStage", option.replace(str(finished), str(moved)))
    third = fit(tmp_path / "c", "--trainer.callbacks+=TwoStage", option.replace("best.ckpt", "last.ckpt"))
    assert found["start"] is None
    assert len({run["identity"] for run in (other, third)}) == 2


@pytest.mark.parametrize(
    ("stage", "line"),
    [
        ({"data": {"taskk": "mnli"}}, "TwoStage.stages: no option 'data.taskk'; did you mean 'data.task'?"),
        ({"trainer": {"callbacks": ["Mixuot"]}}, "TwoStage.stages: no method 'Mixuot'; did you mean 'Mixout'?"),
        ({"dta": {"task": "mnli"}}, "TwoStage.stages: no group 'dta' in a stage; it has model, data, trainer, seeds"),
        ("none.yaml", "TwoStage.stages: none.yaml: cannot be read (No such file"),
        ({"data": "mnli"}, "is no configuration; write groups such as data: and model:"),
        ({"data": {"task": "rte", "train_split": "dev"}}, "has evaluation rows that were trained on before: "),
        ({"data": {"task": "qnli", "also": [{"task": "rte", "train_split": "dev"}]}}, "trained on before: 24 of dev"),
        ({"data": {"task": "text", "source": "text", "path": "none.txt"}}, "none.txt"),
        ({"data": {"task": "stsb"}, "head": "keep"}, "the head of stage stsb tells a score apart, the target has"),
        ({**MASKED, "head": "keep"}, "stage rte has learnt no labels; give head=new"),
        ({**QNLI, "beside": [("PGD",), ("FreeLB",)]}, "PGD and FreeLB both own OBJECTIVE"),
        ({**QNLI, "beside": [("HeadFirst", "cache=true"), ("FreeLB",)]}, "HeadFirst.cache serves clean passes"),
        ({"data": {"task": "qnli"}, "model": {"lr": -1}}, "stage one, in .*: model.lr is -1"),
    ],
)
def test_complaints(stage: Any, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    head, beside = (stage.pop(name, default) if isinstance(stage, dict) else default
                    for name, default in (("head", "new"), ("beside", [])))  # fmt: skip
    option = [two_stage(stage, store=tmp_path / "store", head=head)]
    for name, *given in beside:
        option += [f"--trainer.callbacks+={name}", *(f"--trainer.callbacks.{value}" for value in given)]
    assert main(["fit", *SHORT, *option, f"--trainer.default_root_dir={tmp_path / 'run'}"]) == 2
    said = capsys.readouterr().err
    assert said.startswith("ftreg: error: ")
    assert said.count("\n") == 1
    assert stages(tmp_path / "store") == []
    assert line.split(".*")[-1] in said
