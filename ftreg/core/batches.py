"""A batch of a foreign loop is checked, and its rows get names where they have none.

A batch holds what the model takes: `input_ids`, `attention_mask`, the criterion's targets. It may also have

- `row_ids` [batch], whole numbers that name the rows: their noise is then the same however batches are made, split
  over processes, or taken up again. Without them rows are counted as they come: one process still gives one result,
  resumed or not; but another order of the rows or number of processes draws other noise.
- `scale`, by which the sum over this batch's examples is multiplied: 1 / the examples of the whole optimizer step,
  where it is accumulated from several batches and the loop does not divide by their number. Without it the loss is
  the mean over this batch.
- `valid` [batch], false on rows that count for nothing.
"""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg._base.names import unknown
from ftreg.core.criteria import Criterion
from ftreg.encoder.attention import check_windows
from ftreg.encoder.encoder import Encoder

OURS = ("row_ids", "valid", "lengths", "scale", "task")
"""Keys that the engine reads beside what the model takes."""
EACH_RANK = 2**40
"""Rows that one process may count before their names meet the next one's."""


def check_batch(batch: Mapping[str, Any], encoder: Encoder, criterion: Criterion, dims: int) -> None:
    """Refuse a batch that the model cannot take, or takes otherwise than it is meant.

    Args:
        batch: of a loop.
        encoder: of a model that was given.
        criterion: its targets are in the batch too.
        dims: of `input_ids`.

    Raises:
        UsageError: names the key and what to do.
    """
    if not isinstance(batch, Mapping):
        raise UsageError(
            f"the batch is a {type(batch).__name__}; give a mapping: input_ids, attention_mask, labels, ..."
        )
    ids = batch.get("input_ids")
    if isinstance(ids, Tensor) and not len(ids):
        raise UsageError("the batch has no row; leave it out")
    if not isinstance(ids, Tensor) or ids.ndim != dims:
        found = f"shape {list(ids.shape)}" if isinstance(ids, Tensor) else "none"
        raise UsageError(f"the batch needs input_ids of {dims} dimensions, and has {found}; perturbations go on tokens")
    valid = ["input_ids", "attention_mask", *sorted(encoder.takes), *criterion.targets, *OURS]
    for key in batch if not criterion.reads_output else ():  # a user's function may read any other
        if key not in valid:
            raise UsageError(unknown("the model takes no", key, valid) + "; leave it out of the batch")
    mask = batch.get("attention_mask")
    if isinstance(mask, Tensor) and mask.shape == ids.shape:
        check_windows(encoder.model, mask.flatten(0, -2))
    names = batch.get("row_ids")
    if names is not None and (
        not isinstance(names, Tensor) or names.shape != ids.shape[:1] or names.is_floating_point()
    ):
        raise UsageError(f"row_ids must be {len(ids)} whole numbers in a tensor, one for each row of the batch")


class RowCounter:
    """A row counter names rows by how many have come before them on this process."""

    def __init__(self) -> None:
        self.rows = 0

    def named(self, batch: Mapping[str, Any], rank: int, kept: bool = False) -> dict[str, Any]:
        """Return the batch, with `row_ids` if it had none.

        Args:
            batch: of a loop.
            rank: of this process.
            kept: whether something is kept by row, which would never be found again under a counted name.

        Raises:
            UsageError: it is, and the batch has none.
        """
        named = dict(batch)
        if "row_ids" not in named:
            if kept:
                raise UsageError("the batch has no row_ids, by which rows are cached; add them, or give cache=False")
            ids = named["input_ids"]
            first = rank * EACH_RANK + self.rows
            named["row_ids"] = torch.arange(first, first + len(ids), device=ids.device)
            self.rows += len(ids)
        return named
