"""Errors are reported with their sign reversed, as `-mse`, so that more is better in every number, test and figure."""

from dataclasses import replace

from ftreg.run.result import RunResult, Values

REVERSED = "-"
"""The sign before the name of a metric of which less is better."""
ERRORS = ("mse", "mae", "rmse", "loss", "error")
"""Names that a CSV file may have for what is better the less of it there is; a record says it of each metric."""


def upwards(result: RunResult) -> RunResult:
    """Return a run's record in which more of every metric is better."""
    less = result.less_is_better

    def turned(found: Values) -> Values:
        return {
            f"{REVERSED}{name}" if name in less else name: -value if name in less and value is not None else value
            for name, value in found.items()
        }

    reported = result.reported
    if not less or reported is None:
        return result
    ((metric, value),) = turned({reported.metric: reported.value}).items()
    return replace(
        result,
        scores={
            split: {checkpoint: turned(found) for checkpoint, found in by_checkpoint.items()}
            for split, by_checkpoint in result.scores.items()
        },
        majority={split: turned(found) for split, found in result.majority.items()},
        reported=replace(reported, metric=metric, value=value),
    )
