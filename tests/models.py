"""Tiny random encoders, and batches for them."""

from typing import Any

import torch

from ftreg.testing.encoders import ARCHITECTURES as ARCHITECTURES
from ftreg.testing.encoders import checkpoint as checkpoint


def batch(lengths: list[int], classes: int = 2, seed: int = 0) -> dict[str, Any]:
    """Random tokens of these lengths, padded right with id 1."""
    generator = torch.Generator().manual_seed(seed)
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    ids = torch.randint(5, 120, mask.shape, generator=generator)
    labels = torch.randint(0, classes, (len(lengths),), generator=generator)
    return {
        "input_ids": torch.where(mask, ids, 1),
        "attention_mask": mask.long(),
        "labels": labels,
        "row_ids": torch.arange(len(lengths)),
        "lengths": lengths,
    }
