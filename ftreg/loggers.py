"""Loggers in the run's folder: a CSV file that keeps earlier rows; Weights & Biases, offline if need be."""

import csv
import io
import json
import os
import sys
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from lightning_fabric.loggers.logger import rank_zero_experiment
from pytorch_lightning.loggers import CSVLogger as LightningCSVLogger
from pytorch_lightning.loggers.csv_logs import ExperimentWriter

from ftreg.atomic import write_atomically


class _Writer(ExperimentWriter):
    def __init__(self, log_dir: str) -> None:
        super().__init__(log_dir)
        if os.path.isfile(self.metrics_file_path):
            with open(self.metrics_file_path, encoding="utf-8", newline="") as file:
                self.metrics_keys = next(csv.reader(file), [])

    def _check_log_dir_exists(self) -> None:
        """The stock writer deletes an existing file here, also when a run is resumed."""


class CSVLogger(LightningCSVLogger):
    """`metrics.csv` in the run's folder; a second run or a resumption appends to it.

    Args:
        save_dir: the run's folder; the command line sets it to trainer.default_root_dir.
    """

    def __init__(self, save_dir: str = ".") -> None:
        super().__init__(save_dir, name="", version="", flush_logs_every_n_steps=1)

    @property
    @rank_zero_experiment
    def experiment(self) -> ExperimentWriter:
        """The writer, made at first use."""
        if not isinstance(self._experiment, _Writer):
            self._experiment = _Writer(self.log_dir)
        return self._experiment

    def log_hyperparams(self, params: Any = None) -> None:
        """Nothing: `config.yaml` lies in the same folder."""


def forget(root: str, step: int) -> None:
    """Take the rows at the end of `metrics.csv` away that a run wrote after the checkpoint that it now goes on from.

    Args:
        root: the run's folder.
        step: optimizer steps at the checkpoint.
    """
    path = Path(root, "metrics.csv")
    if not path.is_file():
        return
    with open(path, encoding="utf-8", newline="") as file:
        head, *rows = list(csv.reader(file)) or [[]]
    kept = rows
    while kept and "step" in head and int(kept[-1][head.index("step")] or 0) >= step:
        kept = kept[:-1]
    if len(kept) < len(rows):
        text = io.StringIO(newline="")
        csv.writer(text).writerows([head, *kept])
        write_atomically(path, lambda temporary: temporary.write_text(text.getvalue(), encoding="utf-8", newline=""))


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
            _describe(root, group, name, resumed)
            if options.get("offline"):
                # jsonargparse fills in wandb's own `mode`, and Lightning lets even None override `offline`.
                options["mode"] = "offline"
            if not options.get("mode") and not has_key():
                upload = f"wandb sync {root}/wandb/offline-run-*"
                notices.append(f"Weights & Biases: no API key, so offline; `{upload}` uploads it later")
    return notices


def _describe(root: str, group: str, name: str, resumed: bool) -> None:
    """Tell W&B by its environment variables, where the user's own and an agent's are not there.

    Not in the configuration: `config.yaml` with another seed is another run. Options given there win.
    """
    cell = Path(root, "cell.json")
    if cell.is_file():
        group, _, name = json.loads(cell.read_text(encoding="utf-8"))["name"].rpartition("/")
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
    """Whether W&B has an API key, or the environment chose its mode; without either, chooses offline there.

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
