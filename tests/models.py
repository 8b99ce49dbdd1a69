"""Tiny random encoders of several architectures, saved as checkpoints, and batches for them."""

from pathlib import Path
from typing import Any

import torch
import transformers
from transformers.utils import logging

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "deberta-v2")
SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
DISTIL: dict[str, Any] = {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}


def checkpoint(folder: Path, architecture: str, **changes: Any) -> str:
    """A randomly initialised base model (no head), saved as a pre-trained checkpoint."""
    sizes = DISTIL | {"max_position_embeddings": 64} if architecture == "distilbert" else SIZES
    if architecture == "electra":
        sizes = sizes | {"embedding_size": 24}
    if architecture == "deberta-v2":
        sizes = sizes | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    config = transformers.AutoConfig.for_model(architecture, **(sizes | changes))
    with torch.random.fork_rng():
        torch.manual_seed(7)
        logging.disable_progress_bar()
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    return str(folder)


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
