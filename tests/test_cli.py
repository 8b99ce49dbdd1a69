"""`ftreg fit|validate|test|predict` from end to end, in this process."""

import csv
import json
import math
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
import torch
import yaml

from ftreg.__main__ import main
from ftreg.cost import Cost
from glue_tasks.sample import rows
from glue_tasks.tasks import find

ROOT = Path(__file__).parent.parent
BASE = ["--config", str(ROOT / "experiments" / "base.yaml")]
RTE = ["--data.task=rte", "--data.source=tsv"]
TINY = ["--model.backbone=tiny", "--data.max_length=64"]
SHORT = [*RTE, *TINY, "--trainer.max_steps=5", "--trainer.accelerator=cpu"]
MIXOUT = ["--trainer.callbacks+=Mixout", "--trainer.callbacks.p=0.7"]
KEYS = (
    "schema identity status task source backbone protocol methods seeds scores reported majority failed cost versions"
)

Weights = dict[str, torch.Tensor]


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in the official layout with a few rows of the built-in sample, so that a fit takes a second."""
    folder = tmp_path_factory.mktemp("glue")
    for name in ("rte", "qnli", "stsb", "mrpc"):
        task = find(name)
        assert task.tsv is not None
        target = folder / task.tsv.folder[0]
        target.mkdir()
        for split, number in (("train", 80), ("dev", 24), ("test", 8)):
            table = {column: values[:number] for column, values in rows(name, split).items()}
            header = [*(task.tsv.columns or task.columns), *([task.tsv.label] if split != "test" else [])]
            names = task.tsv.values or task.labels
            labels = [names[label] for label in table["label"]] if names and split != "test" else table["label"]
            lines = zip(*(table[column] for column in task.columns), map(str, labels), strict=True)
            text = "\n".join("\t".join(line[: len(header)]) for line in [tuple(header), *lines])
            (target / f"{split}.tsv").write_text(text)
    return folder


@pytest.fixture(autouse=True)
def surroundings(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The few rows are the official files; no W&B account takes part, and its mode is not chosen yet."""
    monkeypatch.setenv("FTREG_GLUE_DIR", str(files))
    for name in ("WANDB_API_KEY", "WANDB_MODE", "WANDB_SILENT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("NETRC", "/nonexistent")


def fit(root: Path, *arguments: str) -> dict[str, Any]:
    assert main(["fit", *SHORT, "--trainer.default_root_dir", str(root), *arguments]) == 0
    return result(root)


def result(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "result.json").read_text())
    return content


def weights(root: Path, name: str = "last") -> Weights:
    checkpoint = torch.load(root / "checkpoints" / f"{name}.ckpt", weights_only=True)
    state: Weights = checkpoint["state_dict"]
    return state


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def metrics(root: Path) -> list[dict[str, str]]:
    with open(root / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def finished(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run with Mixout, not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    fit(root, *MIXOUT, f"--data.path={files}")
    return root


class TestFit:
    def test_folder(self, finished: Path) -> None:
        files = {str(path.relative_to(finished)) for path in finished.rglob("*") if path.is_file()}
        splits = [f"predictions/{split}{which}.parquet" for split in ("dev", "selection") for which in ("", ".last")]
        assert files == {
            "config.yaml", "metrics.csv", "result.json", "checkpoints/best.ckpt", "checkpoints/last.ckpt", *splits
        }  # fmt: skip

    def test_result(self, finished: Path) -> None:
        found = result(finished)
        assert list(found) == KEYS.split()
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
        assert list(found["cost"]) == ["steps", "seconds", "tokens", "peak_memory_bytes"]
        assert found["cost"]["steps"] == 5
        assert 5 * 16 * 10 < found["cost"]["tokens"] < 5 * 16 * 64
        assert found["cost"]["peak_memory_bytes"] > 1e8
        assert found["failed"] == (found["scores"]["dev"]["last"]["accuracy"] <= found["majority"]["dev"]["accuracy"])

    @pytest.mark.parametrize("which", ["last", "best"])
    def test_predictions_give_the_scores(self, finished: Path, which: str) -> None:
        for split in ("dev", "selection"):
            table = pq.read_table(finished / "predictions" / f"{split}{'' if which == 'best' else '.last'}.parquet")
            assert table.column_names == ["row_id", "label", "logits"]
            if split == "dev":
                assert table["row_id"].to_pylist() == list(range(24))
            logits = torch.tensor(table["logits"].to_pylist())
            accuracy = (logits.argmax(1) == torch.tensor(table["label"].to_pylist())).double().mean()
            assert math.isclose(accuracy, result(finished)["scores"][split][which]["accuracy"], abs_tol=1e-6)

    def test_table(self, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
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

    def test_ten_evaluations_with_the_last_at_the_end(self, tmp_path: Path) -> None:
        fit(tmp_path, "--trainer.max_steps=23")
        steps = [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]]
        assert steps == [3, 5, 7, 10, 12, 14, 17, 19, 21, 23]

    def test_accumulation_is_evaluated_at_whole_steps(self, tmp_path: Path) -> None:
        fit(tmp_path, "--trainer.accumulate_grad_batches=3")
        assert [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]] == [1, 2, 3, 4, 5]

    def test_own_interval_is_kept(self, tmp_path: Path) -> None:
        fit(tmp_path, "--trainer.val_check_interval=4")
        assert [int(row["step"]) + 1 for row in metrics(tmp_path) if row["selection/score"]] == [4]

    def test_dev_protocol_reports_the_last_checkpoint(self, tmp_path: Path) -> None:
        found = fit(tmp_path, "--data.protocol=dev")
        assert list(found["scores"]) == ["dev"]
        assert found["reported"]["checkpoint"] == "last"

    def test_a_nan_is_null_and_failed(self, tmp_path: Path) -> None:
        found = fit(tmp_path, "--data.task=stsb", "--model.lr=1e30", "--model.max_grad_norm=0")
        assert found["scores"]["dev"]["last"] == {"pearson": None, "spearman": None}
        assert found["majority"]["dev"]["pearson"] is None
        assert found["failed"] is True

    def test_identity(self, finished: Path, tmp_path: Path) -> None:
        same_run = fit(tmp_path / "a", *MIXOUT, "--trainer.accumulate_grad_batches=2", "--data.eval_batch_size=100")
        assert same_run["identity"] == result(finished)["identity"]
        assert fit(tmp_path / "b", *MIXOUT, "--seeds.order=1")["identity"] != same_run["identity"]

    def test_seeds_reach_model_and_data(self, finished: Path, tmp_path: Path) -> None:
        base = weights(finished)
        for seed in ("init", "order", "split"):
            fit(tmp_path / seed, *MIXOUT, f"--seeds.{seed}=1")
            assert not same(base, weights(tmp_path / seed)), seed

    def test_default_folder_is_of_the_configuration(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.chdir(tmp_path)
        for _ in range(2):
            assert main(["fit", *SHORT, "--seeds.order=3"]) == 0
        (folder,) = (tmp_path / "runs" / "rte" / "plain").iterdir()
        assert folder.name.startswith("0-3-0-")

    def test_every_experiment_parses_and_takes_a_step(self, tmp_path: Path) -> None:
        for number, method in enumerate(sorted((ROOT / "experiments" / "mixout").glob("*.yaml"))):
            quick = ROOT / "experiments" / "quickstart.yaml"
            found = fit(
                tmp_path / str(number),
                *BASE,
                "--config",
                str(quick),
                "--config",
                str(method),
                *SHORT,
                "--data.train_subset=40",
            )
            assert [m["name"] for m in found["methods"]] == ["Mixout"]


class TestAgain:
    def test_second_run_into_the_same_folder(self, tmp_path: Path) -> None:
        fit(tmp_path)
        before, files = metrics(tmp_path), {path.name for path in (tmp_path / "checkpoints").iterdir()}
        second = fit(tmp_path, "--seeds.init=1")
        after = metrics(tmp_path)
        assert after[: len(before)] == before
        assert len(after) == 2 * len(before)
        assert {path.name for path in (tmp_path / "checkpoints").iterdir()} == files == {"best.ckpt", "last.ckpt"}
        assert second["seeds"]["init"] == 1
        assert yaml.safe_load((tmp_path / "config.yaml").read_text())["seeds"]["init"] == 1

    def test_config_of_a_run_repeats_it(self, finished: Path, tmp_path: Path) -> None:
        assert main(["fit", "--config", str(finished / "config.yaml"), f"--trainer.default_root_dir={tmp_path}"]) == 0
        assert same(weights(finished), weights(tmp_path))
        assert result(tmp_path)["identity"] == result(finished)["identity"]

    @pytest.mark.parametrize("elsewhere", [False, True])
    def test_resume_is_exact(
        self, finished: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, elsewhere: bool
    ) -> None:
        def interrupt(self: Cost, trainer: Any, *_: Any) -> None:
            if trainer.global_step == 4:
                raise ZeroDivisionError

        root = tmp_path / "first"
        with monkeypatch.context() as patch:
            patch.setattr(Cost, "on_train_batch_end", interrupt)
            with pytest.raises(ZeroDivisionError):
                fit(root, *MIXOUT)
        assert not (root / "result.json").exists()
        early = metrics(root)
        target = tmp_path / "second" if elsewhere else root
        found = fit(target, *MIXOUT, "--ckpt_path", str(root / "checkpoints" / "last.ckpt"))
        assert same(weights(finished), weights(target))
        reference = result(finished)
        assert found["scores"] == reference["scores"]
        assert (found["cost"]["steps"], found["cost"]["tokens"]) == (5, reference["cost"]["tokens"])
        if not elsewhere:  # later columns are empty in earlier rows
            assert [{name: row[name] for name in early[0]} for row in metrics(root)[: len(early)]] == early


class TestOthers:
    @pytest.mark.parametrize(("command", "split"), [("validate", "selection"), ("test", "dev")])
    def test_scores_of_a_checkpoint(
        self, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str, split: str
    ) -> None:
        checkpoint = str(finished / "checkpoints" / "best.ckpt")
        options = [*RTE, *TINY, "--ckpt_path", checkpoint, "--trainer.default_root_dir", str(tmp_path)]
        assert main([command, *options]) == 0
        score = result(finished)["scores"][split]["best"]["accuracy"]
        assert f"{split}/accuracy" in (out := capsys.readouterr().out)
        assert str(score) in out

    def test_predict(self, finished: Path, tmp_path: Path) -> None:
        checkpoint = str(finished / "checkpoints" / "best.ckpt")
        options = [*RTE, *TINY, "--ckpt_path", checkpoint, "--trainer.default_root_dir", str(tmp_path)]
        assert main(["predict", *options]) == 0
        table = pq.read_table(tmp_path / "predictions" / "test.parquet")
        assert table["row_id"].to_pylist() == list(range(8))
        assert set(table["label"].to_pylist()) == {-1}

    def test_model_options_come_from_the_checkpoint(self, tmp_path: Path) -> None:
        fit(tmp_path, "--model.backbone=tiny", "--model.lr=0.001")
        assert (
            main(["test", *RTE, "--data.max_length=64", "--ckpt_path=best", f"--trainer.default_root_dir={tmp_path}"])
            == 0
        )


def wandb_runs(root: Path) -> list[Path]:
    return list((root / "wandb").glob("offline-run-*"))


def test_wandb_offline_with_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    fit(tmp_path, *BASE, *MIXOUT)
    out, err = capsys.readouterr()
    assert err == ""
    assert [line for line in out.splitlines() if "wandb" in line.removeprefix(f"record {tmp_path}").lower()] == [
        f"Weights & Biases: no API key, so offline; `wandb sync {tmp_path}/wandb/offline-run-*` uploads it later"
    ]
    (run,) = wandb_runs(tmp_path)
    content = b"".join(path.read_bytes() for path in run.glob("*.wandb"))
    for piece in (b"rte/Mixout", b"seeds", b"max_grad_norm", b"methods", b"replace_dropout", b"last/dev/accuracy"):
        assert piece in content


Complaint = Callable[[Sequence[str]], str]


@pytest.fixture
def complaint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Complaint:
    """The one line that a fit with wrong arguments prints, without its prefix."""

    def run(arguments: Sequence[str]) -> str:
        assert main(["fit", *SHORT, "--trainer.default_root_dir", str(tmp_path / "run"), *arguments]) == 2
        out, err = capsys.readouterr()
        assert out == ""
        assert err.count("\n") == 1
        assert err.startswith("ftreg: error: ")
        assert not (tmp_path / "run" / "result.json").exists()
        return err.removeprefix("ftreg: error: ").rstrip("\n")

    return run


METHOD_OPTIONS = "Valid: p, granularity, anchor, include_head, replace_dropout, gradient"


class TestComplaints:
    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--trainer.callbacks+=Mixuot"], "no method 'Mixuot'; did you mean 'Mixout'? Valid: "),
            ([*MIXOUT, "--trainer.callbacks.pp=1"], f"Mixout has no option 'pp'; did you mean 'p'? {METHOD_OPTIONS}"),
            (
                ["--trainer.callbacks+=tests.toys.Ascent", "--trainer.callbacks+=tests.toys.TwoBackwards"],
                "Ascent and TwoBackwards both own OBJECTIVE",
            ),
            (["--trainer.callbacks.p=1"], "option trainer.callbacks.p has no method before it"),
            (["--trainer.callbacks+=ftreg.Mixuot"], "module 'ftreg' has no class 'Mixuot'"),
            (["--data.task=rtee"], "unknown task 'rtee'; did you mean 'rte'? GLUE has cola, sst2, mrpc"),
            (
                ["--trainer.max_stps=3"],
                "no option 'trainer.max_stps'; did you mean 'trainer.max_steps'? Valid: trainer",
            ),
            (["--modle.lr=3"], "no option 'modle.lr'; did you mean 'model.lr'? Valid: "),
            (
                ["--seeds.int", "3"],
                "'seeds.int'; did you mean 'seeds.init'? Valid: seeds.init, seeds.order, seeds.split",
            ),
            (["--model.init_seed=3"], "option 'model.init_seed' is set by seeds.init"),
            ([*MIXOUT, "--trainer.callbacks.p=1.5"], "Mixout.p is 1.5; it is a probability, from 0 to 1"),
            ([*MIXOUT, "--trainer.callbacks.p=x"], "p: Expected a float. Got value: x"),
            (["--data.batch_size=x"], "data.batch_size: Expected a int. Got value: x"),
            (["--data.protocol=devv"], "data.protocol: Expected a Literal['holdout', 'dev']. Got value: devv"),
            (["--trainer.precision=7"], "trainer.precision: found 7; expected "),
            (["--trainer.strategy=foo"], "the trainer's options do not go together: "),
            (["--model.backbone=./nowhere"], "backbone ./nowhere: no such folder"),
            (["--data.source=tsv", "--data.path=/nowhere"], "/nowhere: no folder RTE"),
            (["--data.train_subset=0"], "data.train_subset=0 must be at least 1"),
            (["--trainer.limit_val_batches=1"], "trainer.limit_val_batches: runs are recorded whole"),
            (["--trainer.max_epochs=-1", "--trainer.max_steps=-1"], "training has no end"),
            (["--config=/nowhere.yaml"], "/nowhere.yaml: cannot be read (No such file or directory)"),
            (["--ckpt_path=/nowhere.ckpt"], "ckpt_path /nowhere.ckpt: no such file"),
            ([f"--ckpt_path={__file__}"], "not a checkpoint, or a broken one"),
            ([f"--trainer.default_root_dir={__file__}/run"], "cannot write there (Not a directory)"),
            (["--data.task=ax"], "task 'ax' has no training split"),
        ],
    )
    def test_one_line(self, complaint: Complaint, arguments: list[str], line: str) -> None:
        assert line in complaint(arguments)

    @pytest.mark.parametrize(
        ("text", "line"),
        [
            ("model:\n  lrr: 1", "no option 'model.lrr'; did you mean 'model.lr'? Valid: model.attention"),
            ("trainer:\n  callbacks+:\n  - class_path: Mixuot", "no method 'Mixuot'; did you mean 'Mixout'?"),
            (
                "trainer:\n  callbacks:\n  - class_path: Mixout\n    init_args: {pp: 1}",
                f"Mixout has no option 'pp'; did you mean 'p'? {METHOD_OPTIONS}",
            ),
            ("trainer:\n  callbacks: [3]", "no method '3'"),
            ("model: [", ":1: not YAML"),
            ("- a", "holds no options"),
        ],
    )
    def test_of_a_file_names_it(self, complaint: Complaint, tmp_path: Path, text: str, line: str) -> None:
        file = tmp_path / "some.yaml"
        file.write_text(text)
        found = complaint(["--config", str(file)])
        assert found.startswith(str(file))
        assert line in found

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--model.lr=0.5"], "model.lr is 2.0e-05 in {path} and 0.5 here"),
            (["--seeds.order=7"], "seeds.order is 0 in {path} and 7 here"),
            (["--trainer.callbacks.p=0.1"], "p: 0.7"),
            (["--data.task=qnli"], "ckpt_path {path} is of task rte, this run is of qnli"),
        ],
    )
    def test_a_checkpoint_of_another_run(
        self, complaint: Complaint, finished: Path, arguments: list[str], line: str
    ) -> None:
        path = str(finished / "checkpoints" / "last.ckpt")
        assert line.format(path=path) in complaint([*MIXOUT, *arguments, "--ckpt_path", path])

    @pytest.mark.parametrize(
        ("arguments", "line"),
        [
            (["--model.lr=0.5"], "model.lr is 2.0e-05 in {path} and 0.5 here; leave it out"),
            (["--data.task=mrpc"], "the checkpoint is of another task"),
        ],
    )
    def test_validating_with_another_run(
        self, finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
    ) -> None:
        path = str(finished / "checkpoints" / "last.ckpt")
        options = [*RTE, *TINY, *arguments, "--ckpt_path", path, "--trainer.default_root_dir", str(tmp_path)]
        assert main(["validate", *options]) == 2
        assert line.format(path=path) in capsys.readouterr().err

    def test_a_traceback_on_demand(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("FTREG_TRACEBACK", "1")
        with pytest.raises(ValueError, match="unknown task 'rtee'"):
            main(["fit", *SHORT, "--data.task=rtee"])


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
