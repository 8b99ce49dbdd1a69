"""A split's predictions have each row exactly once, whatever the number of ranks."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytorch_lightning as pl
import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor
from torchmetrics import MetricCollection

from ftreg.core.criteria import MultiLabel
from ftreg.functional.losses import task_losses
from glue_tasks.entity_scores import UNSEEN
from glue_tasks.words import IGNORED


@dataclass(frozen=True)
class Predictions:
    """Predictions are one split's, gathered over all ranks and sorted by row.

    An item is a row; or, where rows have a label a word, a word, those of a row one after the other.
    """

    row_ids: Int[Tensor, "rows"]
    labels: Int[Tensor, "items"] | Float[Tensor, "items"] | Float[Tensor, "items labels"]
    """Class ids, targets, or 0 and 1 for every label of a set."""
    logits: Float[Tensor, "items classes"]
    words: Int[Tensor, "rows"] | None = None
    """How many items each row has; None where it is one."""
    seen: Bool[Tensor, "items"] | None = None
    """False for words that were cut off, or that have no token: their logits are NaN."""

    def classes(self) -> Tensor:
        """Return class ids, `UNSEEN` for words not seen; a regression's values; for sets of labels, 1 above p = 0.5.

        It is what metrics take.
        """
        if self.seen is not None:
            return torch.where(self.seen, self.logits.argmax(-1), UNSEEN)
        if self.labels.ndim == 2:
            return (self.logits > 0).long()
        return self.logits.squeeze(-1) if self.logits.shape[-1] == 1 else self.logits.argmax(-1)

    def scores(self, metrics: MetricCollection) -> dict[str, float]:
        """Compute the scores by metric; `metrics` is a fresh collection."""
        labels = self.labels.long() if self.labels.ndim == 2 else self.labels
        metrics.update(self.classes(), labels, *([] if self.words is None else [self.words]))
        return {name: float(value) for name, value in metrics.compute().items()}

    def losses(self) -> Float[Tensor, "rows"]:
        """Compute the task loss of each row: the mean over its words that were seen, or over the labels of its set."""
        if self.words is not None and self.seen is not None:
            row = torch.arange(len(self.words)).repeat_interleave(self.words)[self.seen]
            losses = F.cross_entropy(self.logits[self.seen], self.labels[self.seen], reduction="none")
            count = torch.bincount(row, minlength=len(self.words)).clamp(min=1)
            return losses.new_zeros(len(self.words)).index_add(0, row, losses) / count
        if self.labels.ndim == 2:
            return MultiLabel().losses(self.logits, {"labels": self.labels})
        return task_losses(self.logits, self.labels)


class Collector:
    """A collector gathers logits batch by batch during an evaluation epoch."""

    def __init__(self) -> None:
        self._parts: dict[str, list[_Part]] = {}

    def add(
        self,
        batch: Mapping[str, Any],
        logits: Float[Tensor, "batch classes"] | Float[Tensor, "batch tokens classes"],
        number: int,
    ) -> None:
        """Add one batch of the loader with that number; its `split` names the split, `valid` marks rows that count.

        Of tokens, the first one of every word counts: those with a label that is not -100, and whatever `word_labels`
        and `word_positions` have besides (see `glue_tasks.loader.Batch`).
        """
        seen = self._parts.setdefault(str(batch.get("split", f"split{number}")), [])
        rows = torch.arange(len(logits), device=logits.device)
        valid: Bool[Tensor, batch] = batch.get("valid", torch.ones_like(rows, dtype=torch.bool))
        row_ids = batch.get("row_ids", rows + sum(len(part.row_ids) for part in seen))
        # bf16 logits are kept in float32: metrics and files know no bf16.
        wide = logits.float() if logits.dtype.itemsize < 4 else logits
        if wide.ndim == 3:
            seen.append(_Part(row_ids, valid, *_of_words(batch, wide)))
        else:
            seen.append(_Part(row_ids, valid, None, (batch["labels"], wide)))

    def gather(self, module: pl.LightningModule) -> dict[str, Predictions]:
        """Gather predictions by split, on every rank; the collector is empty afterwards."""
        parts, self._parts = self._parts, {}
        found = {}
        for split, batches in parts.items():
            row_ids, valid = (_joined(module, [getattr(b, name) for b in batches]) for name in ("row_ids", "valid"))
            counts = [part.words for part in batches if part.words is not None]
            items = [_joined(module, column) for column in zip(*(part.items for part in batches), strict=True)]
            rows = valid.nonzero().squeeze(1)
            rows = rows[row_ids[rows].argsort()]
            if not counts:
                found[split] = Predictions(*(t[rows].cpu() for t in (row_ids, *items)))
                continue
            words = _joined(module, counts)
            place = torch.full_like(row_ids, -1)  # of each row among those that count
            place[rows] = torch.arange(len(rows), device=rows.device)
            places = place.repeat_interleave(words)
            order = places.argsort(stable=True)[int((places < 0).sum()) :]
            labels, logits, was_seen = (item[order].cpu() for item in items)
            found[split] = Predictions(row_ids[rows].cpu(), labels, logits, words[rows].cpu(), was_seen)
        return found


@dataclass(frozen=True)
class _Part:
    """A part is one batch: its rows, and the columns of its items, which are its rows or, with `words`, their words."""

    row_ids: Tensor
    valid: Tensor
    words: Tensor | None
    items: tuple[Tensor, ...]


def _of_words(
    batch: Mapping[str, Any], logits: Float[Tensor, "batch tokens classes"]
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return how many words each row has, [batch]; and of all words, labels, logits, and whether they were seen."""
    labels = batch.get("word_labels", batch["labels"])
    real = labels != IGNORED
    row, word = real.nonzero(as_tuple=True)
    at = batch["word_positions"][real] if "word_labels" in batch else word
    seen = at >= 0
    found = logits[row, at.clamp(min=0)].masked_fill(~seen[:, None], torch.nan)
    return real.sum(1), (labels[real], found, seen)


def _joined(module: pl.LightningModule, parts: Sequence[Tensor]) -> Tensor:
    """Return the parts of all ranks, one after the other, be they of the same length or not."""
    mine = torch.cat(list(parts))
    if module.trainer.world_size == 1:
        return mine
    lengths: Any = module.all_gather(torch.tensor(len(mine), device=mine.device))
    padded = mine.new_zeros((int(lengths.max()), *mine.shape[1:]))
    padded[: len(mine)] = mine
    gathered: Any = module.all_gather(padded)
    return torch.cat([part[:length] for part, length in zip(gathered, lengths.tolist(), strict=True)])


def log_scores(module: pl.LightningModule, predictions: Mapping[str, Predictions]) -> None:
    """Log each split's loss, and its metrics and score where the data module has metrics."""
    data: Any = getattr(module.trainer, "datamodule", None)
    for split, found in predictions.items():
        module.log(f"{split}/loss", found.losses().mean().float())
        if hasattr(data, "metrics"):
            scores = found.scores(data.metrics(split))
            module.log_dict({f"{split}/{name}": value for name, value in scores.items()})
            chosen_by = data.score(scores) if hasattr(data, "score") else sum(scores.values()) / len(scores)
            module.log(f"{split}/score", chosen_by, prog_bar=True)
