"""Two arms are compared over seeds and test items at once: a test set of 277 items is a sample too.

Each bootstrap draw resamples the seeds and, independently, the items, the same for both arms: the pigeonhole
bootstrap (Owen, *The pigeonhole bootstrap*, Annals of Applied Statistics 1, 2007). No bootstrap of
crossed data is exact; this one errs on the wide side. With one seed it is the paired bootstrap over items alone.
"""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ftreg._base.errors import UsageError
from ftreg.report.inputs import count, finite_array
from ftreg.report.statistics import Interval, percentiles

Metric = Callable[[NDArray[Any], NDArray[Any]], float]


def seeds_by_items(
    correct_a: ArrayLike, correct_b: ArrayLike, level: float = 0.95, resamples: int = 10_000, seed: int = 0
) -> Interval:
    """Return A's mean score minus B's, for scores that are means over items, such as accuracy.

    Args:
        correct_a, correct_b: each item's score under each seed, [seeds, items]; rows and columns go together.

    Raises:
        UsageError: shapes that differ or are not [seeds, items], or a value that is not finite.
    """
    a, b = finite_array("seeds_by_items: correct_a", correct_a), finite_array("seeds_by_items: correct_b", correct_b)
    _check_shapes("seeds_by_items", a, b)
    gap = a - b
    drawn = [(weights @ gap)[items].mean() for weights, items in _draws(a.shape, resamples, seed)]
    return percentiles(gap.mean(), np.array(drawn), level)


def paired_bootstrap(
    metric: Metric,
    predictions_a: ArrayLike,
    predictions_b: ArrayLike,
    labels: ArrayLike,
    level: float = 0.95,
    resamples: int = 1_000,
    seed: int = 0,
) -> Interval:
    """Return A's mean metric over seeds minus B's, for any metric of a set of items: F1, Matthews, Pearson.

    With accuracy as the metric it is `seeds_by_items`, at 2 · seeds calls of `metric` a draw.

    Args:
        metric: of (predictions [items], labels [items]), defined where either is constant: a draw may make it so.
        predictions_a, predictions_b: [seeds, items]; further dimensions, such as logits, reach `metric` as they are.
        labels: [items].

    Raises:
        UsageError: shapes that do not go together, or a metric that is not finite.
    """
    a, b, y = np.asarray(predictions_a), np.asarray(predictions_b), np.asarray(labels)
    _check_shapes("paired_bootstrap", a, b)
    if len(y) != a.shape[1]:
        raise UsageError(f"paired_bootstrap: {len(y)} labels for predictions of {a.shape[1]} items")

    def difference(weights: NDArray[np.float64], items: NDArray[np.intp]) -> float:
        truth = y[items]
        found = sum(w * (metric(a[s, items], truth) - metric(b[s, items], truth)) for s, w in enumerate(weights) if w)
        if not np.isfinite(found):
            raise UsageError(
                "paired_bootstrap: the metric is not finite on some of the items; give one that is defined where "
                "predictions or labels are constant, such as 0"
            )
        return float(found)

    seeds, items = a.shape[:2]
    whole = difference(np.full(seeds, 1 / seeds), np.arange(items))
    drawn = [difference(*draw) for draw in _draws((seeds, items), resamples, seed)]
    return percentiles(whole, np.array(drawn), level)


def _draws(shape: tuple[int, ...], resamples: int, seed: int) -> Iterator[tuple[NDArray[np.float64], NDArray[np.intp]]]:
    """Yield the share of each seed, [seeds], and the places of the items, [items], of each draw."""
    seeds, items = shape
    rng = np.random.default_rng(seed)
    for _ in range(count("resamples", resamples)):
        shares = np.bincount(rng.integers(0, seeds, seeds), minlength=seeds) / seeds
        yield shares, rng.integers(0, items, items)


def _check_shapes(name: str, a: NDArray[Any], b: NDArray[Any]) -> None:
    if a.ndim < 2 or a.shape != b.shape or not a.size:
        raise UsageError(f"{name}: shapes {a.shape} and {b.shape}; both must be the same [seeds, items]")
