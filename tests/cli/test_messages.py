"""Mistakes get one line that says what, where, and what to do."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
from huggingface_hub import HfApi

from ftreg.__main__ import main
from ftreg._base.errors import UsageError
from ftreg.bench.plans import Checked
from ftreg.cli.plan import build
from glue_tasks.errors import DataError
from tests.cli.runs import MIXOUT, RTE, SHORT, TINY

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
        (["--model={lrr: 1}"], "--model: no option 'model.lrr'; did you mean 'model.lr'?"),
        (["--seeds=3"], "--seeds: found 3; give its options one by one, or a file that has them"),
        (["--data=/nowhere.yaml"], "/nowhere.yaml: cannot be read (No such file or directory); check --data"),
        (["--data.task={a: 1, a: 2}"], "--data.task: line 1: the key 'a' is there twice"),
        (["--trainer.callbacks=" + "[" * 1200], "--trainer.callbacks: line 1: nested more than 31 levels deep"),
        (["--data.path=\udcff"], "--data.path: found '\\udcff', which is no UTF-8 text"),
        (["--trainer.callbacks=../."], "cannot import '../.'"),
        (["--data.task=ax"], "task 'ax' has no training split"),
    ],
)
def test_one_line(complaint: Complaint, arguments: list[str], line: str) -> None:
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
def test_of_a_file_names_it(complaint: Complaint, tmp_path: Path, text: str, line: str) -> None:
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
        (["--trainer.max_steps=50"], "trainer.max_steps is 5 in {path} and 50 here; a resumed run keeps its options"),
        (["--trainer.precision=bf16-mixed"], "trainer.precision is null in {path} and bf16-mixed here"),
    ],
)
def test_a_checkpoint_of_another_run(complaint: Complaint, finished: Path, arguments: list[str], line: str) -> None:
    path = str(finished / "checkpoints" / "last.ckpt")
    assert line.format(path=path) in complaint([*MIXOUT, *arguments, "--ckpt_path", path])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--data.task=mrpc"], "the checkpoint is of another task"),
        (["--trainer.logger=ftreg.loggers.CSVLogger"], "trainer.logger: validate logs nothing"),
        (["--untrained"], "--untrained is for validate without a checkpoint"),
    ],
)
def test_validating_with_another_run(
    finished: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    path = str(finished / "checkpoints" / "last.ckpt")
    options = [*RTE, *TINY, *arguments, "--ckpt_path", path, "--trainer.default_root_dir", str(tmp_path)]
    assert main(["validate", *options]) == 2
    assert line.format(path=path) in capsys.readouterr().err


def test_a_traceback_on_demand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTREG_TRACEBACK", "1")
    with pytest.raises(ValueError, match="unknown task 'rtee'"):
        main(["fit", *SHORT, "--data.task=rtee"])


class TestData:
    @pytest.mark.parametrize(
        ("split", "text", "line"),
        [
            ("train", "index\tsentence1\tlabel\n0\ta\tentailment\n", "train.tsv: no column 'sentence2'"),
            ("dev", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\tperhaps\n", "dev.tsv:2: label 'perhaps' is unknown"),
            ("dev", "index\tsentence1\tsentence2\tlabel\n0\ta\tb\n", "dev.tsv:2: "),
            ("dev", "index\tsentence1\tsentence2\tlabel\n", "dev.tsv: no rows"),
            ("dev", None, "dev.tsv: no such file"),
        ],
    )
    def test_broken_files(
        self, complaint: Complaint, files: Path, tmp_path: Path, split: str, text: str | None, line: str
    ) -> None:
        shutil.copytree(files / "RTE", tmp_path / "RTE")
        if text is None:
            (tmp_path / "RTE" / f"{split}.tsv").unlink()
        else:
            (tmp_path / "RTE" / f"{split}.tsv").write_text(text)
        assert line in complaint([f"--data.path={tmp_path}"])

    def test_no_network(self, complaint: Complaint, monkeypatch: pytest.MonkeyPatch) -> None:
        def unreachable(*_: object, **__: object) -> None:
            raise ConnectionError("Name or service not known")

        monkeypatch.setattr(HfApi, "dataset_info", unreachable)
        line = complaint(["--data.source=hub"])
        assert "the Hugging Face Hub cannot be reached" in line
        assert "data.source=tsv" in line


C = "trainer:\n  callbacks:\n  - class_path: {}\n    init_args: {}"


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("trainer: null", "trainer: found null; write its options below it"),
        ("model: 3", "model: found 3; write its options below it"),
        ("data: []", "data: found []; write its options below it"),
        ("seeds: x", "seeds: found 'x'; write its options below it"),
        ("data: {task: null}", "data.task: found null; give the name of a task"),
        ("data: {evaluate: null}", "data.evaluate is null; it must be true or false"),
        ("data: {temperature: null}", "data.temperature is null; it must be a number"),
        ("data: {source: null}", "data.source is null; valid: "),
        ("data: {max_length: -1}", "data.max_length=-1 must be at least 1"),
        ("model: {lr: null}", "model.lr is null; it must be a number"),
        ("model: {lr: .nan}", "model.lr is nan; it must be 0 or more"),
        ("model: {lr: 1e400}", "model.lr is inf; it must be 0 or more"),
        ("model: {backbone: null}", "model.backbone is null; it must be text"),
        ("model: {attention: null}", "model.attention is null; valid: auto, eager, sdpa"),
        ("seeds: {init: 1.5}", "seeds.init: Expected a int. Got value: 1.5"),
        ("seeds: {init: null}", "seeds.init: Expected a int. Got value: None"),
        ("seeds: {order: -1}", "seeds.order is -1; it must be 0 or more"),
        ("seeds: {split: 99999999999999999999}", "seeds.split: a whole number of 20 digits; give a smaller one"),
        ("trainer: {val_check_interval: 0}", "trainer.val_check_interval is 0; it must be"),
        ("trainer: {accumulate_grad_batches: 0}", "trainer.accumulate_grad_batches is 0; it must be 1 or more"),
        ("trainer: {devices: 0}", "trainer.devices is 0; it must be a number of them from 1"),
        ("trainer: {max_time: x}", "trainer.max_time: "),
        ("trainer: {precision: 17}", "trainer.precision: found 17; expected Literal[64, 32, 16]"),
        ("trainer: {max_steps: null}", "trainer.max_steps is null; it must be a whole number"),
        ('trainer: {default_root_dir: "a\\0b"}', "text with a NUL character"),
        ('data: {path: "\\ud800"}', ":1: not YAML (found invalid Unicode character escape code)"),
        (C.format("Mixout", "3"), "trainer.callbacks: init_args of Mixout: found 3; write"),
        (C.format("Mixout", "{p: null}"), "Mixout.p is null; it must be a number"),
        (C.format("Mixout", "{p: x}"), "trainer.callbacks: Mixout.p: Expected a float. Got value: x"),
        (C.format("FreeLB", "{start_step: null}"), "FreeLB.start_step is null; it must be a whole number"),
        (C.format("FreeLB", "{steps: true}"), "trainer.callbacks: FreeLB.steps: Expected a int. Got value: True"),
        (C.format("TwoStage", "{stages: [3]}"), "trainer.callbacks: TwoStage.stages: found [3]; expected "),
        (C.format("TwoStage", "{stages: [{data: 3}]}"), "TwoStage.stages: {'data': 3} is no configuration"),
        (
            "data: {also: [{task: rte, train_subset: x}]}",
            "data.also: AuxiliaryTask.train_subset: found x; expected int, null",
        ),
        ("trainer: {logger: {class_path: x}}", "trainer.logger: found {'class_path': 'x'}; expected Logger, "),
    ],
)
def test_values_that_an_option_cannot_have(tmp_path: Path, text: str, line: str) -> None:
    """Refused while the command line is read, of which no class is built yet."""
    file = tmp_path / "some.yaml"
    file.write_text(text)
    with pytest.raises((UsageError, DataError)) as error:
        build(["fit", *SHORT, f"--config={file}"], Checked)
    assert line in str(error.value)
    assert len(str(error.value)) < 500
