"""SIGTERM and SIGUSR1 end a fit between two optimizer steps, with a checkpoint there: nothing of it is lost.

`ftreg bench` stops its runs by SIGTERM, and SLURM says by either that a job's time is up. Lightning's own handlers act
at whatever line the signal meets. For SIGUSR1 they save there, be it inside an accumulation window; for SIGTERM they
broadcast, while other ranks may be in another collective.
"""

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint

SIGNALS = (signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
STOPPED = 75
"""Exit code of a fit that was stopped and can be gone on with: EX_TEMPFAIL of sysexits.h."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Before training and after it, when there is nothing to save, these signals end the process with `STOPPED`."""

    def leave(number: int, _: FrameType | None) -> None:
        raise SystemExit(STOPPED)

    before = {number: signal.signal(number, leave) for number in SIGNALS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


class Interruptions(Checkpoint):
    """Saves and stops at the end of the step in which a signal came, or of the evaluation that follows it.

    The ranks agree on the step: one that is told is enough. List it after the other checkpoints, which then have seen
    all of that step.

    Args:
        path: of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._told = ""
        self._step = 0
        self._saved = False

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._told, self._step, self._saved = "", trainer.global_step, False
        # Lightning has just set its own, and puts back those from before the fit when that is over.
        for number in SIGNALS:
            signal.signal(number, self._hear)

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        if trainer.global_step == self._step:
            return  # inside an accumulation window
        self._step = trainer.global_step
        # An evaluation that is due here would be skipped by the run that goes on: it comes first.
        if not evaluates(trainer) and self._agreed(trainer):
            trainer.save_checkpoint(self.path)
            self._saved = True

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        # In a fit: the checkpoint of the evaluation has just been written.
        self._saved = trainer.state.fn == "fit" and self._agreed(trainer)

    def on_train_batch_start(self, trainer: pl.Trainer, *args: Any) -> None:
        # Not before: what the step has logged is written after the hooks at its end.
        if self._saved:
            self._stop(trainer)

    def _hear(self, number: int, _: FrameType | None) -> None:
        self._told = signal.Signals(number).name

    def _agreed(self, trainer: pl.Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(bool(self._told), all=False)

    def _stop(self, trainer: pl.Trainer) -> None:
        trainer.strategy.barrier("stopped")  # no rank leaves while another one saves
        if trainer.is_global_zero:
            why = self._told or "a signal to another rank"
            how = f"give the same options and --ckpt_path={self.path} to go on"
            print(f"ftreg: stopped by {why} after step {trainer.global_step}; {how}", file=sys.stderr, flush=True)
        raise SystemExit(STOPPED)


def evaluates(trainer: pl.Trainer) -> bool:
    """Whether an evaluation follows this micro-batch: Lightning counts over the fit, or within every n-th epoch."""
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if every is None or every == float("inf"):
        return False
    if epochs is None:
        return (trainer.fit_loop.total_batch_idx + 1) % every == 0
    return (trainer.current_epoch + 1) % epochs == 0 and (trainer.fit_loop.epoch_loop.batch_idx + 1) % every == 0
