"""A run logs into its folder: a CSV file that keeps earlier rows; Weights & Biases, offline if need be."""

import os
import sys
from collections.abc import Iterable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.loggers import WandbLogger as LightningWandbLogger
from pytorch_lightning.loggers.logger import Logger
from pytorch_lightning.utilities import rank_zero_only

from ftreg.lightning.internals import unwritten_row
from ftreg.lightning.printing import say
from ftreg.run.history import History
from ftreg.run.places import CELL, METRICS
from ftreg.run.records import read_record

LIGHTNINGS = ("pytorch_lightning.loggers.WandbLogger", "pytorch_lightning.loggers.wandb.WandbLogger")
ROWS = "ftreg_wandb_rows"
"""The key in a checkpoint of how many rows W&B has been sent."""
DUE = "ftreg_due_row"
"""The key in a checkpoint from within a step of what that step will log once the checkpoint is written."""


class CSVLogger(Logger):
    """Writes `metrics.csv` in the run's folder; a resumption appends to it.

    Args:
        save_dir: the run's folder; the command line sets it to trainer.default_root_dir.
    """

    def __init__(self, save_dir: str = ".") -> None:
        super().__init__()
        self._save_dir = save_dir
        self.history = History(Path(save_dir, METRICS))

    @property
    def name(self) -> str:
        """None, as nothing lies below the folder."""
        return ""

    @property
    def version(self) -> str:
        """None, as nothing lies below the folder."""
        return ""

    @property
    def save_dir(self) -> str:
        """The run's folder."""
        return self._save_dir

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append a row."""
        self.history.add(metrics, step or 0)

    def log_hyperparams(self, params: Any = None, *args: Any, **kwargs: Any) -> None:
        """Log nothing: `config.yaml` lies in the same folder."""

    @rank_zero_only
    def save(self) -> None:
        """Put the rows onto the disk; Lightning calls it after each of them, and so before the next checkpoint."""
        self.history.sync()


class WandbLogger(LightningWandbLogger):
    """Sends W&B its rows, numbered as in a run that was never cut off.

    What a resumed run logs again has the number, and the values, that W&B may have already: online it is not sent a
    second time, and offline the rows of the two files are one row where they are uploaded.
    """

    rows: int | None = None
    """The number of rows that the run has logged; None in one that begins."""

    @rank_zero_only
    def log_metrics(self, metrics: Mapping[str, float], step: int | None = None) -> None:
        """Log a row, unless W&B has it."""
        there = self.experiment.step
        self.rows = there if self.rows is None else self.rows
        if self.rows > there:
            self.experiment.log({}, step=self.rows)
        if self.rows >= there:
            super().log_metrics(metrics, step)
        self.rows += 1


class Continuity(pl.Callback):
    """Has a run that is gone on with log each step once, wherever it was cut off.

    It acts once everything about the run is checked and its checkpoint is loaded.
    """

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Lightning writes what a step has logged after the hooks at its end, and a kill may come between.
        row = unwritten_row(trainer)
        if row is not None:
            checkpoint[DUE] = {**row, "epoch": trainer.current_epoch}
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger) and logger.rows is not None:
                checkpoint[ROWS] = logger.rows + (DUE in checkpoint)

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit" and trainer.is_global_zero:
            for logger in trainer.loggers:
                if isinstance(logger, WandbLogger):
                    logger.rows = checkpoint.get(ROWS)
                history = getattr(logger, "history", None)
                if isinstance(history, History):
                    lost = history.forget(int(checkpoint["global_step"]), checkpoint.get(DUE))
                    if lost:
                        say(lost)


def set_up(loggers: Iterable[MutableMapping[str, Any]], root: str, group: str, name: str, resumed: bool) -> list[str]:
    """Complete the configuration of the loggers (`class_path`, `init_args`) for one run, in place.

    In W&B a task and a method are a group, and a seed is a run of it. A run of `ftreg bench` goes by its cell; one that
    is gone on with is the same run there.

    Args:
        loggers: what trainer.logger lists.
        root: the run's folder.
        group: task/method.
        name: the seed.
        resumed: whether an earlier run in the folder is gone on with.

    Returns:
        lines to tell the user.
    """
    notices = []
    for logger in loggers:
        options = logger["init_args"]
        options["save_dir"] = root
        if logger["class_path"].endswith("WandbLogger"):
            if logger["class_path"] in LIGHTNINGS:
                logger["class_path"] = "ftreg.loggers.WandbLogger"
            _tell_wandb(root, group, name, resumed)
            if options.get("offline"):
                # jsonargparse fills in wandb's own `mode`, and Lightning lets even None override `offline`.
                options["mode"] = "offline"
            if not options.get("mode") and not has_key():
                upload = f"wandb sync {root}/wandb/offline-run-*"
                notices.append(f"Weights & Biases: no API key, so offline; `{upload}` uploads it later")
    return notices


def _tell_wandb(root: str, group: str, name: str, resumed: bool) -> None:
    """Tell W&B by its environment variables, where the user's own and an agent's are not there.

    Not in the configuration: `config.yaml` with another seed is another run. Options given there win.
    """
    cell = Path(root, CELL)
    if cell.is_file():
        group, _, name = read_record(cell).get("name", f"{group}/{name}").rpartition("/")
    told = {"WANDB_RUN_GROUP": group}
    if "WANDB_SWEEP_ID" not in os.environ:
        told["WANDB_NAME"] = name
    earlier = Path(root, "wandb", "latest-run")
    if resumed and earlier.exists():
        told |= {"WANDB_RUN_ID": earlier.resolve().name.rpartition("-")[2], "WANDB_RESUME": "allow"}
    for variable, value in told.items():
        if variable not in os.environ:
            os.environ[variable] = value
            OURS.add(variable)


OURS: set[str] = set()
"""Environment variables that are for the present run alone."""


def has_key() -> bool:
    """Return whether W&B has an API key, or the environment chose its mode; without either, choose offline there.

    There, and not in the configuration: the same `config.yaml` logs online where there is a key.
    """
    if os.environ.get("WANDB_MODE"):
        return True
    import wandb

    before = os.environ.get("WANDB_SILENT")
    os.environ["WANDB_SILENT"] = "true"
    found = wandb.login(prompt=False, verify=False)
    wandb.teardown()  # a session keeps the environment that it was started with
    if not found:
        os.environ["WANDB_MODE"] = "offline"
    elif before is None:
        del os.environ["WANDB_SILENT"]
    else:
        os.environ["WANDB_SILENT"] = before
    return found


def close() -> None:
    """End W&B's run, if there is one: the next one of this process is another."""
    for variable in OURS:
        os.environ.pop(variable, None)
    OURS.clear()
    if "wandb" in sys.modules:
        import wandb

        wandb.finish()
        wandb.teardown()  # its service process writes what is left
