"""The difference of two arms over seeds × items, from the predictions that their runs have saved."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray
from scipy import stats  # type: ignore[import-untyped]

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg.report.items import paired_bootstrap, seeds_by_items
from ftreg.report.model import Run
from ftreg.report.statistics import Interval

Array = NDArray[Any]


def over_items(pairs: Sequence[tuple[Run, Run]], resamples: int = 10_000) -> Interval | None:
    """The mean difference of the pairs' scores, A's minus B's, with an interval over their seeds and their items.

    Args:
        pairs: runs of A and of B.
        resamples: bootstrap draws; a tenth of them for metrics that are no mean over items.

    Returns:
        None if a run has not saved its predictions, or the runs are not of the same items.

    Raises:
        UsageError: a file of predictions that cannot be read.
    """
    if not pairs or any(run.metric not in METRICS or _file(run) is None for pair in pairs for run in pair):
        return None
    metric = pairs[0][0].metric
    saved = [[_read_predictions(run) for run in pair] for pair in pairs]
    row_ids, labels, _ = saved[0][0]
    for pair in saved:
        for ids, truth, _ in pair:
            if not (np.array_equal(ids, row_ids) and np.array_equal(truth, labels)):
                return None
    a, b = (np.stack([pair[side][2] for pair in saved]) for side in (0, 1))
    if metric == "accuracy":
        return seeds_by_items(a == labels, b == labels, resamples=resamples)
    return paired_bootstrap(METRICS[metric], a, b, labels, resamples=max(1, resamples // 10))


def _file(run: Run) -> Path | None:
    """The predictions that a run's score is of."""
    if run.record is None or run.record.reported is None:
        return None
    split, own = run.record.reported.split, "" if run.checkpoint == "best" else f".{run.checkpoint}"
    path = Path(run.place) / "predictions" / f"{split}{own}.parquet"
    return path if path.is_file() else None


def _read_predictions(run: Run) -> tuple[Array, Array, Array]:
    """Row ids, labels, and class ids or values; each [items], in the order of the rows."""
    path = _file(run)
    assert path is not None
    try:
        table = pq.read_table(ordinary(path, most=None), columns=["row_id", "label", "logits"])
        row_ids, labels = (table[name].to_numpy() for name in ("row_id", "label"))
        logits = np.array(table["logits"].to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: cannot be read as predictions ({why}); run it again") from None
    fault = _fault(row_ids, labels, logits)
    if fault:
        raise UsageError(f"{path}: {fault}; run it again")
    values = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)
    order = row_ids.argsort()
    return row_ids[order], labels[order], values[order]


def _fault(row_ids: Array, labels: Array, logits: Array) -> str:
    """What keeps columns from being predictions; empty if nothing does."""
    if not (row_ids.dtype.kind == "i" and labels.dtype.kind in "if" and logits.dtype.kind == "f" and logits.ndim == 2):
        return "not whole numbers as row_id, numbers as label, and as many numbers in every row of logits"
    if not len(row_ids):
        return "no rows"
    classes = logits.shape[1]
    if not classes:
        return "no logits"
    if classes > 1 and not (labels.dtype.kind == "i" and labels.min() >= 0 and labels.max() < classes):
        return f"labels that are no classes from 0 to {classes - 1}, as many as there are logits"
    return ""


def _accuracy(predicted: Array, labels: Array) -> float:
    return float((predicted == labels).mean())


def _f1(predicted: Array, labels: Array) -> float:
    """Of class 1; 0 where it is neither predicted nor there."""
    positive = int((predicted == 1).sum() + (labels == 1).sum())
    return 2 * float(((predicted == 1) & (labels == 1)).sum()) / positive if positive else 0.0


def _macro_f1(predicted: Array, labels: Array) -> float:
    """Of all classes that are predicted or there; of one label a row, micro-F1 is accuracy."""
    found = np.union1d(predicted, labels)
    return float(np.mean([_f1(predicted == one, labels == one) for one in found]))


def _matthews(predicted: Array, labels: Array) -> float:
    """0 where there is one class only."""
    classes = int(max(predicted.max(), labels.max())) + 1
    counts = np.bincount(labels.astype(int) * classes + predicted, minlength=classes**2).reshape(classes, classes)
    true, guessed, total = counts.sum(1).astype(float), counts.sum(0).astype(float), float(counts.sum())
    scale = (total**2 - true @ true) * (total**2 - guessed @ guessed)
    return float((counts.trace() * total - true @ guessed) / np.sqrt(scale)) if scale > 0 else 0.0


def _pearson(predicted: Array, labels: Array) -> float:
    """0 where either is constant."""
    a, b = predicted - predicted.mean(), labels - labels.mean()
    scale = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / scale if scale > 0 else 0.0


def _spearman(predicted: Array, labels: Array) -> float:
    return _pearson(stats.rankdata(predicted), stats.rankdata(labels))


METRICS: Mapping[str, Callable[[Array, Array], float]] = {
    "accuracy": _accuracy,
    "f1": _f1,
    "matthews": _matthews,
    "pearson": _pearson,
    "spearman": _spearman,
    "macro_f1": _macro_f1,
    "micro_f1": _accuracy,
    "-mse": lambda predicted, labels: -float(((predicted - labels) ** 2).mean()),
    "-mae": lambda predicted, labels: -float(np.abs(predicted - labels).mean()),
}
