"""Few rows, one finished run, and no account."""

from pathlib import Path

import pytest

from glue_tasks.registry import find
from glue_tasks.sample import rows
from tests.cli.runs import MIXOUT, fit


@pytest.fixture(scope="session")
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


@pytest.fixture(scope="session")
def finished(files: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a short run with Mixout, not to be changed."""
    root = tmp_path_factory.mktemp("finished")
    fit(root, *MIXOUT, f"--data.path={files}")
    return root
