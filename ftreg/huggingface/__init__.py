"""Hugging Face's Trainer with an engine in it: `Trainer`, and `EngineMixin` for a Trainer of one's own.

Names are imported when they are first used, for transformers' Trainer needs accelerate.
"""

import importlib
import importlib.util
from typing import TYPE_CHECKING, Any

from ftreg._base.errors import UsageError

if TYPE_CHECKING:
    from ftreg.huggingface.trainer import EngineMixin as EngineMixin
    from ftreg.huggingface.trainer import Trainer as Trainer

__all__ = ["EngineMixin", "Trainer"]


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ftreg.huggingface' has no attribute {name!r}")
    if importlib.util.find_spec("accelerate") is None:
        raise UsageError(
            f"ftreg.huggingface.{name} runs on accelerate, which is missing; pip install 'ftreg[huggingface]'"
        )
    return getattr(importlib.import_module("ftreg.huggingface.trainer"), name)


def __dir__() -> list[str]:
    return __all__
