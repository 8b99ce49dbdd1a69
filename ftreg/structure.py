"""Methods in a checkpoint: which ones changed the network, so that it can be rebuilt without a trainer."""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ftreg.errors import UsageError
from ftreg.regularizer import Regularizer


def subclasses(cls: type[Regularizer] = Regularizer) -> Iterator[type[Regularizer]]:
    """Every method that has been imported, but for abstract ones."""
    for child in cls.__subclasses__():
        if not inspect.isabstract(child):
            yield child
        yield from subclasses(child)


def structural(method: Regularizer) -> bool:
    """Whether the method changes the network or its start."""
    return type(method).attach is not Regularizer.attach


def describe(methods: Sequence[Regularizer]) -> list[dict[str, Any]]:
    """Structural methods as plain values."""
    return [{"class": m.name, "options": m.options()} for m in methods if structural(m)]


def rebuild(record: Sequence[Mapping[str, Any]]) -> list[Regularizer]:
    """The methods that `describe` recorded.

    Beside our own only classes that are imported already are considered: a checkpoint must not choose what code runs.

    Raises:
        UsageError: a method is unknown here.
    """
    importlib.import_module("ftreg.methods")
    known = {cls.__name__: cls for cls in subclasses()}
    for entry in record:
        if entry["class"] not in known:
            raise UsageError(
                f"the checkpoint was trained with {entry['class']}, which is unknown here; import it first"
            )
    return [known[entry["class"]](**entry["options"]) for entry in record]
