"""A declaration is written into records so that two that mean the same task are the same there."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from glue_tasks.kinds import default_metrics, kind_of

LATER: Mapping[str, Any] = MappingProxyType({"kind": None, "separator": ",", "conll": None})
"""Fields that records from before they existed lack, and what they say when nothing is said."""


def written_out(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task's fields with its metrics, where they are the default, and without `LATER` ones that say nothing.

    A kind that follows from the labels says nothing.
    """
    found = dict(task)
    kind, labels = found.get("kind"), found.get("labels") or ()
    found["metrics"] = found.get("metrics") or list(default_metrics(kind, labels))
    if kind_of(kind, labels) == kind_of(None, labels):
        found["kind"] = None
    return {name: value for name, value in found.items() if name not in LATER or value != LATER[name]}
