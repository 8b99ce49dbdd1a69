"""JSON is written whole or not at all, with null for the numbers that it does not have. Nothing here imports torch."""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ftreg._base.atomic import write_atomically


def null_for_nan(value: Any) -> Any:
    """Return the value with null for NaN and infinities, which JSON does not have, and with lists for tuples."""
    if isinstance(value, Mapping):
        return {key: null_for_nan(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [null_for_nan(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, indented, whole or not at all.

    Raises:
        UsageError: the disk is full, say.
    """
    write_atomically(path, lambda temporary: temporary.write_text(f"{json.dumps(content, indent=2)}\n"))
