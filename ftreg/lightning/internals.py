"""Private and undocumented members of Lightning's Trainer are used in this file alone; tried with Lightning 2.6."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytorch_lightning as pl


def has_trainer(module: pl.LightningModule) -> bool:
    """Return whether a Trainer runs the module; asking for `module.trainer` raises where none does."""
    return module._trainer is not None


def batch_number(trainer: pl.Trainer) -> int:
    """Return the number of the present micro-batch in the whole fit, from 0, as a resumed fit goes on counting."""
    return int(trainer.fit_loop.epoch_loop.total_batch_idx)


def batch_of_epoch(trainer: pl.Trainer) -> int:
    """Return the number of the present micro-batch in its epoch, from 0."""
    return int(trainer.fit_loop.epoch_loop.batch_idx)


def unwritten_row(trainer: pl.Trainer) -> dict[str, float] | None:
    """Return what the present step has logged and Lightning will write after the hooks at its end; None if nothing."""
    progress: Any = trainer.fit_loop.epoch_loop.batch_progress.total
    connector = trainer._logger_connector
    if progress.completed < progress.processed and connector.should_update_logs:
        return {name: float(value) for name, value in connector.metrics["log"].items()}
    return None


def saved_progress(checkpoint: Mapping[str, Any]) -> dict[str, Any]:
    """Return the counts of micro-batches in a checkpoint, `total` and `current`, to read or to change."""
    found: dict[str, Any] = checkpoint.get("loops", {}).get("fit_loop", {}).get("epoch_loop.batch_progress", {})
    return found


def saved_loaders(checkpoint: Mapping[str, Any]) -> Iterator[Any]:
    """Yield the training loaders' states that Lightning has saved in a checkpoint."""
    yield from checkpoint.get("loops", {}).get("fit_loop", {}).get("state_dict", {}).get("combined_loader", [])


def started_processes(trainer: pl.Trainer) -> list[Any]:
    """Return the processes that Lightning's launcher has started for a fit's other ranks."""
    return list(getattr(trainer.strategy.launcher, "procs", None) or [])
