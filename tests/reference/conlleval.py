"""Where entities begin and end, by the tables of the CoNLL shared tasks' script, one pair of neighbours at a time."""

from collections.abc import Sequence

Chunk = tuple[str, int, int]


def chunks(tags: Sequence[str]) -> list[Chunk]:
    """(type, first, last) of each entity."""
    found: list[Chunk] = []
    begun, before, kind_before = 0, "O", ""
    for place, text in enumerate([*tags, "O"]):
        tag, kind = text[0], text[1:].split("-", maxsplit=1)[-1]
        if ends(before, tag, kind_before, kind):
            found.append((kind_before, begun, place - 1))
        if begins(before, tag, kind_before, kind):
            begun = place
        before, kind_before = tag, kind
    return found


def ends(before: str, tag: str, kind_before: str, kind: str) -> bool:
    if before in "ES":
        return True
    if before + tag in ("BB", "BS", "BO", "IB", "IS", "IO"):
        return True
    return before != "O" and kind_before != kind


def begins(before: str, tag: str, kind_before: str, kind: str) -> bool:
    if tag in "BS":
        return True
    if before + tag in ("EE", "EI", "SE", "SI", "OE", "OI"):
        return True
    return tag != "O" and kind_before != kind


def f1(predicted: Sequence[Sequence[str]], labels: Sequence[Sequence[str]]) -> tuple[float, float, float]:
    """Precision, recall and F1 of all rows."""
    ours, theirs = ({(row, *c) for row, tags in enumerate(rows) for c in chunks(tags)} for rows in (predicted, labels))
    right = len(ours & theirs)
    precision, recall = right / len(ours) if ours else 0.0, right / len(theirs) if theirs else 0.0
    return precision, recall, 2 * precision * recall / (precision + recall) if right else 0.0
