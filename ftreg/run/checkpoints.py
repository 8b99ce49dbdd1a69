"""Checkpoints are written whole or not at all, and compared with their checksums before they are loaded."""

import os
from pathlib import Path
from typing import Any

import torch
from lightning_fabric.plugins import TorchCheckpointIO

from ftreg._base.atomic import write_atomically
from ftreg.core.checkpoint_reader import check_checksums

PROBE = 2**20
"""Bytes that are written to find out what is wrong with a disk."""


class Whole(TorchCheckpointIO):
    """Writes a checkpoint beside its place and moves it there; compares its checksums before it is loaded.

    The stock one writes into the system's temporary folder. From there to another file system is a copy, and a process
    that is killed within it leaves half a checkpoint in the place of a good one.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_atomically(Path(path), lambda temporary: _save(checkpoint, temporary))

    def load_checkpoint(self, path: Any, *args: Any, **kwargs: Any) -> dict[str, Any]:
        check_checksums(str(path), "checkpoint")
        return dict(super().load_checkpoint(path, *args, **kwargs))


def _save(checkpoint: dict[str, Any], path: Path) -> None:
    """Write the file; on a full disk raise the system's own error in place of the archive writer's, which differ."""
    try:
        torch.save(checkpoint, path)
    except RuntimeError:
        with open(path, "ab", buffering=0) as file:
            file.write(bytes(PROBE))
            os.fsync(file.fileno())
        raise
