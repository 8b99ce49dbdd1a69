"""Tiny encoders with random weights are saved as pre-trained checkpoints."""

from pathlib import Path
from typing import Any

import tokenizers
import torch
import transformers
from transformers.utils import logging

ARCHITECTURES = (
    "bert",
    "roberta",
    "distilbert",
    "electra",
    "albert",
    "mpnet",
    "modernbert",
    "deberta",
    "deberta-v2",
    "deberta-v3",
)
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
RELATIVE: dict[str, Any] = {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "max_relative_positions": 16}
OWN: dict[str, dict[str, Any]] = {
    "distilbert": DISTIL | {"max_position_embeddings": 64},
    "electra": SIZES | {"embedding_size": 24},
    "albert": SIZES | {"embedding_size": 24, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1},
    "modernbert": SIZES
    | {"local_attention": 8, "embedding_dropout": 0.1, "attention_dropout": 0.1}
    | {"pad_token_id": 0, "bos_token_id": 2, "cls_token_id": 2, "eos_token_id": 3, "sep_token_id": 3},
    "deberta": SIZES | RELATIVE,
    "deberta-v2": SIZES | {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "position_buckets": 8},
    "deberta-v3": SIZES
    | RELATIVE
    | {"position_buckets": 8, "norm_rel_ebd": "layer_norm", "position_biased_input": False, "share_att_key": True}
    | {"conv_kernel_size": 3, "conv_act": "gelu", "legacy": False, "type_vocab_size": 0},
    # Not of `ARCHITECTURES`, for what some methods ask of them is not there.
    "big_bird": SIZES,
    "eurobert": SIZES | {"num_key_value_heads": 2, "pad_token_id": 1},
    "opt": SIZES | {"ffn_dim": 48, "word_embed_proj_dim": 32},
    "xlm": {"n_words": 120, "emb_dim": 32, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 64},
    "xlnet": {"vocab_size": 120, "d_model": 32, "n_layer": 2, "n_head": 2, "d_inner": 48},
}
"""Some architectures' sizes have other names. ModernBERT's second layer attends to near tokens alone."""
SPECIAL = {
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
"""The first five tokens."""
CHARACTERS = "abcdefghijklmnopqrstuvwxyz0123456789.,'"


def _token(number: int) -> str:
    """Return the token of an id: every third goes on with a word; with the others, they spell any word."""
    goes_on, place = number % 3 == 2, (number - 5) // 3 if number % 3 == 2 else (number - 5) * 2 // 3
    return f"{'##' * goes_on}{CHARACTERS[place] if place < len(CHARACTERS) else f't{number}'}"


TOKENS = [*SPECIAL.values(), *map(_token, range(5, 120))]
"""The tiny encoders' vocabulary, in id order."""


def configuration(architecture: str, **changes: Any) -> transformers.PretrainedConfig:
    """Return the configuration of a tiny encoder; arguments as of `checkpoint`."""
    sizes = OWN.get(architecture, SIZES)
    model = "deberta-v2" if architecture == "deberta-v3" else architecture
    config: transformers.PretrainedConfig = transformers.AutoConfig.for_model(model, **(sizes | changes))
    return config


def checkpoint(folder: Path, architecture: str, **changes: Any) -> str:
    """Save a randomly initialised base model (no head) and a tokenizer as a pre-trained checkpoint.

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
    words.normalizer = tokenizers.normalizers.Lowercase()
    words.pre_tokenizer = tokenizers.pre_tokenizers.BertPreTokenizer()
    around = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    words.post_processor = tokenizers.processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B [SEP]", special_tokens=around
    )
    transformers.PreTrainedTokenizerFast(tokenizer_object=words, **SPECIAL).save_pretrained(folder)
    return str(folder)
