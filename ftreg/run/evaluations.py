"""A fit evaluates ten times, equally spaced, and saves its best and its last weights."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint, ModelCheckpoint
from pytorch_lightning.trainer.states import TrainerFn
from pytorch_lightning.utilities import rank_zero_warn

from ftreg.lightning.internals import batch_number
from ftreg.run.interruption import Interruptions

TIMES = 10
"""Evaluations of a fit."""


def evaluation_steps(total: int) -> list[int]:
    """Return the ten equally spaced optimizer steps after which a fit is evaluated; each step, if there are fewer."""
    return sorted({-(-total * n // TIMES) for n in range(1, TIMES + 1)})


class Evaluations(pl.Callback):
    """Evaluates at equally spaced steps, the last of them the last optimizer step.

    The best of many evaluations is an optimistic score, so their number is the same in every run. With fewer
    steps than evaluations there is one after each step.
    """

    def __init__(self) -> None:
        self._points: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Every optimizer step has exactly this many micro-batches, so these are its ends.
        micro = trainer.accumulate_grad_batches
        self._points = [point * micro for point in evaluation_steps(int(trainer.estimated_stepping_batches))]
        self._aim(trainer, batch_number(trainer) + 1)

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        self._aim(trainer, batch_number(trainer) + 1)

    def _aim(self, trainer: pl.Trainer, count: int) -> None:
        # Lightning evaluates when the number of micro-batches is a multiple of `val_check_batch`; at or below
        # the next point, that is only the point itself.
        trainer.val_check_batch = next((point for point in self._points if point >= count), self._points[-1])


class Last(Checkpoint):
    """Saves `last.ckpt` after every evaluation, and after the last step of all, wherever and why training ends there.

    Args:
        path: of the checkpoint.
        spaced: whether nothing is evaluated: it is then saved as often as other fits evaluate.
    """

    def __init__(self, path: Path, spaced: bool = False) -> None:
        self.path, self.spaced = path, spaced
        self._points: list[int] = []
        self._saved = -1
        self._over = False

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Early stopping and the like do not say again that they have stopped a run.
        trainer.should_stop = trainer.should_stop or self._over

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._points, self._saved = evaluation_steps(int(trainer.estimated_stepping_batches)), trainer.global_step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        # The micro-batches after an optimizer step see its number too.
        if self.spaced and trainer.global_step != self._saved and trainer.global_step in self._points:
            self._save(trainer)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._save(trainer)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._over = True
        if self._saved != trainer.global_step or trainer.should_stop:
            self._save(trainer)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # Gone on with elsewhere, with no step left.
        if not trainer.strategy.broadcast(self.path.is_file()):
            self._save(trainer)

    def _save(self, trainer: pl.Trainer) -> None:
        self._saved = trainer.global_step
        trainer.save_checkpoint(self.path)

    def state_dict(self) -> dict[str, Any]:
        return {"over": True} if self._over else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._over = bool(state_dict.get("over"))


class Best(ModelCheckpoint):
    """Saves `best.ckpt`, the weights with the highest monitored value; NaN is lowest, the first of equals stays."""

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Restore the best so far, wherever it lies: a run that is continued in another folder keeps it."""
        earlier = state_dict["best_model_path"]
        if Path(earlier).is_file():
            super().load_state_dict({**state_dict, "dirpath": self.dirpath})
        elif earlier:
            rank_zero_warn(f"{earlier} is gone: the best checkpoint will be the best from here on")


def checkpoints(root: str, splits: Sequence[str]) -> list[Checkpoint]:
    """Return what saves `best.ckpt`, by the first split's score, and `last.ckpt`, also where a signal stops the fit."""
    folder = Path(root) / "checkpoints"
    last = folder / "last.ckpt"
    best = (
        Best(folder, "best", monitor=f"{splits[0]}/score", mode="max", enable_version_counter=False) if splits else None
    )
    return [*([best] if best else []), Last(last, spaced=not splits), Interruptions(last)]
