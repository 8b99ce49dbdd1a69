"""A fit says a line when training starts, and one an evaluation."""

import math
import time
from collections.abc import Iterator
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_only

from ftreg._base.durations import in_words
from ftreg.run.evaluations import evaluation_steps
from ftreg.run.record import recorded_methods
from ftreg.run.wording import error_in_words, methods_in_words, points
from glue_tasks.metrics import errors

SAMPLE = "sample (built in: generated sentences, not GLUE)"


class Console(pl.Callback):
    """Prints on the first process alone; with a progress bar, above it.

    Args:
        data: a GlueDataModule, or one with its `task`, `source`, `sizes` and `evaluation_splits`.
        backbone: as the command line has it.
    """

    def __init__(self, data: Any, backbone: str) -> None:
        self.data, self.backbone = data, backbone
        self._best: tuple[float, int] = (-math.inf, 0)
        self._since, self._first, self._total, self._shown = 0.0, 0, 0, 0
        self._names, self._less = data.task.metric_names, errors(data.task)

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self._since, self._first = time.monotonic(), trainer.global_step
        self._total, self._shown = int(trainer.estimated_stepping_batches), trainer.global_step
        _say(trainer, " · ".join(self._head(trainer)))

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        # A fit that is never evaluated shows its loss as often as others show their scores.
        step = trainer.global_step
        if not self.data.evaluation_splits and step != self._shown and step in evaluation_steps(self._total):
            self._shown = step
            loss = trainer.callback_metrics.get("train/loss")
            self._progress(trainer, [] if loss is None else [f"loss {float(loss):.4g}"])

    def on_validation_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn != "fit" or trainer.sanity_checking:
            return
        found, splits = trainer.callback_metrics, self.data.evaluation_splits
        # As the best checkpoint is chosen: NaN is lowest, the first of equals stays.
        score = float(found.get(f"{splits[0]}/score", math.nan))
        if score > self._best[0]:
            self._best = score, trainer.global_step
        said = [
            f"{split} " + ", ".join(f"{m} {self._said(m, found.get(f'{split}/{m}'))}" for m in self._names)
            for split in splits
        ]
        best, step = self._best
        if step:
            shown = error_in_words(-best) if self._names[0] in self._less else points(best)
            said.append(f"best so far {shown} at step {step:,}")
        self._progress(trainer, said)

    def _said(self, metric: str, value: Any) -> str:
        known = None if value is None or math.isnan(float(value)) else float(value)
        return error_in_words(known) if metric in self._less else points(known)

    def state_dict(self) -> dict[str, Any]:
        return {"best": list(self._best)}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        score, step = state_dict["best"]
        self._best = float(score), int(step)

    def _head(self, trainer: pl.Trainer) -> Iterator[str]:
        yield self.data.task.title
        yield f"source {SAMPLE if self.data.source == 'sample' else self.data.source}"
        yield "rows " + ", ".join(f"{split} {rows:,}" for split, rows in self.data.sizes.items())
        yield f"backbone {self.backbone}"
        yield methods_in_words(recorded_methods(trainer))
        yield f"{self._total:,} steps"
        if self._first:
            yield f"goes on from step {self._first:,}"
        if trainer.world_size > 1:
            yield f"{trainer.world_size} processes"
        if trainer.accumulate_grad_batches > 1:
            yield f"{trainer.accumulate_grad_batches} micro-batches a step"
        yield str(trainer.default_root_dir)

    def _progress(self, trainer: pl.Trainer, said: list[str]) -> None:
        step = trainer.global_step
        done, left = step - self._first, self._total - step
        parts = [f"step {step:,} of {self._total:,}", *said]
        if done and left > 0:
            parts.append(f"{in_words((time.monotonic() - self._since) / done * left)} left")
        _say(trainer, " · ".join(parts))


@rank_zero_only
def _say(trainer: pl.Trainer, text: str) -> None:
    bar = trainer.progress_bar_callback
    if bar is not None and getattr(bar, "is_enabled", True):
        bar.print(text)  # it knows how to write without tearing itself
    else:
        print(text, flush=True)
