"""The built-in sample is of GLUE-shaped tasks generated from a seeded grammar, for trying out and for tests.

Nothing is downloaded and nothing depends on the machine: a split is drawn from a generator seeded with its
own name, and a row belongs to one split by a hash of its first text, so splits share no first text.
"""

import re
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from random import Random
from typing import Any

from glue_tasks.errors import DataError
from glue_tasks.sample import acceptability, answering, inference, paraphrase, pronouns, sentiment
from glue_tasks.sample.lexicon import BOTH, EVERYDAY, WORK, Lexicon

_SEED = "ftreg sample 1"
# Residues of the hash of a row's first text. Matched and mismatched may have the same, their words differ;
# AX's "test" may not have those of any split of MNLI.
_SHARES = {
    "train": range(4), "dev": (4, 5), "dev_matched": (4, 5), "dev_mismatched": (4, 5),
    "test_matched": (6,), "test_mismatched": (6,), "test": (7,),
}  # fmt: skip


@dataclass(frozen=True)
class _Recipe:
    """A recipe says how a task is made: its columns, how many classes (or levels) take turns, its splits' sizes."""

    columns: tuple[str, ...]
    make: Callable[[Random, Lexicon, int], tuple[Any, ...]]
    classes: int
    sizes: dict[str, int]
    scored: bool = False
    genres: bool = False

    def lexicon(self, split: str) -> Lexicon:
        if not self.genres:
            return BOTH
        return WORK if split.endswith("mismatched") else EVERYDAY


_PAIR = ("sentence1", "sentence2")
_NLI = ("premise", "hypothesis")
_SIZES = {"train": 2000, "dev": 300, "test": 100}
_MNLI_SIZES = {
    "train": 2400,
    "dev_matched": 300,
    "dev_mismatched": 300,
    "test_matched": 99,
    "test_mismatched": 99,
}
_RECIPES = {
    "cola": _Recipe(("sentence",), acceptability.make, 2, _SIZES),
    "sst2": _Recipe(("sentence",), sentiment.make, 2, _SIZES),
    "mrpc": _Recipe(_PAIR, paraphrase.sentences, 2, _SIZES),
    "stsb": _Recipe(_PAIR, paraphrase.graded, 6, {"train": 1998, "dev": 300, "test": 102}, scored=True),
    "qqp": _Recipe(("question1", "question2"), paraphrase.questions, 2, _SIZES),
    "mnli": _Recipe(_NLI, inference.three_way, 3, _MNLI_SIZES, genres=True),
    "qnli": _Recipe(("question", "sentence"), answering.make, 2, _SIZES),
    "rte": _Recipe(_PAIR, inference.two_way, 2, _SIZES),
    "wnli": _Recipe(_PAIR, pronouns.make, 2, {"train": 600, "dev": 100, "test": 100}),
    "ax": _Recipe(_NLI, inference.three_way, 3, {"test": 102}),
}


def rows(task: str, split: str) -> dict[str, list[Any]]:
    """Make the columns of a split: the texts, `label` (class id, or a float from 0 to 5 for stsb) and `idx`.

    Test splits have label -1, as on the Hub. DataError for a task or split the sample does not have.
    """
    if task not in _RECIPES:
        raise DataError(f"source sample: no task {task!r}: use one of {' '.join(_RECIPES)}, or another source")
    recipe = _RECIPES[task]
    if split not in recipe.sizes:
        raise DataError(f"source sample: {task} has no split {split!r}: use one of {' '.join(recipe.sizes)}")
    examples = _examples(task, split)
    table: dict[str, list[Any]] = {
        column: [texts[place] for texts, _ in examples] for place, column in enumerate(recipe.columns)
    }
    if split.startswith("test"):
        table["label"] = [-1.0 if recipe.scored else -1] * len(examples)
    else:
        table["label"] = [label for _, label in examples]
    table["idx"] = list(range(len(examples)))
    return table


@cache
def _examples(task: str, split: str) -> tuple[tuple[tuple[str, ...], float], ...]:
    """Return the rows of a split with their labels, classes in equal numbers, in shuffled order."""
    recipe, rng = _RECIPES[task], Random(f"{_SEED}/{task}/{split}")
    lexicon, seen = recipe.lexicon(split), set[frozenset[str]]()
    examples: list[tuple[tuple[str, ...], float]] = []
    while len(examples) < recipe.sizes[split]:
        label: float = len(examples) % recipe.classes
        made = recipe.make(rng, lexicon, int(label))
        texts: tuple[str, ...] = made[: len(recipe.columns)]
        if recipe.scored:
            label = made[-1]
        row = frozenset(text.lower() for text in texts)
        if len(row) == len(texts) and row not in seen and _residue(texts[0]) in _SHARES[split]:
            seen.add(row)
            examples.append((texts, label))
    rng.shuffle(examples)
    return tuple(examples)


def _residue(text: str) -> int:
    return zlib.crc32(text.lower().encode()) % 8


@cache
def vocabulary() -> tuple[str, ...]:
    """Return every lower-cased word and punctuation mark of the sample, sorted."""
    words: set[str] = set()
    for task, recipe in _RECIPES.items():
        for split in recipe.sizes:
            for texts, _ in _examples(task, split):
                words.update(re.findall(r"[a-z0-9]+|[^\sa-z0-9]", " ".join(texts).lower()))
    return tuple(sorted(words))
