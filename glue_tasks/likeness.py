"""A selection split is compared with the rows that it was taken from, by what can be told without a model."""

from collections import Counter
from collections.abc import Iterator

import numpy as np
from datasets import Dataset
from numpy.typing import NDArray

from glue_tasks.stratification import Indices
from glue_tasks.tables import labels_of, occurrence, texts
from glue_tasks.tasks import Task

SHARE = 0.1
"""Difference of two shares that counts."""
LENGTH = float(np.log(1.5))
"""Difference of the mean logarithm of the number of words that counts: half as many again."""
CHANCE = 3.0
"""Standard errors that a difference must have besides: a small selection is never exactly like the rest."""


def unlike(task: Task, table: Dataset, chosen: Indices, wanted: int) -> str:
    """Return what sets the `chosen` rows apart from all, in words; nothing if nothing does.

    Looked at are their number, which is half of what is `wanted` at least; the share of every class, of rows with
    every label or type of entity, or the mean target; and of every text column the shares of empty texts and of the
    commonest one, and the length of all.
    """
    rows = len(chosen)
    found = [f"{rows} of the {wanted} rows that were wanted"] if rows < wanted / 2 else []
    if task.regression:
        labels = labels_of(table)
        spread = float(labels.std()) or 1.0
        here, there = float(labels[chosen].mean()), float(labels.mean())
        if abs(here - there) > max(SHARE, CHANCE / rows**0.5) * spread:
            found.append(f"a mean target of {here:.3g} (of all: {there:.3g})")
    else:
        verb = "are" if task.kind == "single_label" else "have"
        for name, marked in _columns(task, table):
            found += _share(f"{verb} {name!r}", marked, chosen)
    for name in task.columns:
        stripped = [text.strip() for text in texts(table, name)]
        words = np.array([len(text.split()) for text in stripped])
        found += _share(f"have an empty {name!r}", words == 0, chosen)
        common = Counter(filter(None, stripped)).most_common(1)
        if common:
            found += _share(f"have the commonest {name!r}", np.array([t == common[0][0] for t in stripped]), chosen)
        found += _length(name, words, chosen)
    return ", ".join(found[:3])


def _columns(task: Task, table: Dataset) -> Iterator[tuple[str, NDArray[np.bool_]]]:
    names, held = occurrence(task, table)
    yield from zip(names, held.T, strict=True)


def _share(what: str, marked: NDArray[np.bool_], chosen: Indices) -> list[str]:
    here, there = float(marked[chosen].mean()), float(marked.mean())
    chance = (there * (1 - there) / len(chosen)) ** 0.5
    if abs(here - there) <= max(SHARE, CHANCE * chance):
        return []
    return [f"{here:.0%} {what} (of all: {there:.0%})"]


def _length(name: str, words: NDArray[np.int64], chosen: Indices) -> list[str]:
    ours, all_of_them = (np.log(part[part > 0]) for part in (words[chosen], words))
    if not len(ours):
        return []
    chance = float(all_of_them.std()) / len(ours) ** 0.5
    if abs(ours.mean() - all_of_them.mean()) <= max(LENGTH, CHANCE * chance):
        return []
    return [f"{name!r} has {np.exp(ours.mean()):.0f} words (of all: {np.exp(all_of_them.mean()):.0f})"]
