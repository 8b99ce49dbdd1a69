"""Task declarations: the GLUE table, self-contradictions, YAML."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from jsonargparse import ArgumentParser

from glue_tasks.errors import DataError
from glue_tasks.registry import find
from glue_tasks.sources import load
from glue_tasks.tasks import GLUE, Task

EXPERIMENTS = Path(__file__).parent.parent / "experiments" / "tasks"


def test_the_package_imports_neither_torch_nor_datasets() -> None:
    code = "import sys, glue_tasks; glue_tasks.find('rte'); print({'torch', 'datasets'} & set(sys.modules))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "set()"


def test_the_package_says_what_it_has_not() -> None:
    import glue_tasks

    assert glue_tasks.GLUE is GLUE
    with pytest.raises(AttributeError, match="no attribute 'tasks_of_mine'"):
        glue_tasks.tasks_of_mine  # noqa: B018


def test_entailment_has_the_hubs_id_in_each_task() -> None:
    ids = {name: GLUE[name].labels.index("entailment") for name in ("rte", "qnli", "wnli", "mnli", "ax")}
    assert ids == {"rte": 0, "qnli": 0, "wnli": 1, "mnli": 0, "ax": 0}
    assert GLUE["mnli"].labels == GLUE["ax"].labels == ("entailment", "neutral", "contradiction")


def test_positive_classes_are_class_1() -> None:
    positive = {name: GLUE[name].labels[1] for name in ("cola", "sst2", "mrpc", "qqp")}
    assert positive == {"cola": "acceptable", "sst2": "positive", "mrpc": "equivalent", "qqp": "duplicate"}


def test_splits() -> None:
    assert GLUE["rte"].splits == ("train", "dev", "test")
    assert GLUE["mnli"].splits == (
        "train",
        "dev_matched",
        "dev_mismatched",
        "test_matched",
        "test_mismatched",
    )
    assert GLUE["ax"].splits == ("test",)
    assert GLUE["stsb"].regression
    assert [GLUE[name].num_labels for name in ("stsb", "rte", "mnli")] == [1, 2, 3]


def test_the_server_takes_eleven_files() -> None:
    files = [file for task in GLUE.values() if task.server for file in task.server.files]
    assert sorted(files) == sorted(
        f"{name}.tsv"
        for name in (
            "CoLA",
            "SST-2",
            "MRPC",
            "STS-B",
            "QQP",
            "MNLI-m",
            "MNLI-mm",
            "QNLI",
            "RTE",
            "WNLI",
            "AX",
        )
    )


@pytest.mark.parametrize(("name", "near"), [("STS-B", "stsb"), ("rtee", "rte"), ("SST-2", "sst2"), ("MNLI-m", "mnli")])
def test_unknown_name_names_the_nearest_and_all(name: str, near: str) -> None:
    with pytest.raises(DataError) as error:
        find(name)
    assert f"unknown task {name!r}; did you mean {near!r}? GLUE has cola, sst2, " in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"columns": ()}, "columns must name one or two texts, not 0"),
        ({"columns": "text"}, "columns must be a list of names, not the string 'text'"),
        ({"columns": ("a", "a")}, "must all differ"),
        ({"columns": ("idx",)}, "must all differ"),
        ({"columns": ("label",), "label": "gold"}, "a text column cannot be called 'label'"),
        ({"labels": ("yes",)}, "at least two classes"),
        ({"labels": ("yes", "yes")}, "labels repeat a name: yes; name each class once"),
        (
            {"metrics": ("acc",)},
            "metric 'acc' does not suit a classification; choose from accuracy, f1, macro_f1, micro_f1, matthews, or ",
        ),
        (
            {"labels": (), "metrics": ("accuracy",)},
            "metric 'accuracy' does not suit a regression (no labels); choose from pearson, spearman, mse, mae, or",
        ),
        ({"labels": ("a", "b", "c"), "metrics": ("f1",)}, "f1 needs two classes, not 3"),
        ({"dev": ("train",)}, "a split is declared twice: train; each belongs to one of train, dev and test"),
        ({"dev": ("selection",)}, "'selection' is the split carved out of train"),
        ({"train": None, "dev": (), "test": ()}, "no split is declared"),
        ({"range": (0.0, 5.0)}, "range is for a regression"),
        ({"labels": (), "metrics": ("pearson",), "range": (5.0, 0.0)}, "is not low, high"),
        (
            {"grouping": "no"},
            "unknown grouping 'no'; did you mean 'none'? choose from shared, contained, none, or a list of",
        ),
        ({"name": "a/b"}, "a name has letters, digits"),
    ],
)
def test_a_declaration_that_contradicts_itself(change: dict[str, Any], message: str) -> None:
    good: dict[str, Any] = {"name": "mine", "columns": ("text",), "labels": ("no", "yes")}
    Task(**good)
    with pytest.raises(DataError) as error:
        Task(**good | change)
    assert message in str(error.value)
    assert str(error.value).startswith("task ")


def parse(*arguments: str) -> Any:
    """Options as a LightningCLI data module declares them."""
    parser = ArgumentParser(exit_on_error=False)
    parser.add_argument("--config", action="config")
    parser.add_argument("--data.task", type=str | Task)
    parser.add_argument("--data.source", type=str)
    parser.add_argument("--data.path", type=str)
    parser.add_argument("--trainer.max_epochs", type=int)
    options = parser.parse_args(arguments)
    return parser.instantiate(options) if hasattr(parser, "instantiate") else parser.instantiate_classes(options)


def test_a_task_of_ones_own_is_declared_in_yaml(tmp_path: Path) -> None:
    (tmp_path / "dev.tsv").write_text(
        "index\tsentence1\tsentence2\tgold_label\n"
        '0\tA "man .\tA person .\tentailment\n1\tA man .\tA dog .\tcontradiction\n'
        "2\tA man .\tA tall man .\tneutral"
    )
    (tmp_path / "test.tsv").write_text("index\tsentence1\tsentence2\tgold_label\n0\tA cat .\tA dog .\tcontradiction\n")
    options = parse("--config", str(EXPERIMENTS / "snli.yaml"), "--data.path", str(tmp_path))
    task = options.data.task
    assert isinstance(task, Task)
    assert hash(task) == hash(parse("--config", str(EXPERIMENTS / "snli.yaml")).data.task)
    assert task.train == "dev"
    train = load(task, task.train, options.data.source, options.data.path)
    assert train["label"][:] == [0, 2, 1]
    assert train[0]["sentence1"] == 'A "man .'
    assert [len(load(task, split, "files", str(tmp_path))) for split in task.dev] == [1]


def test_a_bad_task_in_yaml_keeps_its_line(tmp_path: Path) -> None:
    file = tmp_path / "bad.yaml"
    file.write_text("data:\n  task: {name: mine, columns: [text], labels: [a, b], metrics: [pearson]}\n")
    with pytest.raises(ValueError, match="task 'mine': metric 'pearson' does not suit a classification"):
        parse("--config", str(file))


@pytest.mark.parametrize("name", [name for name in GLUE if name != "ax"])
def test_each_glue_task_has_a_file_with_its_epochs(name: str) -> None:
    options = yaml.safe_load((EXPERIMENTS / f"{name}.yaml").read_text())
    epochs = 3 if name in ("sst2", "qqp", "mnli", "qnli") else 20
    assert options == {"data": {"task": name}, "trainer": {"max_epochs": epochs}}
