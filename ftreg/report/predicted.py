"""Two arms are compared over seeds × items, by the predictions that their runs have saved."""

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
    """Return the mean difference of the pairs' scores, A's minus B's, with an interval over seeds and items.

    Args:
        pairs: runs of A and of B.
        resamples: bootstrap draws; a tenth of them for metrics that are no mean over items.

    Returns:
        None if a run has not saved its predictions, or the runs are not of the same items; or where items are tokens,
        which are no sample: neighbours make one entity.

    Raises:
        UsageError: a file of predictions that cannot be read.
    """
    known = {*METRICS, *SET_METRICS}
    if not pairs or any(run.metric not in known or _file(run) is None for pair in pairs for run in pair):
        return None
    metric = pairs[0][0].metric
    read = [[_read_predictions(run) for run in pair] for pair in pairs]
    saved = [[found for found in pair if found is not None] for pair in read]
    if any(len(pair) < 2 for pair in saved):
        return None
    row_ids, labels, _ = saved[0][0]
    among = METRICS if labels.ndim == 1 else SET_METRICS
    if metric not in among:
        return None
    for pair in saved:
        for ids, truth, _ in pair:
            if not (np.array_equal(ids, row_ids) and np.array_equal(truth, labels)):
                return None
    a, b = (np.stack([pair[side][2] for pair in saved]) for side in (0, 1))
    if metric == "accuracy" and labels.ndim == 1:
        return seeds_by_items(a == labels, b == labels, resamples=resamples)
    return paired_bootstrap(among[metric], a, b, labels, resamples=max(1, resamples // 10))


def _file(run: Run) -> Path | None:
    """Return the file of the predictions that a run's score is of."""
    if run.record is None or run.record.reported is None:
        return None
    split, own = run.record.reported.split, "" if run.checkpoint == "best" else f".{run.checkpoint}"
    path = Path(run.place) / "predictions" / f"{split}{own}.parquet"
    return path if path.is_file() else None


def _read_predictions(run: Run) -> tuple[Array, Array, Array] | None:
    """Read row ids, labels, and class ids or values; each [items], in the order of the rows.

    None where rows have tokens. Of sets of labels, the last two are of 0 and 1, [items, labels].
    """
    path = _file(run)
    assert path is not None
    try:
        table = pq.read_table(ordinary(path, most=None), columns=["row_id", "label", "logits"])
        if _lists_of_lists(table.schema.field("logits").type):
            return None
        row_ids, label = table["row_id"].to_numpy(), table["label"]
        labels = np.array(label.to_pylist()) if pa.types.is_list(label.type) else label.to_numpy()
        logits = np.array(table["logits"].to_pylist())
    except (pa.ArrowException, OSError, ValueError) as error:
        why = " ".join(str(error).split())[:200]
        raise UsageError(f"{path}: cannot be read as predictions ({why}); run it again") from None
    fault = _fault(row_ids, labels, logits)
    if fault:
        raise UsageError(f"{path}: {fault}; run it again")
    if labels.ndim == 2:
        values: Array = (logits > 0).astype(np.int64)
    else:
        values = logits[:, 0] if logits.shape[1] == 1 else logits.argmax(1)
    order = row_ids.argsort()
    return row_ids[order], labels[order], values[order]


def _lists_of_lists(kind: pa.DataType) -> bool:
    return bool(pa.types.is_list(kind) and pa.types.is_list(kind.value_type))


def _fault(row_ids: Array, labels: Array, logits: Array) -> str:
    """Return what keeps columns from being predictions; nothing if they are."""
    if not (row_ids.dtype.kind == "i" and labels.dtype.kind in "if" and logits.dtype.kind == "f" and logits.ndim == 2):
        return "not whole numbers as row_id, numbers as label, and as many numbers in every row of logits"
    if not len(row_ids):
        return "no rows"
    if labels.ndim == 2:
        fits = labels.dtype.kind == "i" and labels.shape == logits.shape and {*np.unique(labels)} <= {0, 1}
        return "" if fits else "labels that are not a 0 or 1 for each of the logits"
    classes = logits.shape[1]
    if not classes:
        return "no logits"
    if classes > 1 and not (labels.dtype.kind == "i" and labels.min() >= 0 and labels.max() < classes):
        return f"labels that are no classes from 0 to {classes - 1}, as many as there are logits"
    return ""


def _accuracy(predicted: Array, labels: Array) -> float:
    return float((predicted == labels).mean())


def _f1(predicted: Array, labels: Array) -> float:
    """Return F1 of class 1; 0 where it is neither predicted nor there."""
    positive = int((predicted == 1).sum() + (labels == 1).sum())
    return 2 * float(((predicted == 1) & (labels == 1)).sum()) / positive if positive else 0.0


def _macro_f1(predicted: Array, labels: Array) -> float:
    """Return the mean F1 of all classes that are predicted or there; of one label a row, micro-F1 is accuracy."""
    found = np.union1d(predicted, labels)
    return float(np.mean([_f1(predicted == one, labels == one) for one in found]))


def _matthews(predicted: Array, labels: Array) -> float:
    """Return Matthews' correlation; 0 where there is one class only."""
    classes = int(max(predicted.max(), labels.max())) + 1
    counts = np.bincount(labels.astype(int) * classes + predicted, minlength=classes**2).reshape(classes, classes)
    true, guessed, total = counts.sum(1).astype(float), counts.sum(0).astype(float), float(counts.sum())
    scale = (total**2 - true @ true) * (total**2 - guessed @ guessed)
    return float((counts.trace() * total - true @ guessed) / np.sqrt(scale)) if scale > 0 else 0.0


def _pearson(predicted: Array, labels: Array) -> float:
    """Return Pearson's correlation; 0 where either is constant."""
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


def _micro_f1(predicted: Array, labels: Array) -> float:
    """Return F1 of all decisions together; of sets of labels, [items, labels]."""
    return _f1(predicted.ravel(), labels.ravel())


def _mean_f1(predicted: Array, labels: Array) -> float:
    """Return the mean F1 over labels; 0 for one that is neither predicted nor there."""
    return float(np.mean([_f1(p, y) for p, y in zip(predicted.T, labels.T, strict=True)]))


SET_METRICS: Mapping[str, Callable[[Array, Array], float]] = {
    "micro_f1": _micro_f1,
    "macro_f1": _mean_f1,
    "subset_accuracy": lambda predicted, labels: float((predicted == labels).all(axis=1).mean()),
}
"""The metrics of sets of labels: both arguments are [items, labels] of 0 and 1."""
