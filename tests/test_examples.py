"""The examples run as they are called."""

import importlib.util
import json
from pathlib import Path
from typing import Any

import pytest

from tests.models import checkpoint

EXAMPLES = Path(__file__).parent.parent / "experiments" / "examples"


def example(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_token_classifier_in_a_module_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    sentences = [["a", "b", "c"], ["b", "1", "c", "2"], ["c", "3"]]
    lines = [{"tokens": words, "tags": ["NUM" if word.isdigit() else "O" for word in words]} for words in sentences]
    for name in ("train", "dev"):
        (tmp_path / f"{name}.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines * 8))
    model = checkpoint(tmp_path / "bert", "bert")
    options = ["--train=train.jsonl", "--dev=dev.jsonl", "--lr=0.01", "--epochs=6", "--batch_size=8"]
    found = example("tag_with_lightning").main([f"--model={model}", *options])
    assert found > 0.9
