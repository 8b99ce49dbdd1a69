"""Checkpoints are read as plain values only, and not at all if they were damaged.

What `torch.save` writes is a zip archive with a checksum for each of its parts, tensors and all else. `torch.load` does
not look at them where it maps the file, so a flipped bit would go into the weights: they are compared here before.
They lie inside the file, so that nothing comes apart from them when it is copied or moved.
"""

import os
import zipfile
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary


def load_checkpoint(path: str, option: str, bare: bool = False) -> dict[str, Any]:
    """Read what `ftreg fit`, or a Lightning trainer, saved there; tensors stay in the file until they are used.

    Args:
        path: of the file.
        option: that names it, for messages.
        bare: whether it may be a `state_dict` alone, which is then returned as a checkpoint with nothing else.

    Raises:
        UsageError: no such file, no checkpoint, or a damaged one.
    """
    check_checksums(path, option)
    try:
        checkpoint = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except Exception:  # whatever its pickle asks for
        raise _broken(path, option, "it cannot be read") from None
    if bare and isinstance(checkpoint, dict) and checkpoint and all(map(torch.is_tensor, checkpoint.values())):
        return {"state_dict": checkpoint}
    if not isinstance(checkpoint, dict) or not isinstance(checkpoint.get("state_dict"), dict):
        raise UsageError(f"{option} {path}: not a Lightning checkpoint; give one of ftreg fit")
    return checkpoint


def check_checksums(path: str, option: str) -> None:
    """Compare a checkpoint with its checksums, once as long as it does not change.

    Raises:
        UsageError: no such file, no checkpoint, or a damaged one; names another one beside it that is whole.
    """
    if not ordinary(Path(path), most=None, where=f"{option} ").is_file():
        raise UsageError(f"{option} {path}: no such file; give a checkpoint, such as RUN/checkpoints/last.ckpt")
    found = os.stat(path)
    version = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns)
    if version not in _whole:
        damage = _damage(path)
        if damage:
            raise _broken(path, option, damage)
        if damage is None:
            rank_zero_warn(f"{option} {path} has no checksums: whether it was damaged cannot be told")
        _whole.add(version)


_whole: set[tuple[int, int, int, int]] = set()
"""Device, inode, size and time of those that were compared."""


def _damage(path: str) -> str | None:
    """Return what is wrong with a file; empty if all of its checksums are right, None if it has none."""
    try:
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if not any(part.CRC for part in parts):
                return None
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts):
                return "it is another kind of archive"
            bad = archive.testzip()
    except Exception:  # of all that a flipped bit makes of an archive's directory
        return "it is no archive of torch.save, or its directory is damaged"
    return f"{bad.partition('/')[2] or bad} does not match its checksum" if bad else ""


def _broken(path: str, option: str, why: str) -> UsageError:
    """Return the complaint about a checkpoint, with the newest other one in its folder that is whole."""
    others = (other for other in Path(path).parent.glob("*.ckpt") if other.name != Path(path).name and other.is_file())
    for other in sorted(others, key=lambda other: -other.stat().st_mtime_ns):
        if _damage(str(other)) == "":
            step = torch.load(other, map_location="cpu", weights_only=True, mmap=True).get("global_step")
            return UsageError(
                f"{option} {path}: not a checkpoint, or a broken one ({why}); {other}, of step {step}, is whole"
            )
    return UsageError(f"{option} {path}: not a checkpoint, or a broken one ({why}); give one that ftreg fit wrote")
