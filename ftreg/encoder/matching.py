"""A tokenizer's ids, types and lengths have to be ones that a model has: otherwise a row far into a run ends it.

tokenizer ─ ids ─ types ─ length ─▶  tables of the model: words, token types, positions
"""

from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import nn
from transformers import AutoModelForSequenceClassification

from ftreg._base.errors import UsageError
from ftreg.encoder.backbone import Stamp, resolve, stamp
from ftreg.encoder.loading import configuration, telling
from glue_tasks.tokens import read_tokenizer


@dataclass(frozen=True)
class Limits:
    """The limits of a model are the ids, types and lengths that it has room for.

    Args:
        words: rows of its word embeddings.
        types: rows of its token types; None where it has no such table, and passes them over.
        positions: tokens of its longest row; None where its positions are no table.
        padding: the id that its configuration pads with.
    """

    words: int
    types: int | None
    positions: int | None
    padding: int | None

    def check_tokenizer(self, tokenizer: Any, backbone: str, pairs: bool) -> None:
        """Compare with a tokenizer.

        Args:
            tokenizer: a fast one.
            backbone: its name, for messages.
            pairs: whether rows have two texts.

        Raises:
            UsageError: it writes ids or types that the model has not, or does not mark where texts begin and end.
        """
        highest = max(tokenizer.get_vocab().values())
        if highest >= self.words:
            token = tokenizer.convert_ids_to_tokens(highest)
            raise UsageError(
                f"backbone {backbone}: its tokenizer has ids up to {highest} ({token[:40]!r}), its model has word "
                f"embeddings for {self.words}; save it after resize_token_embeddings(len(tokenizer))"
            )
        if not tokenizer.num_special_tokens_to_add(pair=False):
            rank_zero_warn(
                f"backbone {backbone}: its tokenizer puts no special token around a text, such as [CLS], which most "
                f"heads read; if the model was trained with some, save that tokenizer (with its post_processor)"
            )
        encoding = tokenizer.backend_tokenizer.encode("a", "b" if pairs else None)
        kind = max(encoding.type_ids, default=0) if "token_type_ids" in tokenizer.model_input_names else 0
        if self.types is not None and kind >= self.types:
            raise UsageError(
                f"backbone {backbone}: its tokenizer writes token type {kind}, its model has {self.types}; save the "
                f"tokenizer that the model was trained with, or take token_type_ids from its model_input_names"
            )
        if self.padding is not None and self.padding != tokenizer.pad_token_id:
            rank_zero_warn(
                f"backbone {backbone}: its tokenizer pads with id {tokenizer.pad_token_id}, config.json says "
                f"pad_token_id {self.padding}; padding is masked, but see that the tokenizer is the model's"
            )


def limits_of(backbone: str) -> Limits:
    """Return what a backbone's model has room for, made without its weights.

    Raises:
        UsageError: the backbone cannot be had, or is damaged.
    """
    return _limits(backbone, stamp(resolve(backbone).path))


@cache
def _limits(backbone: str, stamped: Stamp) -> Limits:
    with telling(backbone, "no model can be made as config.json describes it"):
        _, config = configuration(resolve(backbone))
        with torch.device("meta"):
            model = AutoModelForSequenceClassification.from_config(config)
        words = model.get_input_embeddings().weight
    tables = {name.rpartition(".")[2]: m for name, m in model.named_modules() if isinstance(m, nn.Embedding)}
    types = [len(table.weight) for name, table in tables.items() if "token_type" in name]
    positions = [_usable(table) for name, table in tables.items() if "position" in name or name == "wpe"]
    said = getattr(config, "max_position_embeddings", None)
    if positions and isinstance(said, int) and said > 0:
        positions.append(said)
    padding = config.pad_token_id if isinstance(config.pad_token_id, int) else None
    return Limits(len(words), min(types, default=None), min(positions, default=None), padding)


def check_rows(backbone: str, data: Any) -> None:
    """Compare with the rows of a data module, where they were tokenised.

    Args:
        backbone: of the model that is to read them.
        data: a GlueDataModule, or anything else, which is left alone.

    Raises:
        UsageError: its tokenizer or its longest row does not fit the model.
    """
    splits = getattr(data, "truncated", ())  # those that were tokenised
    if not splits:
        return
    limits_of(backbone).check_tokenizer(data.vocabulary, backbone, paired(data))
    possible, tokens = limits_of(backbone).positions, max(int(data.rows(split).lengths.max()) for split in splits)
    if possible is not None and tokens > possible:
        raise UsageError(
            f"a row of the data has {tokens} tokens, backbone {backbone} takes {possible}; "
            f"give the data module max_length={possible}"
        )


def paired(data: Any) -> bool:
    """Return whether some task of a data module has rows of two texts."""
    return any(len(task.columns) == 2 for task in (data.task, *(other.task for other in data.auxiliary.values())))


def longest(backbone: str, wanted: int, given: bool) -> int:
    """Return the tokens that a row may have: what is wanted, or what the backbone takes.

    Args:
        backbone: its name.
        wanted: `data.max_length`.
        given: whether that is the user's own.

    Raises:
        UsageError: the user wants more than there is.
    """
    declared = int(min(read_tokenizer(resolve(backbone).path).model_max_length, 2**31))
    possible = min(declared, limits_of(backbone).positions or declared)
    if wanted <= possible:
        return wanted
    if given:
        raise UsageError(
            f"data.max_length={wanted}: backbone {backbone} takes at most {possible} tokens; give {possible}"
        )
    rank_zero_warn(f"data.max_length is {possible} in place of {wanted}: backbone {backbone} takes no longer rows")
    return possible


def _usable(table: nn.Embedding) -> int:
    """Return the positions of a table; RoBERTa's first row is that of padding, and those before it have no use."""
    rows = len(table.weight)
    return rows - (table.padding_idx + 1 if table.padding_idx is not None else int(getattr(table, "offset", 0)))
