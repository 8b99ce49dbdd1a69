"""Methods are found by name or by what they do; those in a checkpoint are built again without a trainer."""

import importlib
import inspect
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from torch import nn

from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer, Slot
from ftreg.core.roles import TaskHeads
from glue_tasks.kinds import Kind, kind_of


def subclasses(cls: type[Regularizer] = Regularizer) -> Iterator[type[Regularizer]]:
    """Yield every method that has been imported, but for abstract ones."""
    for child in cls.__subclasses__():
        if not inspect.isabstract(child):
            yield child
        yield from subclasses(child)


def shipped_or_imported() -> dict[str, type[Regularizer]]:
    """Return every method by its name: those of this package, and one's own that have been imported."""
    importlib.import_module("ftreg.methods")
    return {cls.__name__: cls for cls in subclasses()}


def owners(slot: Slot) -> list[str]:
    """Return the names of all methods that own `slot`, sorted."""
    return sorted(name for name, cls in shipped_or_imported().items() if slot in cls.claims)


def task_heads() -> type[TaskHeads]:
    """Return the method that gives each of several tasks a head."""
    return next(cls for cls in shipped_or_imported().values() if issubclass(cls, TaskHeads))


def structural(method: Regularizer) -> bool:
    """Return whether the method changes the network or its start."""
    return type(method).attach is not Regularizer.attach


def describe(methods: Sequence[Regularizer]) -> list[dict[str, Any]]:
    """Return structural methods as plain values."""
    return [{"class": m.name, "options": m.options()} for m in methods if structural(m)]


def rebuild(record: Sequence[Mapping[str, Any]]) -> list[Regularizer]:
    """Build the methods that `describe` recorded.

    Beside our own only classes that are imported already are considered: a checkpoint must not choose what code runs.

    Raises:
        UsageError: a method is unknown here.
    """
    known = shipped_or_imported()
    for entry in record:
        if entry["class"] not in known:
            raise UsageError(
                f"the checkpoint was trained with {entry['class']}, which is unknown here; import it first"
            )
    return [known[entry["class"]](**entry["options"]) for entry in record]


def check_labels(checkpoint: Mapping[str, Any], labels: Sequence[str], kind: Kind) -> None:
    """Refuse a checkpoint whose head tells other classes apart.

    Raises:
        UsageError: with both.
    """
    record = checkpoint.get("ftreg", {})
    known = list(record.get("labels", labels))
    theirs = record.get("kind", kind_of(None, known))
    if known != list(labels) or theirs != kind:
        raise UsageError(
            f"the checkpoint is of another task: its labels are {known or 'a score'} ({theirs}), "
            f"this run's are {list(labels) or 'a score'} ({kind}); give the run that it came from, or no checkpoint"
        )


def check_fits(path: str, checkpoint: Mapping[str, Any], model: nn.Module) -> None:
    """Refuse a checkpoint of another network.

    Raises:
        UsageError: the first weight that only one of them has, or that has another shape.
    """
    own, saved = (
        {name: tuple(t.shape) for name, t in d.items()} for d in (model.state_dict(), checkpoint["state_dict"])
    )
    for name in own | saved:
        if own.get(name) != saved.get(name):
            there, here = (f"of shape {found[name]}" if name in found else "absent" for found in (saved, own))
            raise UsageError(
                f"{path} does not fit this model: {name} is {there} there and {here} here; give its own run's"
            )
