"""The selection split is grouped and stratified, and subsets are stratified.

Every draw is a hash of (seed, purpose, row), so it depends on nothing else: no generator, no library version.
"""

import hashlib
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from glue_tasks.seeds import whole

Indices = NDArray[np.int64]

PHRASE = 2
"""Words that a text must have for being contained in another to join the two."""
BINS = 10
"""Quantile bins that stand for the classes in a regression."""


def normalise(text: str) -> tuple[str, ...]:
    """Return the words, lower-case and without punctuation; a text without any word is itself."""
    return tuple(re.findall(r"\w+", text.casefold())) or (text.strip(),)


def group_rows(texts: Sequence[Sequence[str]], contained: bool = False, empty_joins: bool = False) -> Indices:
    """Return the group of each row, int64 [rows]: rows that share a normalised text, directly or by a chain of rows.

    An empty text joins nothing, unless `empty_joins`.

    With `contained`, texts that contain one another as whole phrases are joined too. One-word texts are
    vocabulary rather than phrases and would join nearly everything: contained ones join nothing, but get the
    id -1 with all of their group, and so never leave train. Takes time quadratic in the length of a text.
    """
    ids: dict[tuple[str, ...], int] = {}
    rows = []
    for number, row in enumerate(texts):
        known = [text for text in map(normalise, row) if empty_joins or any(text)]
        alone = (f"\0{number}",)  # of a row without any text
        rows.append([ids.setdefault(text, len(ids)) for text in known or [alone]])
    parent = list(range(len(ids)))
    for first, *others in rows:
        for other in others:
            _join(parent, first, other)
    words: list[int] = []
    if contained:
        for text, node in ids.items():
            for size in range(1, len(text)):
                for start in range(len(text) - size + 1):
                    part = ids.get(text[start : start + size])
                    if part is not None and size >= PHRASE:
                        _join(parent, node, part)
                    elif part is not None:
                        words.append(part)
    stay = {_root(parent, node) for node in words}
    roots = [_root(parent, row[0]) for row in rows]
    return np.array([-1 if root in stay else root for root in roots], np.int64)


def _root(parent: list[int], node: int) -> int:
    while parent[node] != node:
        parent[node] = parent[parent[node]]  # halves the path for the next search
        node = parent[node]
    return node


def _join(parent: list[int], a: int, b: int) -> None:
    a, b = _root(parent, a), _root(parent, b)
    parent[max(a, b)] = min(a, b)


def stratify(labels: NDArray[Any], regression: bool) -> Indices:
    """Return the stratum of each row, int64 [rows]: its class, or its quantile bin in a regression."""
    if not regression:
        return labels.astype(np.int64)
    edges = np.unique(np.quantile(labels.astype(np.float64), np.linspace(0, 1, BINS + 1)[1:-1]))
    return np.searchsorted(edges, labels, side="right").astype(np.int64)


def rarest(held: NDArray[np.bool_]) -> Indices:
    """Return the stratum of each row that has any number of names: the rarest of them; one of its own for none.

    held: bool [rows, names]. The result is int64 [rows].
    """
    none = ~held.any(axis=1)
    counts = np.where(held, held.sum(0), len(held) + 1)
    strata: Indices = np.where(none, held.shape[1], counts.argmin(1)).astype(np.int64)
    return strata


def selection_split(groups: Indices, strata: Indices, size: int, seed: int) -> Indices:
    """Return sorted rows of a selection split of at most `size` rows, as many as whole groups allow.

    groups, strata: int64 [rows]. Groups are taken in random order, each as long as the quota of every stratum
    allows. Groups of over four rows and over a tenth of `size` stay in train: they would be the split.
    """
    strata = np.unique(strata, return_inverse=True)[1]
    quota = _quotas(np.bincount(strata), size)
    order = np.argsort(groups, kind="stable")
    bounds = np.flatnonzero(np.diff(groups[order])) + 1
    members = [part for part in np.split(order, bounds) if groups[part[0]] >= 0]
    members = [part for part in members if len(part) <= max(size // 10, 4)]
    keys = draws(len(groups), seed, "selection")
    members.sort(key=lambda part: keys[part[0]])
    chosen: list[Indices] = []
    for part in members:
        need = np.bincount(strata[part], minlength=len(quota))
        if (need <= quota).all():
            quota -= need
            chosen.append(part)
    return np.sort(np.concatenate(chosen)) if chosen else np.empty(0, np.int64)


def stratified_subset(strata: Indices, size: int, seed: int) -> Indices:
    """Return sorted positions of `size` rows, drawn with each stratum's share; `size` at most the number of rows."""
    strata = np.unique(strata, return_inverse=True)[1]
    keys = np.array(draws(len(strata), seed, "subset"), np.uint64)
    parts = []
    for stratum, quota in enumerate(_quotas(np.bincount(strata), size)):
        rows = np.flatnonzero(strata == stratum)
        parts.append(rows[np.argsort(keys[rows])[:quota]])
    return np.sort(np.concatenate(parts))


def draws(rows: int, seed: int, purpose: str) -> list[int]:
    """Draw a random number below 2**64 for every row."""
    seed = whole(seed, "seed")
    texts = (f"{purpose}/{seed}/{row}".encode() for row in range(rows))
    return [int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") for text in texts]


def _quotas(counts: Indices, size: int) -> Indices:
    """Divide `size` in proportion to the counts, by largest remainder; never above a count."""
    exact = counts * min(size, counts.sum()) / counts.sum()
    quotas: Indices = np.floor(exact).astype(np.int64)
    largest = np.argsort(quotas - exact, kind="stable")
    quotas[largest[: round(exact.sum()) - quotas.sum()]] += 1
    return quotas
