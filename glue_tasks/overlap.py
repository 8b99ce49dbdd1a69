"""Rows that a model is evaluated on must not be among those that it is trained on first."""

import hashlib
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from datasets import Dataset

from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.tables import texts

WORDS = 4
"""Words that a text must have for its occurrence alone to count: shorter ones occur anywhere."""


@dataclass(frozen=True)
class Overlap:
    """An overlap is of evaluation rows that an earlier training table holds; the first of them is the example."""

    counts: Mapping[str, int]
    """Rows found, by split; 0 where there are none."""
    split: str
    row: int
    """`idx` of the example in its split's table."""
    texts: tuple[str, ...]
    """The example's texts, as they are written there."""

    def __str__(self) -> str:
        counts = ", ".join(f"{count} of {split}" for split, count in self.counts.items() if count)
        texts = " / ".join(repr(text if len(text) <= 60 else f"{text[:57]}...") for text in self.texts)
        example = f"the first is row {self.row} of {self.split}: {texts}"
        return f"evaluation rows that were trained on before: {counts}; {example}"


def check_overlap(target: GlueDataModule, intermediate: GlueDataModule) -> Overlap | None:
    """Look for the target's rows in what the intermediate stage trains on.

    Looked for are the target's final splits, and those test splits that can be read. In plain text
    (`source=text`), be it cut into lines or pairs, single texts are looked for.

    Raises `DataError` where the training tables or the final splits cannot be read.
    """
    ours = {split: target.table(split) for split in target.final_splits}
    for split in target.task.test:
        try:
            ours[split] = target.table(split)
        except DataError:  # no fit needs the test files
            continue
    tables = [(intermediate.task, intermediate.source, intermediate.table("train"))]
    tables += [(other.task, other.source, other.table) for other in intermediate.auxiliary.values()]
    train, columns = target.table("train"), target.task.columns
    found = (overlap(ours, columns, table, task.columns, train, source == "text") for task, source, table in tables)
    return next((one for one in found if one is not None), None)


def overlap(
    ours: Mapping[str, Dataset],
    columns: tuple[str, ...],
    theirs: Dataset,
    their_columns: tuple[str, ...],
    train: Dataset,
    single: bool = False,
) -> Overlap | None:
    """Return the rows of the splits `ours` that occur in the table `theirs`; None if there are none.

    Texts are the same if their letters and digits are, case aside. Tables with as many columns have a row in
    common if they have all its texts, in any order. Otherwise, and with `single`, one text of at least `WORDS`
    words is enough. What also occurs in `train`, the target's own training rows, does not count: it is known to
    the target without the other table.

    ours, train: columns `columns` and "idx". theirs: columns `their_columns`.
    """
    single = single or len(columns) != len(their_columns)
    seen = {key for keys in _keys(theirs, their_columns, single) for key in keys}
    seen -= {key for keys in _keys(train, columns, single) for key in keys}
    found = {
        split: [row for row, keys in enumerate(_keys(table, columns, single, WORDS)) if not seen.isdisjoint(keys)]
        for split, table in ours.items()
    }
    for split, rows in found.items():
        if rows:
            example = ours[split].select(rows[:1])
            shared = tuple(texts(example, name)[0] for name in columns)
            return Overlap({name: len(which) for name, which in found.items()}, split, example["idx"][0], shared)
    return None


def _keys(table: Dataset, columns: tuple[str, ...], single: bool, words: int = 1) -> Iterator[list[bytes]]:
    """Yield what each row is recognised by: a hash of its texts, or, if `single`, one of each text of enough words."""
    for row in zip(*(texts(table, name) for name in columns), strict=True):
        parts = [_words(text) for text in row]
        if single:
            yield [_hash("".join(part)) for part in parts if len(part) >= words]
        else:
            yield [_hash("\n".join(sorted("".join(part) for part in parts)))] if any(parts) else []


def _words(text: str) -> list[str]:
    # not `split.normalise`: GLUE's tasks cut up the same sentence differently ("do n't", "don't"), so keys are joined
    return re.findall(r"[^\W_]+", unicodedata.normalize("NFKC", text).casefold())


def _hash(text: str) -> bytes:
    return hashlib.blake2b(text.encode(), digest_size=16).digest()
