"""A split's predictions, each row exactly once, whatever the number of ranks."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import MetricCollection

from ftreg.core.step import task_losses


@dataclass(frozen=True)
class Predictions:
    """One split's predictions, gathered over all ranks and sorted by row."""

    row_ids: Int[Tensor, "rows"]
    labels: Int[Tensor, "rows"] | Float[Tensor, "rows"]
    logits: Float[Tensor, "rows classes"]

    def classes(self) -> Tensor:
        """Class ids, or values for regression: what metrics take."""
        return self.logits.squeeze(-1) if self.logits.shape[-1] == 1 else self.logits.argmax(-1)

    def scores(self, metrics: MetricCollection) -> dict[str, float]:
        """By metric; `metrics` is a fresh collection."""
        metrics.update(self.classes(), self.labels)
        return {name: float(value) for name, value in metrics.compute().items()}


class Collector:
    """Gathers logits batch by batch during an evaluation epoch."""

    def __init__(self) -> None:
        self._parts: dict[str, list[tuple[Tensor, ...]]] = {}

    def add(self, batch: Mapping[str, Any], logits: Float[Tensor, "batch classes"], number: int) -> None:
        """One batch of the loader with that number; its `split` names the split, `valid` marks rows that count."""
        seen = self._parts.setdefault(str(batch.get("split", f"split{number}")), [])
        rows = torch.arange(len(logits), device=logits.device)
        valid: Bool[Tensor, batch] = batch.get("valid", torch.ones_like(rows, dtype=torch.bool))
        row_ids = batch.get("row_ids", rows + sum(len(part[0]) for part in seen))
        # bf16 logits are kept in float32: metrics and files know no bf16.
        wide = logits.float() if logits.dtype.itemsize < 4 else logits
        seen.append((row_ids, batch["labels"], wide, valid))

    def gather(self, module: pl.LightningModule) -> dict[str, Predictions]:
        """By split, on every rank; the collector is empty afterwards."""
        parts, self._parts = self._parts, {}
        found = {}
        for split, batches in parts.items():
            row_ids, labels, logits, valid = (torch.cat(column) for column in zip(*batches, strict=True))
            if module.trainer.world_size > 1:
                # Filler rows make all ranks' shares equally long, so they stack.
                gathered: Any = module.all_gather((row_ids, labels, logits, valid))
                row_ids, labels, logits, valid = (tensor.flatten(0, 1) for tensor in gathered)
            order = row_ids[valid].argsort()
            found[split] = Predictions(*(t[valid][order].cpu() for t in (row_ids, labels, logits)))
        return found


def log_scores(module: pl.LightningModule, predictions: Mapping[str, Predictions]) -> None:
    """Log each split's loss, and its metrics and score where the data module has metrics."""
    data: Any = getattr(module.trainer, "datamodule", None)
    for split, found in predictions.items():
        module.log(f"{split}/loss", task_losses(found.logits, found.labels).mean().float())
        if hasattr(data, "metrics"):
            scores = found.scores(data.metrics(split))
            module.log_dict({f"{split}/{name}": value for name, value in scores.items()})
            chosen_by = data.score(scores) if hasattr(data, "score") else sum(scores.values()) / len(scores)
            module.log(f"{split}/score", chosen_by, prog_bar=True)
