"""A backbone's weights are read from its files; where that fails, what is wrong with them is said."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg._base.messages import shortened

FILES = ("model.safetensors", "pytorch_model.bin")
"""Where weights are looked for, in this order; each may be cut into shards, which its index names."""
INDEX = ".index.json"
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
AGAIN = "download it again, or save it again with save_pretrained"


def read_weights(folder: str) -> tuple[str, dict[str, Tensor]]:
    """Read a folder's weights: the file that holds or lists them, and its tensors by key, mapped from the disk.

    Raises:
        UsageError: names the file and what to do; the caller puts the backbone's name before it.
    """
    root = Path(folder)
    for name in FILES:
        if (root / name).exists():
            return name, _tensors(root / name)
        if (root / f"{name}{INDEX}").exists():
            shards = _shards(root / f"{name}{INDEX}")
            return f"{name}{INDEX}", {key: tensor for shard in shards for key, tensor in _tensors(shard).items()}
    others = sorted(path.name for path in root.iterdir() if path.suffix in (".h5", ".msgpack", ".bin", ".safetensors"))
    there = f"; what is there ({', '.join(others[:3])}) is something else" if others else ""
    raise UsageError(f"no weights there, neither {' nor '.join(FILES)}{there}; save a whole model with save_pretrained")


def read_json(path: Path) -> dict[str, Any]:
    """Read what a JSON file holds.

    Raises:
        UsageError: it cannot be read, or is no mapping.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise UsageError(f"{path.name} {damage(path, error)}") from error
    if not isinstance(content, dict):
        raise UsageError(f"{path.name} holds a {type(content).__name__} in place of named values; {AGAIN}")
    return content


def damage(path: Path, error: Exception) -> str:
    """Return what is wrong with a file that cannot be read, and what to do."""
    if not path.is_file():
        return f"is no file, but a folder or a device; {AGAIN}" if path.exists() else f"is missing; {AGAIN}"
    with path.open("rb") as file:
        start = file.read(64)
    if not start.strip():
        return f"is empty; {AGAIN}"
    if start.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer in place of the file; run `git lfs pull` where it comes from, and copy it again"
    if start.lstrip().startswith((b"<!", b"<html")):
        return f"is a web page in place of the file; {AGAIN}"
    return f"is damaged, cut short or something else ({cause_of(error)}); {AGAIN}"


def cause_of(error: BaseException) -> str:
    """Return an error of somebody else's code, in a few words."""
    return shortened(str(error), 160) or type(error).__name__


def _shards(index: Path) -> list[Path]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, Mapping) or not all(isinstance(name, str) for name in places.values()):
        raise UsageError(f"{index.name} has no weight_map from weights to files; {AGAIN}")
    names = sorted(set(places.values()))
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise UsageError(f"{index.name} names {outside[0]!r}, which is not in its folder; {AGAIN}")
    return [index.with_name(name) for name in names]


def _tensors(path: Path) -> dict[str, Tensor]:
    if not path.is_file():
        raise UsageError(f"{path.name} {damage(path, OSError())}")
    try:
        found = dict(_stored(path)) if path.suffix == ".safetensors" else _unpickled(path)
    except UsageError:
        raise
    except Exception as error:  # whatever safetensors, zipfile and torch raise for what is no file of theirs
        raise UsageError(f"{path.name} {damage(path, error)}") from error
    other = [f"{key} is {str(t.dtype).removeprefix('torch.')}" for key, t in found.items() if not may_be_weight(t)]
    if other:
        raise UsageError(f"{path.name} holds quantised weights ({other[0]}); give a backbone in float32 or float16")
    return found


def may_be_weight(tensor: Tensor) -> bool:
    """Return whether a tensor may be a weight, or counts positions and the like."""
    return tensor.dtype in FLOATS or tensor.dtype in (torch.int64, torch.bool)


def _stored(path: Path) -> Iterator[tuple[str, Tensor]]:
    with safe_open(path, framework="pt") as file:
        for key in file.keys():  # noqa: SIM118  it is no dictionary
            yield key, file.get_tensor(key)


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        found = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # files of before the zip format cannot be mapped
        found = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(found, Mapping):
        raise UsageError(f"{path.name} holds a {type(found).__name__} in place of tensors by name; {AGAIN}")
    inner = next((key for key, value in found.items() if isinstance(value, Mapping)), None)
    if inner is not None:
        raise UsageError(
            f"{path.name} is the checkpoint of a training, with its weights under {inner!r}; "
            f"save those alone: torch.save(checkpoint[{inner!r}], 'pytorch_model.bin')"
        )
    strange = next((key for key, value in found.items() if not isinstance(value, Tensor)), None)
    if strange is not None:
        raise UsageError(f"{path.name} holds a {type(found[strange]).__name__} at {strange!r}, not a tensor; {AGAIN}")
    return dict(found)
