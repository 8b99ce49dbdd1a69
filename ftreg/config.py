"""What the command line adds to a configuration: seeds, the file that keeps it, and what it says of its methods."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import LightningArgumentParser, SaveConfigCallback
from pytorch_lightning.utilities import rank_zero_only

from ftreg import run
from ftreg.atomic import write_atomically
from ftreg.names import listed
from ftreg.regularizer import Regularizer
from ftreg.structure import subclasses


@dataclass
class Seeds:
    """The three seeds of a run.

    Args:
        init: of the head's first weights, dropout and the methods' noise.
        order: of the order of the training rows.
        split: of the selection split and of train_subset.
    """

    init: int = 0
    order: int = 0
    split: int = 0


class SaveConfig(SaveConfigCallback):
    """`config.yaml` in the run's folder, written whole once the data are read, and in every logger."""

    def __init__(self, parser: LightningArgumentParser, config: Any, notices: Sequence[str] = ()) -> None:
        super().__init__(parser, config)
        self.notices = notices

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """After the data are read; only a fit has a configuration to keep."""
        for notice in self.notices:
            say(notice)
        self.notices = ()
        if stage == "fit" and trainer.is_global_zero and not self.already_saved:
            self.already_saved = True
            text = self.parser.dump(self.config, skip_none=False)
            path = Path(trainer.default_root_dir) / self.config_filename
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
            record = {**yaml.safe_load(text), "methods": run.methods(trainer)}
            for logger in trainer.loggers:
                logger.log_hyperparams(record)


@rank_zero_only
def say(text: str) -> None:
    """Print a line, on the first process alone."""
    print(text, flush=True)


def known_callbacks(cls: type[pl.Callback] = pl.Callback) -> dict[str, type]:
    """Every callback that has been imported, by its bare name."""
    found: dict[str, type] = {}
    for child in cls.__subclasses__():
        found |= {child.__name__: child, **known_callbacks(child)}
    return found


def method_names(callbacks: Any) -> list[str]:
    """The methods among `trainer.callbacks`, in order."""
    names = [str(entry.class_path).rpartition(".")[2] for entry in listed(callbacks)]
    methods = {cls.__name__ for cls in subclasses()}
    return [name for name in names if name in methods]


def methods_of(callbacks: Any) -> list[Regularizer]:
    """The methods among `trainer.callbacks`, built; what is wrong with one of them by itself is raised."""
    known = {cls.__name__: cls for cls in subclasses()}
    entries = [(known.get(entry.class_path.rpartition(".")[2]), entry.get("init_args")) for entry in listed(callbacks)]
    return [cls(**(options or {})) for cls, options in entries if cls is not None]
