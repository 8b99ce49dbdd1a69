"""A task of tokens is scored over a whole split: its entities, as conlleval and seqeval count them, and its tokens.

With n the entities of the data, p those that are predicted and r the predicted ones that have the type, the first and
the last word of one of the data:

    precision r / p,  recall r / n,  F1 2 r / (p + n);  0 where the denominator is.

A token that no model has seen (`UNSEEN`: it was cut off, or the tokenizer makes nothing of it) counts as predicted O.
"""

from collections.abc import Sequence
from typing import Any, Literal

import torch
from torch import Tensor
from torchmetrics import Metric

from glue_tasks.tags import OUTSIDE, entities

UNSEEN = -1
"""This stands for a predicted class id where there is no prediction."""
Which = Literal["precision", "recall", "f1"]


class EntityScore(Metric):
    """An entity score is the precision, recall or F1 of all entities of a split together.

    Args:
        tags: the task's labels, in id order.
        which: of the three.
        sync_on_compute: gather over the ranks in `compute`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    predicted: Tensor
    there: Tensor

    def __init__(self, tags: Sequence[str], which: Which, sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.tags, self.which = (*tags, OUTSIDE), which  # the last is that of UNSEEN
        for name in ("right", "predicted", "there"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor, words: Tensor) -> None:
        """Take class ids of tokens [words], row after row, and how many each row has [rows]."""
        for counts in entity_counts(self.tags, predictions, labels, words):
            self.right += counts[0]
            self.predicted += counts[1]
            self.there += counts[2]

    def compute(self) -> Tensor:
        """Return the score, a scalar float32."""
        among = {"precision": self.predicted, "recall": self.there, "f1": self.predicted + self.there}[self.which]
        right = 2 * self.right if self.which == "f1" else self.right
        return torch.where(among > 0, right.double() / among, 0.0).float()


def entity_counts(tags: Sequence[str], predictions: Any, labels: Any, words: Any) -> list[tuple[int, int, int]]:
    """Count, for each row, how many entities are predicted rightly, are predicted, and are there.

    Args:
        tags: by class id; the last stands for `UNSEEN`.
        predictions, labels: class ids [words], row after row.
        words: how many of them each row has, [rows].
    """
    found, start = [], 0
    spelt, given = ([tags[number] for number in ids.tolist()] for ids in (predictions, labels))
    for count in words.tolist():
        ours, theirs = ({*entities(row[start : start + count])} for row in (spelt, given))
        found.append((len(ours & theirs), len(ours), len(theirs)))
        start += count
    return found


class TokenAccuracy(Metric):
    """Token accuracy is the share of all tokens of a split that have their label.

    Args:
        labels: the task's, in id order.
        sync_on_compute: gather over the ranks in `compute`.
    """

    is_differentiable = False
    higher_is_better = True
    full_state_update = False
    right: Tensor
    total: Tensor

    def __init__(self, labels: Sequence[str], sync_on_compute: bool = True) -> None:
        super().__init__(sync_on_compute=sync_on_compute)
        self.outside = list(labels).index(OUTSIDE) if OUTSIDE in labels else UNSEEN
        for name in ("right", "total"):
            self.add_state(name, torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, predictions: Tensor, labels: Tensor, words: Tensor) -> None:
        """Take the same as `EntityScore.update`."""
        self.right += (torch.where(predictions == UNSEEN, self.outside, predictions) == labels).sum()
        self.total += labels.numel()

    def compute(self) -> Tensor:
        """Return the accuracy, a scalar float32; 0 without any token."""
        return torch.where(self.total > 0, self.right.double() / self.total, 0.0).float()
