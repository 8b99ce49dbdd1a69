"""A vocabulary is what masking has to know of a backbone's tokens: special ones, and which tokens start a word."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Int
from torch import Tensor
from transformers import AutoTokenizer

from ftreg._base.errors import UsageError
from ftreg.encoder.backbone import resolve

SPACES = ("Ġ", "▁")
"""What a word's first token begins with in a vocabulary of byte pairs, or of SentencePiece."""


@dataclass(frozen=True)
class Vocabulary:
    """A vocabulary has a backbone's special tokens, and which tokens start a word.

    Args:
        backbone: whose.
        special: which tokens are never chosen: [CLS], [SEP], padding, [MASK], and [UNK], which nobody could predict.
        starts: which tokens start a word; None where they do not tell.
        mask: the id of [MASK], if there is one.
        unk: of [UNK].
    """

    backbone: str
    special: Bool[Tensor, "vocabulary"]
    starts: Bool[Tensor, "vocabulary"] | None
    mask: int | None
    unk: int | None

    @property
    def ordinary(self) -> Int[Tensor, "ordinary"]:
        """The ids of all other tokens."""
        return (~self.special).nonzero().squeeze(1)


def vocabulary(backbone: str, size: int) -> Vocabulary:
    """Read the vocabulary of the fast tokenizer that lies beside a backbone.

    Args:
        backbone: `demo`, `tiny`, a folder or a Hub id.
        size: rows of its word embeddings, of which a tokenizer may fill fewer.

    Raises:
        UsageError: there is no such tokenizer.
    """
    try:
        tokenizer = AutoTokenizer.from_pretrained(resolve(backbone).path)
    except UsageError:
        raise
    except Exception as error:  # damaged tokenizer files raise bare Exception
        reason = " ".join(str(error).split())[:200]
        raise UsageError(f"backbone {backbone}: no tokenizer can be loaded from there ({reason})") from error
    # From a folder that has only config.json, transformers makes a tokenizer of nothing but special tokens.
    if not tokenizer.is_fast or len(tokenizer) <= len(tokenizer.all_special_ids):
        raise UsageError(f"backbone {backbone}: no fast tokenizer there, which says what may be masked")
    tokens = tokenizer.convert_ids_to_tokens([*range(min(size, len(tokenizer)))])
    special = torch.ones(size, dtype=torch.bool)
    special[: len(tokens)] = False
    special[[token for token in tokenizer.all_special_ids if token < size]] = True
    prefix = getattr(tokenizer.backend_tokenizer.model, "continuing_subword_prefix", None)
    starts = word_starts(tokens, prefix)
    if starts is not None:
        starts = torch.cat([starts, torch.ones(size - len(tokens), dtype=torch.bool)])
    return Vocabulary(backbone, special, starts, tokenizer.mask_token_id, tokenizer.unk_token_id)


def word_starts(tokens: Sequence[str], prefix: str | None) -> Bool[Tensor, "tokens"] | None:
    """Return which tokens start a word.

    Args:
        tokens: of the vocabulary, in id order.
        prefix: what marks a token that goes on (WordPiece's `##`), if anything does.

    Returns:
        None where nothing marks words.
    """
    if prefix:
        return torch.tensor([not token.startswith(prefix) for token in tokens])
    found = torch.tensor([token.startswith(SPACES) for token in tokens])
    return found if found.any() else None
