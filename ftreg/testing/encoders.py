"""Tiny encoders with random weights, saved as pre-trained checkpoints."""

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers.utils import logging

ARCHITECTURES = ("bert", "roberta", "distilbert", "electra", "deberta-v2")
STEADY: dict[str, float] = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
"""Changes to a BERT that leave it without dropout, the one noise that depends on how a batch is sharded."""

SIZES: dict[str, Any] = {
    "vocab_size": 120,
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 64,
}
DISTIL: dict[str, Any] = {"vocab_size": 120, "dim": 32, "n_layers": 2, "n_heads": 2, "hidden_dim": 48}
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""The first five tokens."""
TOKENS = [*SPECIAL.values(), *(f"{'##' if number % 3 == 2 else ''}t{number}" for number in range(5, 120))]
"""The tiny encoders' vocabulary, in id order; every third token goes on with a word."""


def configuration(architecture: str, **changes: Any) -> transformers.PretrainedConfig:
    """Of a tiny encoder; arguments as of `checkpoint`."""
    sizes = DISTIL | {"max_position_embeddings": 64} if architecture == "distilbert" else SIZES
    if architecture == "electra":
        sizes = sizes | {"embedding_size": 24}
    if architecture == "deberta-v2":
        sizes = sizes | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8}
    config: transformers.PretrainedConfig = transformers.AutoConfig.for_model(architecture, **(sizes | changes))
    return config


def checkpoint(folder: Path, architecture: str, **changes: Any) -> str:
    """A randomly initialised base model (no head) and a tokenizer, saved as a pre-trained checkpoint.

    Args:
        folder: where to.
        architecture: one of `ARCHITECTURES`.
        changes: entries of its configuration.

    Returns:
        the folder, which is a backbone.
    """
    config = configuration(architecture, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        logging.disable_progress_bar()
        transformers.AutoModel.from_config(config).save_pretrained(folder)
    vocabulary = {token: number for number, token in enumerate(TOKENS)}
    words = tokenizers.Tokenizer(tokenizers.models.WordPiece(vocabulary, unk_token="[UNK]"))
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL).save_pretrained(folder)
    return str(folder)
