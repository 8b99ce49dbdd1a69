"""GLUE, and tasks like it, are declared, read from five sources, served as a Lightning data module, and handed in.

Importing the package imports neither torch nor datasets; each name below is imported when first used.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from glue_tasks.data import GlueDataModule as GlueDataModule
    from glue_tasks.errors import DataError as DataError
    from glue_tasks.overlap import Overlap as Overlap
    from glue_tasks.overlap import check_overlap as check_overlap
    from glue_tasks.registry import find as find
    from glue_tasks.sources import fingerprint as fingerprint
    from glue_tasks.sources import load as load
    from glue_tasks.submission import write_submission as write_submission
    from glue_tasks.tasks import GLUE as GLUE
    from glue_tasks.tasks import Conll as Conll
    from glue_tasks.tasks import Hub as Hub
    from glue_tasks.tasks import Server as Server
    from glue_tasks.tasks import Task as Task
    from glue_tasks.tasks import Tsv as Tsv

_HOME = {
    "Conll": "tasks",
    "GLUE": "tasks",
    "DataError": "errors",
    "GlueDataModule": "data",
    "Hub": "tasks",
    "Overlap": "overlap",
    "Server": "tasks",
    "Task": "tasks",
    "Tsv": "tasks",
    "check_overlap": "overlap",
    "find": "registry",
    "fingerprint": "sources",
    "load": "sources",
    "write_submission": "submission",
}

__all__ = sorted(_HOME)  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> object:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOME})
