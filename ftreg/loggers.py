"""These loggers keep a run's logs in its folder; a configuration names them as `ftreg.loggers.CSVLogger`."""

from ftreg.run.loggers import CSVLogger as CSVLogger
from ftreg.run.loggers import WandbLogger as WandbLogger
