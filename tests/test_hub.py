"""A Hub id: one question, a few seconds, one line."""

import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from huggingface_hub import constants

from ftreg import UsageError
from ftreg.encoder import hub
from ftreg.encoder.backbone import resolve
from ftreg.testing.encoders import checkpoint

COMMIT = "0" * 40


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, and nobody who answers."""
    hub.snapshot.cache_clear()
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    monkeypatch.setattr("huggingface_hub._snapshot_download.constants.HF_HUB_CACHE", str(tmp_path))
    answer(monkeypatch, ConnectionError("Name or service not known"))
    return tmp_path


def answer(monkeypatch: pytest.MonkeyPatch, found: Any) -> None:
    def info(*_: Any, **__: Any) -> Any:
        if isinstance(found, BaseException):
            raise found
        return found

    monkeypatch.setattr("ftreg.encoder.hub.HfApi", lambda: SimpleNamespace(model_info=info))


def refusal(name: str) -> str:
    with pytest.raises(UsageError) as found:
        resolve(name)
    assert len(str(found.value)) < 500
    assert "\n" not in str(found.value)
    return str(found.value)


def test_a_name_that_is_nowhere_is_one_line() -> None:
    line = refusal("deno")
    assert line.startswith(
        "backbone deno: it is not in the cache of the Hub, and https://huggingface.co cannot be reached"
    )
    assert "did you mean 'demo'?" in line


def test_offline_only_the_cache_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ftreg.encoder.hub.is_offline_mode", lambda: True)
    monkeypatch.setattr("ftreg.encoder.hub.HfApi", lambda: pytest.fail("the Hub is asked"))
    assert "HF_HUB_OFFLINE is set" in refusal("bert-base-uncased")


def test_what_is_cached_is_used_without_the_hub(cache: Path) -> None:
    folder = cache / "models--some--bert"
    checkpoint(folder / "snapshots" / COMMIT, "bert")
    (folder / "refs").mkdir()
    (folder / "refs" / "main").write_text(COMMIT)
    assert resolve("some/bert").path == str(folder / "snapshots" / COMMIT)
    assert "did you mean 'some/bert'?" in refusal("some/bret")


def test_a_hub_that_does_not_answer_is_waited_for_a_few_seconds(monkeypatch: pytest.MonkeyPatch) -> None:
    done = threading.Event()
    monkeypatch.setattr("ftreg.encoder.hub.SECONDS", -0.9)
    monkeypatch.setattr("ftreg.encoder.hub.HfApi", lambda: SimpleNamespace(model_info=lambda *_, **__: done.wait()))
    begun = time.monotonic()
    assert "cannot be reached" in refusal("some/bert")
    assert time.monotonic() - begun < 60
    done.set()


@pytest.mark.parametrize("name", ["a//b", "a b", "a/b/c"])
def test_no_id(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "no folder of that name, and no id of the Hub" in refusal(name)


def test_only_what_a_backbone_takes_is_downloaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def listed(*names: str) -> Any:
        return SimpleNamespace(siblings=[SimpleNamespace(rfilename=name) for name in names])

    always = ("config.json", "vocab.txt", "spiece.model")
    answer(monkeypatch, listed(*always, "model.safetensors", "pytorch_model.bin", "tf_model.h5", "onnx/config.json"))
    assert hub._files("a/b") == [*always, "model.safetensors"]
    shards = [f"model-0000{n}-of-00002.safetensors" for n in (1, 2)]
    answer(monkeypatch, listed(*always, "model.safetensors.index.json", *shards, "pytorch_model.bin"))
    assert hub._files("a/b") == [*always, "model.safetensors.index.json", *shards]
    answer(monkeypatch, listed(*always, "flax_model.msgpack"))
    assert hub._files("a/b") == [*always]
