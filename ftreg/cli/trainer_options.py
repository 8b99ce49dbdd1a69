"""Values of the Trainer's options are checked before anything starts: some of them Lightning meets at a step only."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import Timer

from ftreg._base.errors import UsageError
from ftreg._base.messages import reading
from glue_tasks.options import number, type_faults
from glue_tasks.shown import shown


def check_trainer_options(options: Mapping[str, Any]) -> None:
    """Check that each of the Trainer's options is of its declared type and in its range.

    Args:
        options: by name, as they were parsed; classes are not built yet.

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for name, found in type_faults(pl.Trainer.__init__, options):
        raise UsageError(f"trainer.{name} {found}")
    for name, (fits, wanted) in RANGES.items():
        value = options.get(name)
        if value is not None and not fits(value):
            raise UsageError(f"trainer.{name} is {shown(value)}; it must be {wanted}")
    if options.get("max_time") is not None:
        with reading("trainer.max_time"):
            Timer(duration=options["max_time"])


def _from(low: int) -> Callable[[Any], bool]:
    return lambda value: number(value, low)


def _from_one_or_endless(value: Any) -> bool:
    return number(value, 1) or value == -1


def _interval(value: Any) -> bool:
    """Check an interval: a whole number counts batches, another one is a share of an epoch; text is a time."""
    if isinstance(value, str | timedelta | Mapping):
        return True
    return number(value, 1) if isinstance(value, int) else number(value) and 0 < value <= 1


def _devices(value: Any) -> bool:
    """Check devices: a number of them, -1 for all, or which ones."""
    if isinstance(value, list):
        return bool(value) and all(type(one) is int and one >= 0 for one in value) and len({*value}) == len(value)
    if isinstance(value, str) and "," in value:
        return any(value.split(",")) and all(one.strip().isdecimal() for one in value.split(",") if one)
    if isinstance(value, str):
        return value in ("auto", "-1") or (value.isdecimal() and int(value[:9]) > 0)
    return number(value, 1) or value == -1


RANGES: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "max_epochs": (_from_one_or_endless, "1 or more, or -1 for no end"),
    "max_steps": (_from_one_or_endless, "1 or more, or -1 for no end"),
    "min_epochs": (_from(0), "0 or more"),
    "min_steps": (_from(0), "0 or more"),
    "val_check_interval": (
        _interval,
        "a number of batches from 1, or a share of an epoch, above 0 and up to 1.0",
    ),
    "check_val_every_n_epoch": (_from(1), "1 or more"),
    "num_sanity_val_steps": (_from(-1), "0 or more, or -1 for all"),
    "log_every_n_steps": (_from(0), "0 or more"),
    "accumulate_grad_batches": (_from(1), "1 or more"),
    "gradient_clip_val": (_from(0), "0 or more"),
    "gradient_clip_algorithm": (lambda value: value in ("norm", "value"), "norm or value"),
    "devices": (_devices, "a number of them from 1, -1 for all, auto, or a list of their numbers"),
    "num_nodes": (_from(1), "1 or more"),
    "reload_dataloaders_every_n_epochs": (_from(0), "0 or more"),
    "default_root_dir": (lambda value: bool(str(value).strip()), "a folder; leave it out for one under runs/"),
}
