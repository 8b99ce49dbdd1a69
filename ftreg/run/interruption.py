"""Ctrl-C, SIGTERM and SIGUSR1 end a fit between two optimizer steps, with a checkpoint there: nothing of it is lost.

`ftreg bench` stops its runs by SIGTERM, and SLURM says by SIGTERM or SIGUSR1 that a job's time is up. Lightning's own
handlers act at whatever line the signal meets. For SIGUSR1 they save there, be it inside an accumulation window; for
SIGTERM they broadcast, while other ranks may be in another collective; Ctrl-C saves nothing.
"""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Checkpoint
from pytorch_lightning.utilities import rank_zero_only

from ftreg._base.errors import INTERRUPTED, STOPPED
from ftreg.lightning.internals import batch_number, batch_of_epoch

SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGUSR1] if hasattr(signal, "SIGUSR1") else []))
_trained: list[Path] = []
"""The last checkpoint of a fit whose training is over, and whose record is not written yet."""


@contextmanager
def stoppable() -> Iterator[None]:
    """Let these signals end the process, and say so, before training and after it, when there is nothing to save."""

    def leave(number: int, _: FrameType | None) -> None:
        _shorten(number)
        what = "outside training: there is nothing to save"
        if _trained:
            what = f"after training; {_how(_trained[-1])}"
        tell(f"stopped by {_signal_in_words(number)} {what}")
        raise SystemExit(INTERRUPTED if number == signal.SIGINT and not _trained else STOPPED)

    # What is ignored stays so, as under nohup.
    heard = [number for number in SIGNALS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in heard}
    _trained.clear()
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def recorded() -> None:
    """Note that the record of the latest fit is written: nothing of it is left to be gone on with."""
    _trained.clear()


@rank_zero_only
def tell(text: str) -> None:
    """Say it at once, on the first process alone: a signal may have come amid another print."""
    lead = "\n" if os.isatty(2) else ""  # out of a progress bar's line
    os.write(2, f"{lead}ftreg: {text}\n".encode(errors="replace"))


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
            if signal.getsignal(number) is not signal.SIG_IGN:
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

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        _trained.append(self.path)

    def _hear(self, number: int, _: FrameType | None) -> None:
        _shorten(number)
        self._told = _signal_in_words(number)
        if number == signal.SIGINT:
            tell("Ctrl-C: saves at the end of this step, then stops; once more ends it at once")

    def _agreed(self, trainer: pl.Trainer) -> bool:
        return trainer.strategy.reduce_boolean_decision(bool(self._told), all=False)

    def _stop(self, trainer: pl.Trainer) -> None:
        trainer.strategy.barrier("stopped")  # no rank leaves while another one saves
        if trainer.is_global_zero:
            why = self._told or "a signal to another rank"
            tell(f"stopped by {why} after step {trainer.global_step}; {_how(self.path)}")
        raise SystemExit(STOPPED)


def _shorten(number: int) -> None:
    """Let a second Ctrl-C end the process wherever it is, also while it waits for another rank."""
    if number == signal.SIGINT:
        signal.signal(number, signal.SIG_DFL)


def _signal_in_words(number: int) -> str:
    return "Ctrl-C" if number == signal.SIGINT else signal.Signals(number).name


def _how(path: Path) -> str:
    return f"give the same options and --ckpt_path={path} to go on"


def evaluates(trainer: pl.Trainer) -> bool:
    """Return whether an evaluation follows this micro-batch: Lightning counts over the fit, or in every n-th epoch."""
    every, epochs = trainer.val_check_batch, trainer.check_val_every_n_epoch
    if every is None or every == float("inf"):
        return False
    if epochs is None:
        return (batch_number(trainer) + 1) % every == 0
    return (trainer.current_epoch + 1) % epochs == 0 and (batch_of_epoch(trainer) + 1) % every == 0
