"""The record of one run is written into its folder: predictions and `result.json`, each file whole or not there.

RUN/config.yaml  metrics.csv  checkpoints/{best,last}.ckpt  predictions/<split>[.last].parquet  result.json
and, while it runs, .run.lock (`ftreg.run.folder`) and, on several processes, .ranks/ (`ftreg.run.rank_watch`).
"""

import math
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ProgressBar

from ftreg import __version__
from ftreg._base.atomic import write_atomically
from ftreg._base.json_files import null_for_nan
from ftreg._base.seeds import Seeds
from ftreg.core.checkpoint_reader import load_checkpoint
from ftreg.core.method import Regularizer
from ftreg.lightning.finetuner import FineTuner
from ftreg.lightning.predictions import Predictions
from ftreg.run import ending
from ftreg.run.cost import Cost
from ftreg.run.places import RESULT
from ftreg.run.result import SCHEMA, MethodRecord, ReportedScore, RunResult, Share, StageResult
from glue_tasks.metrics import errors

PACKAGES = ("torch", "pytorch-lightning", "transformers", "torchmetrics", "datasets", "numpy")

SplitScores = dict[str, dict[str, float]]
"""{split: {metric: value}}"""


def record_run(
    trainer: pl.Trainer,
    model: FineTuner,
    data: Any,
    cost: Cost,
    best: str,
    config: Mapping[str, Any],
    identity: str,
    start: StageResult | None = None,
    sharding: Sequence[Share] = (),
) -> RunResult:
    """Evaluate the last and the best weights of a finished fit on the final splits, and write them down.

    Call it on every rank; rank 0 writes. The model ends with the best weights.

    Args:
        data: a GlueDataModule, or one with its `task`, `protocol`, `evaluation_splits`, `dev_splits`,
            `final_splits` and `majority`.
        best: path of the best checkpoint; empty if the fit was never evaluated, and the last is the only one.
        config: the resolved configuration.
        start: of the stage that the run starts from, what the record says of it.
        sharding: how the batches were shared out, one after the other.

    """
    root = Path(trainer.default_root_dir)
    spent = cost.summary(trainer)
    found = {"last": evaluate(trainer, model, data)}
    if best:
        model.load_state_dict(load_checkpoint(best, "best checkpoint")["state_dict"])
    found["best"] = evaluate(trainer, model, data)

    scores = {
        split: {checkpoint: scores[split] for checkpoint, (scores, _) in found.items()} for split in data.final_splits
    }
    majority = {split: data.majority(split) for split in data.final_splits}
    reported, lost, less = None, False, errors(data.task)
    if data.final_splits:
        split, metric = (*data.dev_splits, *data.final_splits)[0], data.task.metric_names[0]
        # Under `dev`, the best checkpoint was chosen on the rows that are reported: the last one was not.
        checkpoint = "best" if data.protocol == "holdout" else "last"
        reported = ReportedScore(split, checkpoint, metric, null_for_nan(scores[split][checkpoint][metric]))
        lost = failed(scores[split]["last"][metric], majority[split][metric], metric in less)
    result = RunResult(
        schema=SCHEMA,
        identity=identity,
        status=ending.status(trainer),
        task=data.task.name,
        source=config["data"]["source"],
        backbone=config["model"]["backbone"],
        protocol=data.protocol,
        methods=recorded_methods(trainer),
        seeds=Seeds(**config["seeds"]),
        scores=null_for_nan(scores),
        reported=reported,
        majority=null_for_nan(majority),
        less_is_better=less,
        failed=lost,
        cost=spent,
        sharding=tuple(sharding),
        start=start,
        versions=versions(),
        callbacks=ending.other_callbacks(config),
        stopped=ending.stopped(trainer),
        head=None if config["model"]["head"] == "new" else config["model"]["head"],
    )
    if trainer.is_global_zero:
        for checkpoint, (_, predictions) in found.items():
            for split, part in predictions.items():
                name = f"{split}.parquet" if checkpoint == "best" else f"{split}.{checkpoint}.parquet"
                write_predictions(root / "predictions" / name, part)
        for logger in trainer.loggers:
            logger.log_metrics(
                {
                    f"{checkpoint}/{split}/{metric}": value
                    for split, by_checkpoint in scores.items()
                    for checkpoint, metrics in by_checkpoint.items()
                    for metric, value in metrics.items()
                },
                step=trainer.global_step,
            )
            logger.save()
        # Last of all: who finds it has the whole record.
        result.write(root / RESULT)
    trainer.strategy.barrier("record")
    return result


def evaluate(trainer: pl.Trainer, model: FineTuner, data: Any) -> tuple[SplitScores, dict[str, Predictions]]:
    """Score and predict every final split with the present weights; the loggers hear nothing of it."""
    scores: SplitScores = {}
    predictions: dict[str, Predictions] = {}
    passes: list[Callable[..., Any]] = [trainer.validate] if data.evaluation_splits else []
    if set(data.final_splits) - set(data.evaluation_splits):
        passes.append(trainer.test)
    loggers, trainer.loggers = trainer.loggers, []
    at: Any = trainer
    callbacks = at.callbacks
    # A callback may put other weights in for an evaluation, as averages do; here those of the checkpoint are scored.
    at.callbacks = [callback for callback in callbacks if isinstance(callback, Regularizer | ProgressBar)]
    try:
        for run in passes:
            run(model, datamodule=data, verbose=False)
            predictions.update(model.predictions)
            for split in model.predictions:
                scores[split] = {m: float(trainer.callback_metrics[f"{split}/{m}"]) for m in data.task.metric_names}
    finally:
        trainer.loggers, at.callbacks = loggers, callbacks
    return scores, predictions


def failed(final: float, majority: float, less_is_better: bool = False) -> bool:
    """Return whether a run ended no better than the majority classifier (a correlation of 0 where that has none)."""
    bar = 0.0 if math.isnan(majority) else majority
    return math.isnan(final) or (final >= bar if less_is_better else final <= bar)


def recorded_methods(trainer: pl.Trainer) -> tuple[MethodRecord, ...]:
    """Return the name and options of each method of a trainer, in order."""
    callbacks: list[pl.Callback] = trainer.callbacks  # type: ignore[attr-defined]
    return tuple(MethodRecord(c.name, c.options()) for c in callbacks if isinstance(c, Regularizer))


def versions() -> dict[str, str]:
    """Return the versions of this package, Python and what computes."""
    found = {"ftreg": __version__, "python": platform.python_version()}
    found |= {package: version(package) for package in PACKAGES}
    if torch.cuda.is_available():
        found |= {"cuda": str(torch.version.cuda), "gpu": torch.cuda.get_device_name()}
    return found


def write_predictions(path: Path, predictions: Predictions) -> None:
    """Write the predictions of a split as a parquet file, a line a row.

    Columns `row_id` (from 0, in the file or dataset that the split was read from or carved out of), `label` (-1 where
    the split has none) and `logits` (a list with one number per class). Of sets of labels, `label` is a list of 0 and
    1. Of words, both are lists with an entry for each word of the row: a class id, and a list of logits, or null for a
    word that was cut off or has no token.
    """
    labels: Any = predictions.labels.numpy()
    logits = predictions.logits.tolist()
    if predictions.words is not None and predictions.seen is not None:
        ends = predictions.words.cumsum(0).tolist()
        rows = [slice(start, end) for start, end in zip([0, *ends], ends, strict=False)]
        seen = [row if known else None for row, known in zip(logits, predictions.seen.tolist(), strict=True)]
        labels, logits = [labels[row].tolist() for row in rows], [seen[row] for row in rows]
    elif labels.ndim == 2:
        labels = labels.astype(int).tolist()
    table = pa.table({"row_id": predictions.row_ids.numpy(), "label": labels, "logits": logits})
    write_atomically(path, lambda temporary: pq.write_table(table, temporary))
