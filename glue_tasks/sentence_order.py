"""Sentence order prediction (ALBERT: Lan et al., 2020, section 3.1) asks: are two neighbouring sentences in order?"""

from collections.abc import Sequence
from itertools import pairwise

from glue_tasks.stratification import draws
from glue_tasks.tasks import Task

TASK = Task("sop", ("first", "second"), ("in_order", "swapped"), title="SOP", dev=(), test=())


def pairs(documents: Sequence[Sequence[str]], seed: int) -> dict[str, list[str] | list[int]]:
    """Make columns first, second and label, a row for each two neighbouring sentences of a document, half swapped.

    Documents of fewer than two sentences have no row, nor have neighbours that are the same.
    """
    rows = [(first, second) for document in documents for first, second in pairwise(document) if first != second]
    chance = draws(len(rows), seed, "sop/swapped")
    middle = sorted(chance)[len(rows) // 2] if rows else 0
    swapped = [drawn < middle for drawn in chance]
    return {
        "first": [row[swap] for row, swap in zip(rows, swapped, strict=True)],
        "second": [row[not swap] for row, swap in zip(rows, swapped, strict=True)],
        "label": [int(swap) for swap in swapped],
    }
