"""The command line adds to a configuration: seeds, the file that keeps it, and what it says of its methods."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import LightningArgumentParser, SaveConfigCallback

from ftreg._base.atomic import write_atomically
from ftreg.cli.parser import dumped
from ftreg.lightning.printing import say
from ftreg.run.record import recorded_methods
from ftreg.run.result import as_plain


class SaveConfig(SaveConfigCallback):
    """Writes `config.yaml` in the run's folder, whole and once the data are read, and into every logger."""

    def __init__(self, parser: LightningArgumentParser, config: Any, notices: Sequence[str] = ()) -> None:
        super().__init__(parser, config)
        self.notices = notices

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Write the file after the data are read; only a fit has a configuration to keep."""
        for notice in self.notices:
            say(notice)
        self.notices = ()
        if stage == "fit" and trainer.is_global_zero and not self.already_saved:
            self.already_saved = True
            text = dumped(self.parser, self.config)
            path = Path(trainer.default_root_dir) / self.config_filename
            write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
            record = {**yaml.safe_load(text), "methods": [as_plain(method) for method in recorded_methods(trainer)]}
            for logger in trainer.loggers:
                logger.log_hyperparams(record)
