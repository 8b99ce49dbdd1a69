"""`ftreg fit` on tasks with a label for each token, and with sets of labels."""

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

from ftreg.__main__ import main
from tests.cli.runs import TINY, result

WORDS = [("ann", "B-PER"), ("sees", "O"), ("rome", "B-LOC"), ("and", "O"), ("bob", "B-PER"), ("walks", "O")]


def rows(count: int) -> list[list[tuple[str, str]]]:
    return [
        [WORDS[(number * 5 + place * place * (number % 4 + 1)) % 6] for place in range(3)] for number in range(count)
    ]


@pytest.fixture
def task(request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """The task's declaration, beside its files."""
    for split, count in (("train", 48), ("dev", 48)):
        if request.param == "tokens":
            text = "\n".join("".join(f"{word} {tag}\n" for word, tag in row) for row in rows(count))
            (tmp_path / f"{split}.conll").write_text(text)
        else:
            sets = [(" ".join(w for w, _ in row), sorted({tag[2:] for _, tag in row} - {""})) for row in rows(count)]
            lines = [{"text": text, "label": names} for text, names in sets]
            (tmp_path / f"{split}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    own = {"tokens": ("tokens", ["O", "B-PER", "I-PER", "B-LOC", "I-LOC"]), "multi_label": ("text", ["PER", "LOC"])}
    column, labels = own[request.param]
    return {"name": "mine", "kind": request.param, "columns": [column], "labels": labels, "test": []}


@pytest.mark.parametrize("task", ["tokens", "multi_label"], indirect=True)
def test_a_fit_with_a_method_is_evaluated_and_recorded(task: dict[str, Any], tmp_path: Path) -> None:
    config, run = tmp_path / "task.yaml", tmp_path / "run"
    data = {"source": "files", "path": str(tmp_path), "task": task, "batch_size": 8, "protocol": "dev"}
    config.write_text(yaml.safe_dump({"data": data}))
    methods = ["--trainer.callbacks+=FreeLB"]
    options = [f"--config={config}", *TINY, "--trainer.accelerator=cpu", "--trainer.max_steps=20"]
    assert main(["fit", *options, *methods, f"--trainer.default_root_dir={run}"]) == 0
    found = result(run)
    metric = found["reported"]["metric"]
    assert metric == {"tokens": "entity_f1", "multi_label": "micro_f1"}[task["kind"]]
    assert found["scores"]["dev"]["best"][metric] >= found["majority"]["dev"][metric]
