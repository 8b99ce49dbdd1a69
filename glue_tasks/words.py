"""A tokenised split has words: a word's label is that of its first token, and a word may have none.

A tokenizer cuts words into tokens of its own. The first of them carries the word's label; the others, special tokens
and padding carry `IGNORED`. A word that is cut off with the end of a long row, or of which the tokenizer makes nothing,
has no token: no model can label it, and evaluation counts it as predicted O.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Encoding, Tokenizer
from torch import Tensor

Ints = NDArray[np.int64]

IGNORED = -100
"""The label of tokens that carry none, as `torch.nn.functional.cross_entropy` has it."""
NOWHERE = -1
"""This stands for the position of a word's first token where it has none."""


@dataclass(frozen=True)
class Words:
    """Words are those of a split's rows in flat arrays: row r has those from `starts[r]` on, `counts[r]` of them."""

    starts: Ints
    """[rows]"""
    counts: Ints
    """[rows]"""
    labels: Ints
    """[words], class ids; -1 where unlabelled"""
    positions: Ints
    """[words], where in its row a word's first token is, or `NOWHERE`"""

    @classmethod
    def from_lists(cls, labels: Sequence[Sequence[int]], positions: Sequence[Sequence[int]]) -> Self:
        """Build from labels and places, each one list a row, a number a word."""
        counts = np.fromiter(map(len, labels), np.int64, len(labels))
        flat = (np.fromiter((n for row in rows for n in row), np.int64) for rows in (labels, positions))
        return cls(counts.cumsum() - counts, counts, *flat)

    @property
    def unseen(self) -> int:
        """How many words have no token."""
        return int((self.positions == NOWHERE).sum())

    def collate(self, rows: Ints, tokens: int) -> dict[str, Tensor]:
        """Return what a batch of these rows, [B], T tokens wide, says of its words.

        labels: long [B, T], `IGNORED` but on the first token of each word. word_labels: long [B, W], of all words,
        padded with `IGNORED`. word_positions: long [B, W], padded with `NOWHERE`.
        """
        counts = self.counts[rows]
        place = np.arange(counts.max())
        real = place < counts[:, None]
        index = (self.starts[rows][:, None] + place) * real
        labels, positions = np.where(real, self.labels[index], IGNORED), np.where(real, self.positions[index], NOWHERE)
        on_tokens = np.full((len(rows), tokens), IGNORED)
        row, word = np.nonzero(positions != NOWHERE)
        on_tokens[row, positions[row, word]] = labels[row, word]
        named = {"labels": on_tokens, "word_labels": labels, "word_positions": positions}
        return {name: torch.from_numpy(values) for name, values in named.items()}


def first_tokens(encoding: Encoding, words: int, cut_left: bool) -> list[int]:
    """Return the position of the first token of each of a row's words, or `NOWHERE`.

    `cut_left`: long rows are cut at their beginning, where what is left of a word does not begin it.
    """
    found = [NOWHERE] * words
    for position, word in enumerate(encoding.word_ids):
        if word is not None and found[word] == NOWHERE:
            found[word] = position
    if cut_left:
        first = next((word for word in encoding.word_ids if word is not None), None)
        if first is not None and any(first in other.word_ids for other in encoding.overflowing):
            found[first] = NOWHERE
    return found


def of_words(backend: Tokenizer) -> Tokenizer:
    """Return the tokenizer for texts that come as words: each has the space that belongs to the word behind it."""
    state: dict[str, Any] = json.loads(backend.to_str())
    steps = state.get("pre_tokenizer") or {}
    for step in (steps, *steps.get("pretokenizers", ())):
        if step.get("type") == "ByteLevel":
            step["add_prefix_space"] = True
    made: Tokenizer = Tokenizer.from_str(json.dumps(state))
    return made
