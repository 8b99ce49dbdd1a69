"""Errors in a report: with their sign reversed, as `-mse`, so that more is better in every number, test and figure."""

from collections.abc import Mapping
from typing import Any

REVERSED = "-"
"""Before the name of a metric of which less is better."""
ERRORS = ("mse", "mae", "rmse", "loss", "error")
"""Names that a CSV file may have for what is better the less of it there is; a record says it of each metric."""


def upwards(record: Mapping[str, Any]) -> dict[str, Any]:
    """A run's record in which more of every metric is better.

    Raises KeyError, TypeError or AttributeError where it is no record of a run.
    """
    less = record.get("less_is_better") or ()
    if not less:
        return dict(record)

    def turned(found: Mapping[str, float | None]) -> dict[str, float | None]:
        return {
            f"{REVERSED}{name}" if name in less else name: -value if name in less and value is not None else value
            for name, value in found.items()
        }

    reported = record["reported"]
    metric, value = next(iter(turned({reported["metric"]: reported["value"]}).items()))
    return {
        **record,
        "scores": {
            split: {checkpoint: turned(found) for checkpoint, found in by_checkpoint.items()}
            for split, by_checkpoint in record["scores"].items()
        },
        "majority": {split: turned(found) for split, found in record["majority"].items()},
        "reported": {**reported, "metric": metric, "value": value},
    }
