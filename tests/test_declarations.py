"""Mistakes in a task of one's own: the field, what it should be, the remedy, in one line."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from ftreg.__main__ import main
from ftreg._base.errors import UsageError
from ftreg.cli.declared import check_tasks, with_metrics
from ftreg.run.resume import difference
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.tasks import GLUE, Hub, Server, Task, Tsv, declare

GOOD = {"name": "mine", "columns": ["text"], "labels": ["no", "yes"]}

MISTAKES = [
    ("labels: [0, 1, 2]", 'labels: found [0, 1, 2], and names are text; write them in quotes: ["0", "1", "2"]'),
    ("labels: [no, yes]", 'YAML reads no, yes, off and on as booleans; write them in quotes: ["no", "yes"]'),
    ("labels: [1.0, 2.0]", 'write them in quotes: ["1.0", "2.0"]'),
    ("labels: [2020-01-01, b]", 'write them in quotes: ["2020-01-01", "b"]'),
    ("labels: [a, null]", 'labels: found ["a", null]: YAML reads null, ~ and nothing as no name'),
    ("labels: [a, [b]]", "expected a plain list of names"),
    ("labels: {0: a, 1: b}", "write a list of names, in the order of their ids"),
    ("labels: null", "labels: found null; write [] for none, or a list of names"),
    ("labels: a", "labels must be a list of names, not the string 'a'; write [a]"),
    ("labels: [a]", "labels: found only 'a'; name at least two classes, or none for a regression"),
    ("labels: [a, b, a]", "labels repeat a name: a; name each class once"),
    ("labels: ['', b]", "labels: a class has an empty name"),
    ("label: [a, b]", "label names the column with the classes, the classes themselves are labels"),
    ("colums: [text]", "no field 'colums'; did you mean 'columns'? a task has name, columns, labels, "),
    ("5: a", "no field '5'; a task has name, "),
    ("columns: text", "columns must be a list of names, not the string 'text'; write [text]"),
    ("columns: [a, a]", 'columns ["a", "a"], the label column \'label\' and \'idx\' must all differ'),
    ("columns: [a, b, c]", "columns must name one or two texts, not 3"),
    ("columns: 3", "columns: found 3; expected a list of names"),
    ("name: a/b", "name: found 'a/b'; a name has letters, digits, _ . and -"),
    ("name: my task", "name: found 'my task'; a name has letters"),
    ("name: 5", 'name: found 5, which is no text; write it in quotes: "5"'),
    ("name: null", "name: found null; leave the field out, or give text"),
    ("name: no", 'name: found false, as YAML reads yes, no, on and off too; write it in quotes, "no" or "yes"'),
    ("name: [a]", 'name: found ["a"]; expected one piece of text'),
    ("metrics: [acc]", "metric 'acc' does not suit a classification; choose from accuracy, f1, macro_f1, "),
    ("metrics: [macro-f1]", "did you mean 'macro_f1'?"),
    ("metrics: accuracy", "metrics must be a list of names, not the string 'accuracy'; write [accuracy]"),
    ("metrics: [mse]", "metric 'mse' does not suit a classification"),
    ("metrics: [accuracy, accuracy]", "metrics repeat 'accuracy'; name each once"),
    ("metrics: [{path: a.b}]", "a metric is a name, or a mapping with class_path and init_args"),
    ("metrics: [{class_path: a.b, init_args: 3}]", "init_args of 'a.b' is 3; expected a mapping of its options"),
    ("{labels: [a, b, c], metrics: [f1]}", "f1 needs two classes, not 3; macro_f1 and micro_f1 take any number"),
    ("kind: multilabel", "kind: found 'multilabel'; did you mean 'multi_label'? choose from single_label, "),
    ("kind: 3", "kind: found 3; choose from single_label, multi_label, regression, tokens"),
    ("kind: regression", "kind is regression, but there are labels (no, yes); leave one of them out"),
    ("{labels: [], kind: tokens}", "kind is tokens, and there are no labels; name them, in the order of their ids"),
    ("{labels: [], kind: single_label}", "kind is single_label, and there are no labels"),
    ("{kind: tokens, columns: [a, b]}", "kind is tokens, so columns must name one, that of the tokens, not 2"),
    ("{kind: multi_label, metrics: [accuracy]}", "metric 'accuracy' does not suit a multi_label task; did you mean 's"),
    ("{kind: tokens, metrics: [f1]}", "metric 'f1' does not suit a task of kind tokens; choose from entity_f1, "),
    ("{kind: tokens, metrics: [entity_f1]}", "labels that are tags, such as O, B-PER and I-PER, and 'no' is none"),
    ("{kind: tokens, metrics: [a.b.C]}", "metric 'C': a task of kind tokens takes no class path; choose from entity_"),
    ("{kind: tokens, tsv: {folder: [A]}}", "tsv is of the GLUE tasks, none of which is of kind tokens; leave it out"),
    ("range: [0, 5]", "range is for a regression, but there are labels (no, yes); leave one of them out"),
    ("{labels: [], range: 5}", "range: found 5; expected the lowest and the highest target, such as [0, 5]"),
    ("{labels: [], range: [5, 0]}", "range [5, 0] is not low, high"),
    ("{labels: [], range: [0, .nan]}", "range: found [0, NaN]; expected the lowest and the highest target"),
    ("test: dev", "test must be a list of names, not the string 'dev'; write [dev]"),
    ("test: [dev]", "a split is declared twice: dev; each belongs to one of train, dev and test ([] for none)"),
    ("dev: [a/b]", "dev: found 'a/b'; a split is called as a file may be"),
    ("train: [train]", 'train: found ["train"]; expected one piece of text'),
    ("grouping: no", "grouping: found false; write none for no grouping"),
    ("grouping: text", "unknown grouping 'text'; choose from shared, contained, none, or a list of columns"),
    ("grouping: [tex]", "grouping: 'tex' is no text column; did you mean 'text'? choose from 'text'"),
    ("grouping: []", "grouping: an empty list groups by nothing; write none"),
    ("tsv: [RTE]", 'tsv: found ["RTE"]; expected a mapping, such as {folder: [RTE]}'),
    ("tsv: {}", "tsv.folder is missing"),
    ("tsv: {folder: RTE}", "tsv.folder must be a list of names, not the string 'RTE'; write [RTE]"),
    ("tsv: {folder: [RTE], colums: [a]}", "no field 'tsv.colums'; did you mean 'columns'? tsv has folder, columns, "),
    ("tsv: {folder: [RTE], drop_short_rows: 1}", "tsv.drop_short_rows: found 1; expected true or false"),
    ("tsv: {folder: [RTE], values: [a]}", 'tsv.values must have one entry per label, 2; found ["a"]'),
    ("hub: user/data", "hub: found 'user/data'; expected a mapping, such as {path: user/data}"),
    ("hub: {path: a, split: {}}", "no field 'hub.split'; did you mean 'splits'? hub has path, config, "),
    ("hub: {path: a, splits: [dev]}", "hub.splits: found [\"dev\"]; expected a mapping of our split to theirs"),
    ("hub: {config: a}", "hub.path is missing"),
    ("server: {files: [a.tsv]}", "server.rows is missing"),
    ("server: {files: [a.tsv], rows: [x]}", 'server.rows: found ["x"]; expected a list of whole numbers'),
    ("server: {files: [], rows: []}", "server.files and server.rows must have one entry per test split, 1"),
]  # fmt: skip


def fields(text: str) -> dict[str, Any]:
    return {**GOOD, **yaml.safe_load(text)}


def one_line(message: str) -> str:
    assert "\n" not in message
    assert len(message) < 500
    return message


@pytest.mark.parametrize(("text", "message"), MISTAKES)
def test_of_a_mapping(text: str, message: str) -> None:
    with pytest.raises(DataError) as error:
        declare(fields(text))
    assert message in one_line(str(error.value))


@pytest.mark.parametrize(("text", "message"), [case for case in MISTAKES if "no field" not in case[1]])
def test_of_a_task_in_python(text: str, message: str) -> None:
    given = fields(text)
    for name, kind in (("tsv", Tsv), ("hub", Hub), ("server", Server)):
        if isinstance(given.get(name), dict) and "missing" not in message:
            given[name] = kind(**given[name])
    with pytest.raises(DataError) as error:
        Task(**given)
    assert message in one_line(str(error.value))


@pytest.mark.parametrize(
    ("text", "message"),
    [case for case in MISTAKES if case[0].startswith(("labels: [0", "labels: [no", "colums", "range", "hub"))],
)
def test_of_a_file_names_the_file(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(yaml.safe_dump({"data": {"task": fields(text)}}, sort_keys=False))
    with pytest.raises(UsageError) as error:
        check_tasks([f"--config={file}", "--data.task.title=T"])
    line = one_line(str(error.value))
    assert line.startswith(f"{file}: data.task: task 'mine': ")
    assert message in line


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["--data.task={}"],
            "data.task: found {}; give the name of a task, or a mapping with name, columns and labels",
        ),
        (["--data.task=null"], "data.task: found null"),
        (["--data.task=[rte]"], 'data.task: found ["rte"]'),
        (["--data={task: 5}"], "data.task: found 5"),
        (["--data.task.name=m"], "data.task: task 'm': columns is missing"),
        (["--data.task.name=m", "--data.task.columns=a"], "columns must be a list of names, not the string 'a'"),
        (["--data.task.name", "m", "--data.task.colums", "[a]"], "no field 'colums'; did you mean 'columns'?"),
        (["--data.task={name: m, columns: [a]}", "--data.task.labels=[0, 1]"], 'in quotes: ["0", "1"]'),
        (["--data.task={name: m, columns: [a]}", "--data.task.hub.pth=a"], "no field 'hub.pth'; did you mean 'path'?"),
        (["--data.also=[{task: {name: 5, columns: [a]}}]"], "data.also: a task of one's own: name: found 5"),
        (["--data.also=[{task: rtee}]"], "data.also: unknown task 'rtee'; did you mean 'rte'?"),
        (["--data.also=[{tsk: rte}]"], "write each task as {task: NAME}"),
        (["--data.also=[{task: rte, subset: 3}]"], "data.also: no option 'subset'; did you mean 'train_subset'?"),
        (
            ["--data.also=[{task: mine.yaml}]"],
            "'mine.yaml': the name of a file; give it by --config mine.yaml, and no d",
        ),
        (["--data.also=[rte]"], "data.also: found 'rte'; write each task as {task: NAME}, with its options"),
    ],
)
def test_of_a_command_line(arguments: list[str], message: str) -> None:
    with pytest.raises(UsageError) as error:
        check_tasks(arguments)
    assert message in one_line(str(error.value))


def test_what_is_given_in_pieces_is_whole(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("data:\n  task: {name: mine, columns: [text]}\n")
    check_tasks([f"--config={file}", "--data.task.labels=[a, b]", "--data.task.train=null", "--data.task.title=5"])
    check_tasks(["--data.task.colums=[a]", "--data.task=rte"])


def test_the_line_reaches_the_user(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    grid, stage = tmp_path / "grid.yaml", tmp_path / "stage.yaml"
    mine = "{name: mine, columns: [text], labels: [0, 1]}"
    grid.write_text(f"tasks: {{mine: ['--data.task={mine}']}}\nmethods: {{plain: []}}\nseeds: [0]\n")
    stage.write_text(f"data:\n  task: {mine}\n")
    stages = f"{{class_path: TwoStage, init_args: {{stages: [{stage}], store: {tmp_path}/store}}}}"
    for arguments in (
        ["fit", f"--data.task={mine}", f"--trainer.default_root_dir={tmp_path}/run", "--model.backbone=tiny"],
        [
            "fit",
            f"--trainer.callbacks+={stages}",
            f"--trainer.default_root_dir={tmp_path}/run",
            "--model.backbone=tiny",
        ],
        ["test", f"--data.task={mine}", "--model.backbone=tiny"],
        ["bench", str(grid), f"--runs={tmp_path}/runs"],
    ):
        assert main(arguments) == 2
        lines = capsys.readouterr().err.splitlines()
        assert len(lines) == 1, arguments
        assert lines[0].endswith('labels: found [0, 1], and names are text; write them in quotes: ["0", "1"]')
    assert not (tmp_path / "run").exists()


def test_messages_stay_short() -> None:
    long = "x" * 10_000
    for change in ({"labels": [long, long]}, {"metrics": [long]}, {"name": long}, {long: 1}, {"labels": range(10_000)}):
        with pytest.raises(DataError) as error:
            declare({**GOOD, **change})
        one_line(str(error.value))


def test_a_regression_has_correlations_unless_it_says_otherwise() -> None:
    assert declare({"name": "mine", "columns": ["text"]}).metrics == ("pearson", "spearman")
    assert Task("mine", ("text",), ("no", "yes")).metrics == ("accuracy",)
    assert Task("mine", ("text",), metrics=("mse",)).metrics == ("mse",)
    config = {
        "data": {"task": {"name": "a", "metrics": []}, "also": [{"task": {**GOOD, "metrics": []}}, {"task": "rte"}]}
    }
    found = with_metrics(config)["data"]
    assert found["task"]["metrics"] == ["pearson", "spearman"]
    assert found["also"][0]["task"]["metrics"] == ["accuracy"]


@pytest.mark.parametrize(
    ("kind", "labels", "metrics"),
    [
        ("multi_label", ["joy", "fear"], ("micro_f1", "macro_f1")),
        ("tokens", ["O", "B-PER", "I-PER"], ("entity_f1", "accuracy")),
        ("tokens", ["NOUN", "VERB"], ("accuracy",)),
        ("single_label", ["a", "b"], ("accuracy",)),
        ("regression", [], ("pearson", "spearman")),
    ],
)
def test_a_kind_has_metrics_of_its_own(kind: str, labels: list[str], metrics: tuple[str, ...]) -> None:
    made = declare({"name": "mine", "columns": ["text"], "labels": labels, "kind": kind})
    assert (made.kind, made.metrics) == (kind, metrics)


def test_a_kind_that_follows_from_the_labels_changes_no_record() -> None:
    said = {**GOOD, "kind": "single_label", "metrics": ["accuracy"]}
    for task in (said, {**said, "kind": None}):
        assert "kind" not in with_metrics({"data": {"task": dict(task)}})["data"]["task"]
    assert with_metrics({"data": {"task": {**GOOD, "kind": "tokens"}}})["data"]["task"]["kind"] == "tokens"
    assert declare(said) == declare({**GOOD}) == Task("mine", ("text",), ("no", "yes"))
    assert GLUE["rte"].kind == "single_label"
    assert GLUE["stsb"].kind == "regression"


def test_a_run_without_declared_metrics_is_gone_on_with() -> None:
    """Its `config.yaml` has the task as it was parsed; what is asked for now has the metrics written out."""
    parsed = {**GOOD, "metrics": [], "kind": None, "conll": None}
    there, here = ({"model": {}, "data": {"task": dict(parsed)}, "seeds": {}, "trainer": {}} for _ in range(2))
    assert difference(there, with_metrics(here), "there", "here") == ""
    there["data"]["task"] |= {"kind": "tokens"}
    assert "data.task is" in difference(there, here, "there", "here")


def test_lists_serve_as_tuples() -> None:
    made = Task("mine", ["text"], ["no", "yes"], test=[])  # type: ignore[arg-type]
    assert made == declare({**GOOD, "test": []})
    assert hash(made) == hash(declare({**GOOD, "test": []}))
    assert GlueDataModule(dict(GOOD)).task.labels == ("no", "yes")  # type: ignore[arg-type]
