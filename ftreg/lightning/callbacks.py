"""Callbacks are found by name, and methods among those that a configuration lists."""

from typing import Any

import pytorch_lightning as pl

from ftreg._base.names import listed
from ftreg.core.method import Regularizer
from ftreg.core.method_registry import subclasses


def known_callbacks(cls: type[pl.Callback] = pl.Callback) -> dict[str, type]:
    """Return every callback that has been imported, by its bare name."""
    found: dict[str, type] = {}
    for child in cls.__subclasses__():
        found |= {child.__name__: child, **known_callbacks(child)}
    return found


def method_names(callbacks: Any) -> list[str]:
    """Return the methods among `trainer.callbacks`, in order."""
    names = [str(entry.class_path).rpartition(".")[2] for entry in listed(callbacks)]
    methods = {cls.__name__ for cls in subclasses()}
    return [name for name in names if name in methods]


def methods_of(callbacks: Any) -> list[Regularizer]:
    """Return the methods among `trainer.callbacks`, built; what is wrong with one of them by itself is raised."""
    known = {cls.__name__: cls for cls in subclasses()}
    entries = [(known.get(entry.class_path.rpartition(".")[2]), entry.get("init_args")) for entry in listed(callbacks)]
    return [cls(**(options or {})) for cls, options in entries if cls is not None]
