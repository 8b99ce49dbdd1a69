"""Masking chooses the tokens that a masked language model has to predict, and what stands in their places meanwhile.

`token` and `word` (Devlin, Chang, Lee, Toutanova. *BERT*. NAACL 2019, and its whole-word masking): units in a random
order, each that still fits into the budget of round(rate n) of a row's n tokens. `span` (Joshi, Chen, Liu, Weld,
Zettlemoyer, Levy. *SpanBERT: Improving Pre-training by Representing and Predicting Spans*. TACL 2020, arXiv
1907.10529): from a random token's word on, ℓ words with

    P(ℓ) = p (1 − p)^{ℓ−1} / (1 − (1 − p)^{ℓ_max}),      1 ≤ ℓ ≤ ℓ_max

which for the paper's p = 0.2 and ℓ_max = 10 is 3.8 words on average. Of the chosen tokens, 80 % become [MASK], 10 % a
random token, and 10 % stay; each by itself, or a span as a whole.

No word is cut: SpanBERT's code cuts the last one where the budget ends. Where no word fits, the first one is taken.

Everything is drawn on the CPU from a row's own generator, so a row's corruption depends on nothing but the row.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from ftreg.methods.pretraining.vocabulary import Vocabulary

Unit = Literal["token", "word", "span"]


@dataclass(frozen=True)
class Masking:
    """A masking says how rows are masked.

    Args:
        rate: the share of a row's tokens to choose; at least one is.
        unit: what is chosen together: `token`, `word` or `span`, whole words all of them.
        span_p: p of a span's length; 0 makes all lengths alike.
        span_max: ℓ_max, in words.
        mask: the token that hides what was there.
        mask_share: the share of the chosen tokens that become `mask`.
        random_share: that become a random token; the others stay as they are.
    """

    rate: float
    unit: Unit
    span_p: float
    span_max: int
    mask: int
    mask_share: float = 1.0
    random_share: float = 0.0


@dataclass(frozen=True)
class MaskedBatch:
    """A masked batch lists its k chosen tokens row by row, in the order of their places."""

    ids: Int[Tensor, "batch tokens"]
    rows: Int[Tensor, "k"]
    columns: Int[Tensor, "k"]
    counts: list[int]
    """Chosen tokens of each row, on the host."""

    def pick(self, values: Tensor) -> Tensor:
        """Return the entries [k, …] of values [batch, tokens, …] at the chosen places."""
        return values[self.rows, self.columns]

    def place(self, onto: Tensor, values: Tensor) -> Tensor:
        """Return a copy of [batch, tokens] with `values` [k] at the chosen places."""
        return onto.index_put((self.rows, self.columns), values)

    def means(self, values: Float[Tensor, "k"]) -> Float[Tensor, "batch"]:
        """Return the mean over each row's chosen places; 0 where there is none."""
        # Not index_add, whose order of summation a GPU leaves to chance.
        sums = self.place(values.new_zeros(self.ids.shape), values).sum(1)
        return sums / torch.tensor(self.counts, device=sums.device).clamp(min=1)


def mask_tokens(
    ids: Int[Tensor, "batch tokens"],
    mask: Int[Tensor, "batch tokens"],
    vocabulary: Vocabulary,
    masking: Masking,
    generators: Sequence[torch.Generator],
) -> MaskedBatch:
    """Choose and replace tokens, row by row.

    Args:
        ids: the tokens.
        mask: 1 on real ones.
        vocabulary: which are never chosen, and which start a word.
        masking: how.
        generators: one a row.
    """
    at = ids.cpu()
    eligible = mask.cpu().bool() & ~vocabulary.special[at]
    starts = eligible if masking.unit == "token" or vocabulary.starts is None else vocabulary.starts[at]
    out, chosen, ordinary = at.tolist(), [], vocabulary.ordinary
    for row, allowed, first, generator in zip(out, eligible.tolist(), starts.tolist(), generators, strict=True):
        groups = choose(words(allowed, first), masking, generator)
        places = [*chain(*groups)]
        for place, new in zip(places, replacements(groups, masking, ordinary, generator), strict=True):
            row[place] = row[place] if new is None else new
        chosen.append(sorted(places))
    rows = [row for row, places in enumerate(chosen) for _ in places]
    return MaskedBatch(
        torch.tensor(out, device=ids.device),
        torch.tensor(rows, dtype=torch.long, device=ids.device),
        torch.tensor([*chain(*chosen)], dtype=torch.long, device=ids.device),
        [len(places) for places in chosen],
    )


def words(eligible: Sequence[bool], starts: Sequence[bool]) -> list[list[int]]:
    """Return the places of each word; a word ends where the next one starts, or a token may not be chosen."""
    found: list[list[int]] = []
    for place, allowed in enumerate(eligible):
        if allowed and place and eligible[place - 1] and not starts[place]:
            found[-1].append(place)
        elif allowed:
            found.append([place])
    return found


def choose(units: list[list[int]], masking: Masking, generator: torch.Generator) -> list[list[int]]:
    """Draw from a row's words: chosen words, or the tokens that each span adds; none of a row without words."""
    tokens = sum(map(len, units))
    if not tokens:
        return []
    budget = max(1, round(masking.rate * tokens))
    if masking.unit != "span":
        return fill(units, budget, torch.randperm(len(units), generator=generator).tolist())
    # A random order of the tokens, not of the words: SpanBERT begins in a long word more often.
    owner = [number for number, unit in enumerate(units) for _ in unit]
    anchors = [owner[token] for token in torch.randperm(tokens, generator=generator).tolist()]
    shares = (1 - masking.span_p) ** torch.arange(masking.span_max, dtype=torch.float64)
    lengths = 1 + torch.multinomial(shares, tokens, replacement=True, generator=generator)
    return fill_spans(units, budget, anchors, lengths.tolist())


def fill(units: list[list[int]], budget: int, order: Sequence[int]) -> list[list[int]]:
    """Return the words of `order`, each that still fits; the first one where none does."""
    found: list[list[int]] = []
    for number in order:
        if len(units[number]) <= budget:
            found.append(units[number])
            budget -= len(units[number])
    return found or [units[order[0]]]


def fill_spans(units: list[list[int]], budget: int, anchors: Sequence[int], lengths: Sequence[int]) -> list[list[int]]:
    """Return what each span adds: up to so many words from its anchor on, as far as they fit and no gap parts them."""
    found: list[list[int]] = []
    used: set[int] = set()
    for anchor, length in zip(anchors, lengths, strict=True):
        if anchor in used:
            continue
        span: list[int] = []
        for number in range(anchor, min(anchor + length, len(units))):
            if number > anchor and units[number][0] != units[number - 1][-1] + 1:
                break
            if number in used:
                continue
            if len(units[number]) > budget:
                break
            used.add(number)
            span += units[number]
            budget -= len(units[number])
        if span:
            found.append(span)
    return found or [units[anchors[0]]]


def replacements(
    groups: Sequence[Sequence[int]], masking: Masking, ordinary: Int[Tensor, "vocabulary"], generator: torch.Generator
) -> list[int | None]:
    """Return what comes in each chosen token's place, in the order of `groups`; None where it stays."""
    sizes = [len(group) for group in groups]
    others = ordinary[torch.randint(len(ordinary), (sum(sizes),), generator=generator)].tolist()
    jointly = masking.unit == "span"
    draws = torch.rand(len(sizes) if jointly else sum(sizes), generator=generator, dtype=torch.float64).tolist()
    if jointly:
        draws = [draw for draw, size in zip(draws, sizes, strict=True) for _ in range(size)]
    masked, random = masking.mask_share, masking.mask_share + masking.random_share
    return [
        masking.mask if draw < masked else other if draw < random else None
        for draw, other in zip(draws, others, strict=True)
    ]
