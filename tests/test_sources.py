"""The official files, the Hub (faked) and the built-in sample: the same tables, and bad input."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from datasets import ClassLabel, Dataset, Features, Value
from huggingface_hub import HfApi, constants

from glue_tasks import hub
from glue_tasks.errors import DataError
from glue_tasks.registry import find
from glue_tasks.sources import Source, fingerprint, load
from glue_tasks.tasks import GLUE, Hub, Task

OWN = Task("own", ("text",), ("no", "yes"))


def line(task: Task, split: str, source: Source, path: Path | str | None) -> str:
    """The refusal, which must be one line."""
    with pytest.raises(DataError) as error:
        load(task, split, source, None if path is None else str(path))
    assert "\n" not in str(error.value)
    return str(error.value)


# The official files


@pytest.mark.parametrize(
    ("name", "split", "rows", "labels"),
    [
        ("rte", "train", 2490, {0: 1249, 1: 1241}),
        ("rte", "dev", 277, {0: 146, 1: 131}),
        ("rte", "test", 3000, {-1: 3000}),
        ("mrpc", "train", 3668, {1: 2474, 0: 1194}),
        ("mrpc", "dev", 408, {1: 279, 0: 129}),
        ("mrpc", "test", 1725, {-1: 1725}),
        ("cola", "train", 8551, {1: 6023, 0: 2528}),
        ("cola", "dev", 1043, {1: 721, 0: 322}),
        ("cola", "test", 1063, {-1: 1063}),
        ("wnli", "train", 635, {0: 323, 1: 312}),
        ("wnli", "dev", 71, {0: 40, 1: 31}),
        ("wnli", "test", 146, {-1: 146}),
        ("sst2", "train", 67349, {1: 37569, 0: 29780}),
        ("sst2", "dev", 872, {1: 444, 0: 428}),
        ("sst2", "test", 1821, {-1: 1821}),
        ("qnli", "dev", 5463, {0: 2702, 1: 2761}),
        ("qnli", "test", 5463, {-1: 5463}),
        ("mnli", "dev_matched", 9815, {0: 3479, 1: 3123, 2: 3213}),
        ("ax", "test", 1104, {-1: 1104}),
    ],
)
def test_official_rows_and_labels(glue_dir: Path, name: str, split: str, rows: int, labels: dict[int, int]) -> None:
    task = find(name)
    data = load(task, split, "tsv", str(glue_dir))
    assert data.column_names == [*task.columns, "label", "idx"]
    assert len(data) == rows
    assert Counter(data["label"][:]) == labels
    assert data["idx"][:] == list(range(rows))
    assert data.features["label"].names == list(task.labels)


@pytest.mark.parametrize(("split", "rows", "mean"), [("train", 5749, 2.701), ("dev", 1500, 2.364), ("test", 1379, -1)])
def test_official_scores(glue_dir: Path, split: str, rows: int, mean: float) -> None:
    scores = load(find("stsb"), split, "tsv", str(glue_dir))["label"][:]
    assert len(scores) == rows
    assert sum(scores) / rows == pytest.approx(mean, abs=5e-4)


def test_official_texts_are_untouched(glue_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FTREG_GLUE_DIR", str(glue_dir))
    mrpc = load(find("mrpc"), "dev", "tsv")[0]  # byte order mark before the header, a lone quote in the text
    assert mrpc["sentence1"].startswith("He said the foodservice pie business doesn 't fit")
    assert mrpc["sentence2"].startswith('" The foodservice pie business')
    assert load(find("sst2"), "train", "tsv")[0]["sentence"] == "hide new secretions from the parental units "
    assert load(find("cola"), "train", "tsv")[0]["sentence"].startswith("Our friends won't buy this")
    assert load(find("cola"), "test", "tsv")[0]["sentence"] == "Bill whistled past the house."
    assert load(find("ax"), "test", "tsv")[0]["hypothesis"] == "The cat did not sit on the mat."


def rte(folder: Path, *rows: str, header: str = "index\tsentence1\tsentence2\tlabel") -> Path:
    (folder / "RTE").mkdir()
    (folder / "RTE" / "train.tsv").write_text("\n".join((header, *rows)))
    return folder


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("1\ta\tb", "RTE/train.tsv:3: found 3 columns, expected 4 tab-separated columns"),
        ("1\ta\tb\tc\tentailment", "RTE/train.tsv:3: found 5 columns, expected 4 tab-separated columns"),
        ("a", "RTE/train.tsv:3: found 1 column, expected 4 tab-separated columns"),
        (
            "1\ta\tb\tEntailment",
            "RTE/train.tsv:3: label 'Entailment' is unknown; did you mean 'entailment'? task 'rte' expects",
        ),
        (
            "1\ta\tb\t0",
            "RTE/train.tsv:3: label '0' is unknown; task 'rte' expects entailment or not_entailment",
        ),
        ("1\ta\tb\t-1", "RTE/train.tsv:3: label '-1' is unknown"),
    ],
)
def test_official_bad_row(tmp_path: Path, row: str, message: str) -> None:
    assert message in line(find("rte"), "train", "tsv", rte(tmp_path, "0\ta\tb\tentailment", row, ""))


@pytest.mark.parametrize("score", ["five", "nan", "5.1", "-1", ""])
def test_official_bad_score(tmp_path: Path, score: str) -> None:
    (tmp_path / "STS-B").mkdir()
    (tmp_path / "STS-B" / "dev.tsv").write_text(f"sentence1\tsentence2\tscore\na\tb\t{score}\n")
    message = f"STS-B/dev.tsv:2: score {score!r}; task 'stsb' expects a number from 0 to 5"
    assert message in line(find("stsb"), "dev", "tsv", tmp_path)


def test_official_files_that_are_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FTREG_GLUE_DIR", raising=False)
    assert "needs data.path (or FTREG_GLUE_DIR): the folder that holds RTE/" in line(find("rte"), "dev", "tsv", None)
    nowhere = tmp_path / "nowhere"
    assert f"{nowhere}: no folder RTE (there is no such folder); " in line(find("rte"), "dev", "tsv", nowhere)
    rte(tmp_path, "0\ta\tb\tentailment")
    assert "no folder AX or diagnostic (found RTE); " in line(find("ax"), "test", "tsv", tmp_path)
    assert "RTE/dev.tsv: no such file (found train.tsv); complete the " in line(find("rte"), "dev", "tsv", tmp_path)
    assert "task 'rte' has no split 'validation'; it has train, dev, test" in line(
        find("rte"), "validation", "tsv", tmp_path
    )
    assert "not in the official GLUE download" in line(OWN, "dev", "tsv", tmp_path)


def test_mnli_without_train_says_what_can_be_trained_on(tmp_path: Path) -> None:
    (tmp_path / "MNLI").mkdir()
    (tmp_path / "MNLI" / "dev_matched.tsv").touch()
    message = line(find("mnli"), "train", "tsv", tmp_path)
    assert "MNLI/train.tsv: no such file (found dev_matched.tsv)" in message
    assert message.endswith("data.train_split=dev_matched")
    assert "data.train_split" not in line(find("mnli"), "dev_mismatched", "tsv", tmp_path)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        (
            "index\tsentence1\tpremise\tlabel",
            "no column 'sentence2' (found 'index', 'sentence1', 'premise', 'label')",
        ),
        ("index\tsentence1\tsentence2\tgold", "no column 'label'"),
        ("index\tsentence1\tsentence1\tlabel", "train.tsv:1: the header repeats 'sentence1'"),
    ],
)
def test_official_bad_header(tmp_path: Path, header: str, message: str) -> None:
    assert message in line(find("rte"), "train", "tsv", rte(tmp_path, "0\ta\tb\tentailment", header=header))


@pytest.mark.parametrize("text", ["", "index\tsentence1\tsentence2\tlabel\n"])
def test_official_empty_file(tmp_path: Path, text: str) -> None:
    rte(tmp_path)
    (tmp_path / "RTE" / "train.tsv").write_text(text)
    assert "RTE/train.tsv: no rows" in line(find("rte"), "train", "tsv", tmp_path)


def test_qqps_broken_rows_are_left_out(tmp_path: Path) -> None:
    (tmp_path / "QQP").mkdir()
    header = "id\tqid1\tqid2\tquestion1\tquestion2\tis_duplicate"
    rows = (
        "1\t2\t3\ta\tb\t0",
        '4\t5\t6\tc "',
        '"\td\t1',
        "7\t8\t9\te\tf\t1",
    )  # one row cut in two, as in the original
    (tmp_path / "QQP" / "train.tsv").write_text("\n".join((header, *rows, "")))
    data = load(find("qqp"), "train", "tsv", str(tmp_path))
    assert (data["question1"][:], data["label"][:], data["idx"][:]) == (["a", "e"], [0, 1], [0, 1])


def test_rows_end_at_newlines_only(tmp_path: Path) -> None:
    folder = rte(tmp_path)
    rows = b"index\tsentence1\tsentence2\tlabel\r\n0\ta\rb\tc\xe2\x80\xa8d\tentailment\r\n"  # as on Windows
    (folder / "RTE" / "train.tsv").write_bytes(rows)
    row = {"sentence1": "a\rb", "sentence2": "c\u2028d", "label": 0, "idx": 0}
    assert load(find("rte"), "train", "tsv", str(folder))[:] == {name: [value] for name, value in row.items()}


# The Hub


def on_hub(monkeypatch: pytest.MonkeyPatch, data: Dataset) -> list[tuple[Any, ...]]:
    """Serve `data` in place of the Hub; return what is asked for."""
    asked: list[tuple[Any, ...]] = []

    def load_dataset(path: str, config: str | None, split: str, revision: str | None) -> Dataset:
        asked.append((path, config, split, revision))
        return data

    monkeypatch.setattr(hub, "load_dataset", load_dataset)
    monkeypatch.setattr(hub, "_reach", lambda *_: None)
    return asked


def test_hub_with_permuted_class_names_gives_the_same_table(glue_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = find("rte")
    official = load(task, "dev", "tsv", str(glue_dir))
    permuted = ClassLabel(names=["not_entailment", "entailment"])
    features = Features(
        {"sentence2": Value("string"), "idx": Value("int64"), "label": permuted, "sentence1": Value("string")}
    )
    columns = {name: official[name][:] for name in task.columns}
    labels = [1 - label for label in official["label"][:]]
    data = Dataset.from_dict({**columns, "label": labels, "idx": [7 + row for row in range(len(labels))]}, features)
    asked = on_hub(monkeypatch, data)
    found = load(task, "dev", "hub")
    assert asked == [("nyu-mll/glue", "rte", "validation", None)]
    assert found.features == official.features
    assert found[:] == official[:]
    assert fingerprint(found) == fingerprint(official)


def test_hub_labels_without_names_and_withheld_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hub(monkeypatch, Dataset.from_dict({"sentence1": ["a", "b"], "sentence2": ["c", "d"], "label": [1, -1]}))
    assert load(find("rte"), "test", "hub")["label"][:] == [1, -1]
    assert "nyu-mll/glue/rte/validation, row 0: label '1' is unknown" in line(find("rte"), "dev", "hub", None)
    on_hub(monkeypatch, Dataset.from_dict({"sentence1": ["a"], "sentence2": ["c"], "label": [-1.0]}))
    assert load(find("stsb"), "test", "hub")["label"][:] == [-1.0]
    on_hub(monkeypatch, Dataset.from_dict({"sentence1": ["a"], "label": [1]}))
    assert "no column 'sentence2'; did you mean 'sentence1'? it has sentence1, label" in line(
        find("rte"), "dev", "hub", None
    )


@pytest.mark.parametrize(("texts", "found"), [(["a", None], "row 1: 'text' is null"), ([1, 2], "row 0: 'text' is 1")])
def test_hub_texts_are_text(monkeypatch: pytest.MonkeyPatch, texts: list[Any], found: str) -> None:
    on_hub(monkeypatch, Dataset.from_dict({"text": texts, "label": [0, 1]}))
    task = Task("own", ("text",), ("no", "yes"), hub=Hub("user/data"))
    assert f"user/data/train, {found}; expected text" in line(task, "train", "hub", None)


def test_hub_integers_without_a_zero(monkeypatch: pytest.MonkeyPatch) -> None:
    on_hub(monkeypatch, Dataset.from_dict({"text": ["a", "b"], "label": [1, 2]}))
    task = Task("own", ("text",), ("no", "yes", "maybe"), hub=Hub("user/data"))
    assert "user/data/train, row 0: labels are 1, 2 and never 0" in line(task, "train", "hub", None)


def test_hub_out_of_reach_is_one_line_and_no_second_try(monkeypatch: pytest.MonkeyPatch) -> None:
    def unreachable(*_: object, timeout: float, **__: object) -> None:
        assert timeout <= 10
        raise ConnectionError("Name or service not known")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(HfApi, "dataset_info", unreachable)
    monkeypatch.setattr(hub, "load_dataset", lambda *_, **__: pytest.fail("tried again, for minutes"))
    message = line(find("rte"), "dev", "hub", None)
    assert "cannot be reached (Name or service not known)" in message
    assert "data.source=tsv (or files) with data.path" in message


def test_hub_offline_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(*_: object, **__: object) -> None:
        raise ConnectionError("Couldn't reach 'nyu-mll/glue' on the Hub\nmore")

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(hub, "load_dataset", absent)
    assert "(offline, and not in the local cache)" in line(find("rte"), "dev", "hub", None)
    assert "declares no hub" in line(OWN, "dev", "hub", None)


# The built-in sample, and what all sources share


@pytest.mark.parametrize("name", ["cola", "stsb", "rte"])
def test_sample_has_the_columns_of_the_official_files(glue_dir: Path, name: str) -> None:
    for split in GLUE[name].splits:
        sample = load(find(name), split, "sample")
        official = load(find(name), split, "tsv", str(glue_dir))
        assert sample.features == official.features
        assert sample["idx"][:] == list(range(len(sample)))


def test_sample_is_of_glue_only() -> None:
    assert "task 'own' has no built-in sample (only cola, " in line(OWN, "dev", "sample", None)


def test_unknown_source() -> None:
    web: Any = "web"
    message = "data.source='web' is unknown; choose from hub, tsv, files, sample"
    assert message in line(OWN, "dev", web, None)
