"""A Trainer's checkpoint folder has one file more: an engine's counts, its methods' states and added parameters."""

from pathlib import Path
from typing import Any

import torch

from ftreg._base.atomic import write_atomically
from ftreg._base.errors import UsageError
from ftreg.core.checkpoint_reader import check_checksums
from ftreg.core.engine import Engine
from ftreg.core.states import refuse_other
from ftreg.core.step_log import counted

FILE = "ftreg_methods.pt"


def save_state(engine: Engine, folder: str, world: int, write: bool) -> None:
    """Write an engine's state beside the model's weights. Call it on every rank.

    Args:
        engine: between two optimizer steps.
        folder: the checkpoint's.
        world: the number of ranks.
        write: whether this rank is the one that writes.

    Raises:
        UsageError: the disk is full, say.
    """
    non_finite = counted(engine.log.non_finite, world)
    if write:
        state = engine.method_state()
        state["counts"]["non_finite"] = non_finite
        write_atomically(Path(folder) / FILE, lambda path: torch.save(state, path))


def read_state(engine: Engine, folder: str) -> dict[str, Any] | None:
    """Return what `save` has written there; None for a checkpoint of transformers' own Trainer, if nothing needs it.

    Raises:
        UsageError: there is none, or it is of other methods.
    """
    path = Path(folder) / FILE
    if not path.parent.is_dir():
        raise UsageError(
            f"resume_from_checkpoint {folder}: no such folder; give one of a Trainer's checkpoint-... folders"
        )
    if not path.is_file():
        if engine.methods:
            names = ", ".join(method.name for method in engine.methods)
            raise UsageError(
                f"{folder} has no {FILE}, which holds the states of {names}: it was saved without methods, or with "
                f"save_only_model; give another checkpoint, or its weights as the model to start from"
            )
        return None
    try:
        check_checksums(str(path), "resume_from_checkpoint")
        state = torch.load(path, map_location="cpu", weights_only=True)
        whole = {"counts", "methods", "added"} <= state.keys()
    except Exception:  # a wrong checksum, or whatever its pickle asks for
        whole = False
    if not whole:
        raise UsageError(f"{path} is damaged, or no state of methods; give another checkpoint")
    refuse_other([*state["methods"]], engine.methods, str(path), "this training")
    found: dict[str, Any] = state
    return found
