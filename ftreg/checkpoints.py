"""Checkpoints: written whole or not at all; read as plain values only, and one line for what is no checkpoint."""

import pickle
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from ftreg.atomic import write_atomically
from ftreg.errors import UsageError


class Whole(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there.

    The stock one writes into the system's temporary folder. From there to another file system is a copy, and a process
    that is killed within it leaves half a checkpoint in the place of a good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda temporary: torch.save(checkpoint, temporary))


def load(path: str, option: str) -> dict[str, Any]:
    """What `ftreg fit`, or a Lightning trainer, saved there; tensors stay in the file until they are used.

    Args:
        path: of the file.
        option: that names it, for complaints.

    Raises:
        UsageError: no such file, or no checkpoint.
    """
    if not Path(path).is_file():
        raise UsageError(f"{option} {path}: no such file; give a checkpoint, such as RUN/checkpoints/last.ckpt")
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (RuntimeError, pickle.UnpicklingError, EOFError, ValueError):
        raise UsageError(f"{option} {path}: not a checkpoint, or a broken one; give one that ftreg fit wrote") from None
    if not isinstance(checkpoint, dict) or "state_dict" not in checkpoint:
        raise UsageError(f"{option} {path}: not a Lightning checkpoint; give one of ftreg fit")
    return checkpoint
