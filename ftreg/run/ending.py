"""A fit's end is recorded: whether its schedule was finished, and which callback stopped it where it was not."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, Timer

from ftreg._base.names import imported, listed
from ftreg.core.method import Regularizer
from ftreg.lightning.compatibility import watches
from ftreg.run.result import MethodRecord, Stop

COMPLETE = "complete"
EARLY = "ended early"
KEY = "ftreg_stopping"


class Stopping(pl.Callback):
    """Keeps in checkpoints that a fit is to stop: one that goes on from there stops where the uncut one does."""

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = bool(trainer.should_stop)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            trainer.should_stop = checkpoint.get(KEY, False)


def stopped(trainer: pl.Trainer) -> Stop | None:
    """Return where a fit stopped, and by which callback, if one of Lightning's; None for a whole fit."""
    total = int(trainer.estimated_stepping_batches)
    if trainer.global_step >= total:
        return None
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    by = next((type(callback).__name__ for callback in callbacks if _stops(callback)), None)
    return Stop(trainer.global_step, total, by)


def status(trainer: pl.Trainer) -> str:
    """Return whether a fit is complete: EarlyStopping completes it, as it is meant to; a clock cuts it off."""
    found = stopped(trainer)
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    meant = any(isinstance(callback, EarlyStopping) and _stops(callback) for callback in callbacks)
    return COMPLETE if found is None or meant else EARLY


def _stops(callback: pl.Callback) -> bool:
    if isinstance(callback, EarlyStopping):
        return callback.stopping_reason.value != 0 or callback.wait_count >= callback.patience
    left = callback.time_remaining() if isinstance(callback, Timer) else None
    return left is not None and left <= 0


def other_callbacks(config: Mapping[str, Any]) -> tuple[MethodRecord, ...]:
    """Return each callback that is no method and may change a run's numbers.

    Args:
        config: resolved, of `ftreg fit`.
    """
    entries = [(entry, imported(entry["class_path"], "")) for entry in listed(config["trainer"].get("callbacks"))]
    return tuple(
        MethodRecord(cls.__name__, dict(entry.get("init_args") or {}))
        for entry, cls in entries
        if not issubclass(cls, Regularizer) and not watches(cls)
    )
