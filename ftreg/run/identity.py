"""A run's identity is a hash of everything that its numbers depend on, and of nothing else."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftreg._base.names import listed
from ftreg.run.places import RESULT
from ftreg.run.result import SCHEMA, Outcome

# How and where a run is computed and watched. The global batch and all noise are the same on any devices; how the
# batch is shared out, which dropout depends on, is kept apart: see `ftreg.run.sharding`.
ELSEWHERE = frozenset(
    {
        "accelerator", "accumulate_grad_batches", "barebones", "default_root_dir", "detect_anomaly",
        "devices", "enable_autolog_hparams", "enable_checkpointing", "enable_model_summary",
        "enable_progress_bar", "logger", "log_every_n_steps", "model_registry", "num_nodes", "profiler",
        "strategy", "use_distributed_sampler",
    }
)  # fmt: skip
OFF_AT_ZERO = frozenset(
    {"fast_dev_run", "num_sanity_val_steps", "overfit_batches", "reload_dataloaders_every_n_epochs"}
)
"""Trainer options whose 0 is no such thing. Of others it is a value: clipping at 0 is not the default."""


def written(value: Any) -> str:
    """Return an option's value as text, the same for two values that no number can differ by.

    Types count: 0, 0.0 and false are three values. What an option's own type makes of a value is the parser's to say,
    and has been said by then. A tuple is a list.
    """
    return json.dumps(_keyed(value), sort_keys=True, default=str)


def _keyed(value: Any) -> Any:
    """Return the value with keys that JSON would make strings of told from those strings."""
    if isinstance(value, Mapping):
        return {k if isinstance(k, str) else f"{type(k).__name__} {k}": _keyed(item) for k, item in value.items()}
    return [_keyed(item) for item in value] if isinstance(value, list | tuple) else value


def same(one: Any, other: Any) -> bool:
    """Return whether two values of an option are one."""
    return written(one) == written(other)


def off(name: str, value: Any) -> bool:
    """Return whether a trainer option with that value is as good as absent: the next Lightning may have more."""
    return written(value) in ("null", "false", "[]") or (name in OFF_AT_ZERO and written(value) in ("0", "0.0"))


def identity(config: Mapping[str, Any], contents: Mapping[str, str]) -> str:
    """Return the identity of a run: hexadecimal, 16 digits.

    Args:
        config: the resolved configuration of `ftreg fit` as plain values; defaults are written out.
        contents: hashes that stand for local paths, `backbone` and `data`; and `stages`, the identity of the stage
            that the run starts from.
    """
    trainer = {
        name: value for name, value in config["trainer"].items() if name not in ELSEWHERE and not off(name, value)
    }
    trainer["callbacks"] = [_resolved(entry, contents) for entry in listed(config["trainer"].get("callbacks"))]
    model = {**config["model"], "backbone": contents.get("backbone", config["model"]["backbone"])}
    if model.get("head") == "new":
        del model["head"]  # as in the records from before there was a choice
    data = {name: value for name, value in config["data"].items() if name not in ("path", "eval_batch_size")}
    data["also"] = [
        {name: v for name, v in other.items() if name != "path"} for other in config["data"].get("also") or []
    ]
    data["content"] = contents.get("data", config["data"].get("path"))
    resolved = {"schema": SCHEMA, "seeds": config["seeds"], "model": model, "data": data, "trainer": trainer}
    return hashlib.sha256(written(resolved).encode()).hexdigest()[:16]


def _resolved(callback: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any]:
    """Return a callback's options with what they point to in place of where that lies."""
    options = dict(callback.get("init_args") or {})
    if options.get("stages"):
        options.pop("store", None)
        options["stages"] = contents.get("stages", options["stages"])
    return {**callback, "init_args": {name: _by_content(value) for name, value in options.items()}}


def _by_content(value: Any) -> Any:
    """Replace paths (another anchor, say) by the hash of what they hold; a run's checkpoint, by the run's identity."""
    if isinstance(value, dict):
        return {name: _by_content(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_by_content(item) for item in value]
    path = Path(value).expanduser() if isinstance(value, str) and os.sep in value else None
    if path is not None and path.is_dir():
        return folder_content(str(path))
    if path is not None and path.is_file():
        record = path.parent.parent / RESULT
        outcome = Outcome.read(record) if path.parent.name == "checkpoints" else None
        if outcome is not None:
            # Seconds are in a checkpoint too: trained twice, its bytes differ.
            return [outcome.identity, path.name]
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return value


def folder_content(folder: str) -> str:
    """Return a hash of the names and bytes of a folder's files, without subfolders."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
