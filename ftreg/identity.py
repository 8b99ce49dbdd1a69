"""Which run this is: a hash of everything that its numbers depend on, and of nothing else."""

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

SCHEMA = 1
"""Of `result.json`; part of the identity."""

# How and where a run is computed and watched: the global batch and all noise are the same on any devices.
ELSEWHERE = frozenset(
    {
        "accelerator", "accumulate_grad_batches", "barebones", "default_root_dir", "detect_anomaly",
        "devices", "enable_autolog_hparams", "enable_checkpointing", "enable_model_summary",
        "enable_progress_bar", "logger", "log_every_n_steps", "model_registry", "num_nodes", "profiler",
        "strategy", "use_distributed_sampler",
    }
)  # fmt: skip

OFF: tuple[Any, ...] = (None, False, [])
"""A trainer option with such a value is as good as absent: the next Lightning may have more of them."""


def identity(config: Mapping[str, Any], contents: Mapping[str, str]) -> str:
    """Hexadecimal, 16 digits.

    Args:
        config: the resolved configuration of `ftreg fit` as plain values; defaults are written out.
        contents: hashes that stand for local paths: `backbone`, `data`.
    """
    trainer = {name: value for name, value in config["trainer"].items() if name not in ELSEWHERE and value not in OFF}
    trainer["callbacks"] = _by_content(config["trainer"].get("callbacks") or [])
    model = {**config["model"], "backbone": contents.get("backbone", config["model"]["backbone"])}
    data = {name: value for name, value in config["data"].items() if name not in ("path", "eval_batch_size")}
    data["content"] = contents.get("data", config["data"].get("path"))
    resolved = {"schema": SCHEMA, "seeds": config["seeds"], "model": model, "data": data, "trainer": trainer}
    return hashlib.sha256(json.dumps(resolved, sort_keys=True, default=str).encode()).hexdigest()[:16]


def _by_content(value: Any) -> Any:
    """Folders in methods' options (another anchor, say) replaced by the hash of what they hold."""
    if isinstance(value, dict):
        return {name: _by_content(item) for name, item in value.items()}
    if isinstance(value, list):
        return [_by_content(item) for item in value]
    is_folder = isinstance(value, str) and os.sep in value and Path(value).expanduser().is_dir()
    return folder_content(str(Path(value).expanduser())) if is_folder else value


def folder_content(folder: str) -> str:
    """Hash of the names and bytes of a folder's files, without subfolders."""
    digest = hashlib.sha256()
    for path in sorted(path for path in Path(folder).iterdir() if path.is_file()):
        with path.open("rb") as file:
            digest.update(f"{path.name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\n".encode())
    return digest.hexdigest()
