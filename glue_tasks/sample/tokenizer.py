"""The sample has a WordPiece tokenizer, and the configuration of the tiny encoder that goes with it.

`python -m glue_tasks.sample.tokenizer FOLDER` writes both; `ftreg/encoder/backbones/tiny` is its output.
"""

import json
import os
import string
import sys
from pathlib import Path
from typing import Any

from glue_tasks.sample import vocabulary

_SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
_SUFFIXES = ("##ed", "##ing", "##ly")
_POSITIONS = 512


def pieces() -> list[str]:
    """Return the vocabulary in id order: special tokens, characters and their continuations, suffixes, words.

    With all lower-case ASCII characters in it, no ASCII word of up to 100 letters becomes [UNK].
    """
    characters = string.ascii_lowercase + string.digits + string.punctuation
    known = [*_SPECIAL, *characters, *("##" + character for character in characters), *_SUFFIXES]
    return [*known, *(word for word in vocabulary() if word not in known)]


def write_tokenizer(folder: str | os.PathLike[str]) -> None:
    """Write `tokenizer.json`, `tokenizer_config.json` and `config.json` into the folder, made if missing.

    The files are spelled out here, not saved by a library, so the bytes depend on the sample alone.
    """
    vocab = {piece: number for number, piece in enumerate(pieces())}
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    _write(target / "tokenizer.json", _tokenizer(vocab))
    _write(target / "tokenizer_config.json", _TOKENIZER)
    _write(target / "config.json", {**_ENCODER, "vocab_size": len(vocab)})


def _tokenizer(vocab: dict[str, int]) -> dict[str, Any]:
    """Return BERT's lower-casing fast tokenizer over vocab, in the file format of the `tokenizers` library."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}

    def special(token: str, type_id: int = 0) -> dict[str, Any]:
        return {"SpecialToken": {"id": token, "type_id": type_id}}

    def sequence(name: str, type_id: int = 0) -> dict[str, Any]:
        return {"Sequence": {"id": name, "type_id": type_id}}

    single = [special("[CLS]"), sequence("A"), special("[SEP]")]
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [{"id": vocab[token], "content": token, **flags} for token in _SPECIAL],
        "normalizer": {
            "type": "BertNormalizer",
            "clean_text": True,
            "handle_chinese_chars": True,
            "strip_accents": None,
            "lowercase": True,
        },
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": single,
            "pair": [*single, sequence("B", 1), special("[SEP]", 1)],
            "special_tokens": {
                token: {"id": token, "ids": [vocab[token]], "tokens": [token]} for token in ("[CLS]", "[SEP]")
            },
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {
            "type": "WordPiece",
            "unk_token": "[UNK]",
            "continuing_subword_prefix": "##",
            "max_input_chars_per_word": 100,
            "vocab": vocab,
        },
    }


_TOKENIZER: dict[str, Any] = {
    "tokenizer_class": "BertTokenizer",
    "do_lower_case": True,
    "model_max_length": _POSITIONS,
    "model_input_names": ["input_ids", "token_type_ids", "attention_mask"],
    "pad_token": "[PAD]",
    "unk_token": "[UNK]",
    "cls_token": "[CLS]",
    "sep_token": "[SEP]",
    "mask_token": "[MASK]",
}
_ENCODER: dict[str, Any] = {
    "architectures": ["BertModel"],
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 64,
    "hidden_act": "gelu",
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
    "max_position_embeddings": _POSITIONS,
    "type_vocab_size": 2,
    "layer_norm_eps": 1e-12,
    "initializer_range": 0.02,
    "pad_token_id": 0,
}


def _write(path: Path, content: dict[str, Any]) -> None:
    part = path.with_name(path.name + ".part")
    part.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8", newline="\n")
    os.replace(part, path)


if __name__ == "__main__":
    write_tokenizer(sys.argv[1])
