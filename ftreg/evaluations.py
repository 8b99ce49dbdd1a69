"""When a fit evaluates and what it saves: ten equally spaced evaluations, the best and the last weights."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import ModelCheckpoint
from pytorch_lightning.utilities import rank_zero_warn


class Evaluations(pl.Callback):
    """Equally spaced evaluations, the last of them after the last optimizer step.

    The best of many evaluations is an optimistic score, so their number is the same in every run. With fewer
    steps than evaluations there is one after each step.

    Args:
        number: how many.
    """

    def __init__(self, number: int = 10) -> None:
        self.number = number
        self._points: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        total = int(trainer.estimated_stepping_batches)
        # Every optimizer step has exactly this many micro-batches, so these are its ends.
        micro = trainer.accumulate_grad_batches
        self._points = sorted({-(-total * n // self.number) * micro for n in range(1, self.number + 1)})
        self._aim(trainer, trainer.fit_loop.total_batch_idx + 1)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        self._aim(trainer, trainer.fit_loop.total_batch_idx + 1)

    def _aim(self, trainer: pl.Trainer, count: int) -> None:
        # Lightning evaluates when the number of micro-batches is a multiple of `val_check_batch`; at or below
        # the next point, that is only the point itself.
        trainer.val_check_batch = next((point for point in self._points if point >= count), self._points[-1])


class Best(ModelCheckpoint):
    """`best.ckpt`: the weights with the highest monitored value; NaN is lowest, the first of equals stays."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """A run that is continued in another folder keeps its best, wherever that lies."""
        earlier = state_dict["best_model_path"]
        if Path(earlier).is_file():
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})
        elif earlier:
            rank_zero_warn(f"{earlier} is gone: the best checkpoint will be the best from here on")


def checkpoints(root: str, monitor: str) -> tuple[Best, ModelCheckpoint]:
    """`best.ckpt`, and `last.ckpt` at every evaluation; the stock `save_last` saves only with a new best."""
    folder = Path(root) / "checkpoints"
    best = Best(folder, "best", monitor=monitor, mode="max", enable_version_counter=False)
    return best, ModelCheckpoint(folder, "last", enable_version_counter=False)
