"""A fit's cost is counted: optimizer steps, training time, real tokens, peak memory."""

import resource
import sys
import time
from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch

from ftreg.run.result import RunCost


class Cost(pl.Callback):
    """Counts over the whole fit, also across resumptions.

    Seconds run from the first step to the last, without evaluations and the saving of checkpoints after them.
    Tokens are the training examples' own on all ranks, without padding, counted once an epoch however many
    passes a method makes.
    """

    def __init__(self) -> None:
        self._seconds = 0.0
        self._tokens = 0
        self._tokens_before = 0
        self._since: float | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()
        self._since = time.perf_counter()

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Mapping[str, Any], batch_idx: int
    ) -> None:
        if self._since is None:
            self._since = time.perf_counter()
        # The rows of a micro-batch are all real, or there is a single filler row.
        if len(batch["lengths"]) > 1 or bool(batch["valid"].any()):
            self._tokens += sum(batch["lengths"])

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._pause()

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._pause()

    def _pause(self) -> None:
        if self._since is not None:
            if torch.cuda.is_available():
                torch.cuda.synchronize()
            self._seconds += time.perf_counter() - self._since
            self._since = None

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Not in state_dict: the sum over ranks needs the trainer, and every rank takes part in saving.
        running = 0.0 if self._since is None else time.perf_counter() - self._since
        checkpoint["ftreg_cost"] = {"seconds": self._seconds + running, "tokens": self._all_tokens(trainer)}

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        before = checkpoint.get("ftreg_cost", {})
        if trainer.training:
            self._seconds = float(before.get("seconds", 0.0))
            self._tokens_before = int(before.get("tokens", 0))

    def summary(self, trainer: pl.Trainer) -> RunCost:
        """Return what the fit cost, with the peak memory of the rank that used most. Call it on every rank."""
        gathered = trainer.strategy.all_gather(torch.tensor(_peak_memory(), device=trainer.strategy.root_device))
        return RunCost(
            steps=trainer.global_step,
            seconds=round(self._seconds, 3),
            tokens=self._all_tokens(trainer),
            peak_memory_bytes=int(gathered.max()),
        )

    def _all_tokens(self, trainer: pl.Trainer) -> int:
        here = torch.tensor(self._tokens, device=trainer.strategy.root_device)
        return self._tokens_before + int(trainer.strategy.all_gather(here).sum())


def _peak_memory() -> int:
    """Return the peak memory in bytes: of the GPU if there is one in use, else of this process."""
    if torch.cuda.is_available() and torch.cuda.max_memory_allocated():
        return torch.cuda.max_memory_allocated()
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
