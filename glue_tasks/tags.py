"""A row of tags, a tag a word, spells entities.

Tjong Kim Sang and Buchholz. *Introduction to the CoNLL-2000 Shared Task: Chunking*. CoNLL 2000, whose script conlleval
defines what an entity is. A tag is O, outside of any, or a prefix and a type, I-PER: B the first word of an entity,
I one inside, E or L the last, S or U the only one. IOB1, IOB2 (BIO), BIOES and BILOU are read by one rule, which says
what an illegal order means, too, as conlleval and seqeval's default mode have it:

    two neighbours are of one entity iff both are of one type, the former is no E or S, and the latter no B or S.

I-PER behind B-LOC, or behind O, thus begins an entity.
"""

from collections.abc import Iterator, Sequence

OUTSIDE = "O"
PREFIXES = frozenset("BIESLU")
FIRST = frozenset("BSU")
"""With one of these an entity begins, whatever stands before it."""
LAST = frozenset("ESLU")
"""With one of these an entity ends, whatever stands behind it."""

Entity = tuple[str, int, int]
"""(type, its first word, its last)"""


def entities(tags: Sequence[str]) -> Iterator[Entity]:
    """Yield the entities of a row, one tag a word, in order. A tag without a type is of the type "_", as in seqeval."""
    start, before = 0, (OUTSIDE, "")
    for place, tag in enumerate((*tags, OUTSIDE)):
        prefix, kind = _parts(tag)
        goes_on = prefix != OUTSIDE and kind == before[1] and before[0] not in LAST and prefix not in FIRST
        if before[0] != OUTSIDE and not goes_on:
            yield before[1], start, place - 1
        if not goes_on:
            start = place
        before = prefix, kind


def entity_type(tag: str) -> str | None:
    """Return the type of entity that a tag is of; None for O."""
    prefix, kind = _parts(tag)
    return None if prefix == OUTSIDE else kind


def are_tags(labels: Sequence[str]) -> bool:
    """Return whether all labels are tags, of some entity."""
    return no_tag(labels) is None and any(label != OUTSIDE for label in labels)


def no_tag(labels: Sequence[str]) -> str | None:
    """Return the first of the labels that is no tag; None if all are."""
    for label in labels:
        prefix, hyphen, kind = label.partition("-")
        if label != OUTSIDE and (prefix not in PREFIXES or (hyphen and not kind)):
            return label
    return None


def _parts(tag: str) -> tuple[str, str]:
    prefix, _, kind = tag.partition("-")
    return (OUTSIDE, "") if prefix == OUTSIDE else (prefix, kind or "_")
