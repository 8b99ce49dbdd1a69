"""MNLI, RTE and the diagnostic set are pairs whose relation follows from how the second is made from the first.

Every pattern can yield each relation with the same words, so that neither sentence alone gives the answer:
the direction of a step (dog to poodle or back), the polarity of both sides and who did what to whom decide.
"""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from glue_tasks.sample import grammar
from glue_tasks.sample.grammar import Event, Phrase, say, sentence
from glue_tasks.sample.lexicon import Lexicon, words

ENTAILMENT, NEUTRAL, CONTRADICTION = range(3)
Pair = tuple[str, str]
Pattern = Callable[[Random, Lexicon, int], Pair | None]

_COMPARATIVES = {
    "tall": "taller", "short": "shorter", "rich": "richer", "poor": "poorer", "happy": "happier",
    "sad": "sadder", "young": "younger", "old": "older", "strong": "stronger", "weak": "weaker",
}  # fmt: skip
_COMPLEMENTARY = set(words("wet dry clean dirty safe dangerous honest dishonest tame wild healthy sick famous unknown"))
_NUMBERS = words("one two three four five six seven eight nine ten")
_MOVES = words("arrived left spoke slept sang laughed waited swam fell")
_KNOWING = words("knew realised discovered remembered")
_CLAIMING = words("thought believed claimed hoped")


def _general(rng: Random, lexicon: Lexicon, event: Event) -> Event:
    """Return the event with one or two details taken out: it follows from the event given."""
    steps = [slot for slot in grammar.ADJUNCTS if getattr(event, slot)] + ["hypernym"] * 2
    steps += ["adjective"] * 2 if event.object.adjective else []
    for step in set(rng.sample(steps, 2)) if rng.random() < 0.4 else {rng.choice(steps)}:
        if step == "hypernym" and event.object.noun:
            noun = lexicon.noun[event.object.noun.above]
            event = replace(event, object=replace(event.object, noun=noun))
        elif step == "adjective":
            event = replace(event, object=replace(event.object, adjective=""))
        elif step != "hypernym":
            event = grammar.without(event, step)
    return event


def _lateral(rng: Random, lexicon: Lexicon, event: Event) -> Event:
    """Return the event with one detail exchanged for another: neither follows from nor excludes the event given."""
    slot = rng.choice([slot for slot in grammar.ADJUNCTS if getattr(event, slot)] + ["object"] * 2)
    if slot == "object" and event.object.noun:
        return replace(event, object=replace(event.object, noun=lexicon.sibling(rng, event.object.noun)))
    return grammar.with_circumstance(rng, lexicon, event, slot)


def details(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs of more and less specific events under negation on either side."""
    event = grammar.event_with_thing(rng, lexicon, adjective=0.5, determiner="a")
    full = grammar.circumstances(rng, lexicon, event, rng.randint(1, 2))
    less = _general(rng, lexicon, full)
    ways = {
        ENTAILMENT: ((full, less, False, False), (less, full, True, True), (full, full, True, True)),
        NEUTRAL: (
            (less, full, False, False), (full, less, True, True),
            (less, full, False, True), (full, less, True, False),
            (full, _lateral(rng, lexicon, full), *rng.choice(((False, False), (True, True), (False, True)))),
        ),
        CONTRADICTION: (
            (full, less, False, True), (less, full, True, False),
            (full, full, *rng.choice(((False, True), (True, False)))),
        ),
    }  # fmt: skip
    first, second, first_negated, second_negated = rng.choice(ways[label])
    second = grammar.with_synonyms(rng, lexicon, second, 0.3)
    return say(rng, replace(first, negated=first_negated)), say(rng, replace(second, negated=second_negated))


def roles(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs of active and passive, the roles kept or swapped."""
    event = grammar.circumstances(rng, lexicon, grammar.event_with_person(rng, lexicon, 0.3), rng.randint(0, 1))
    other = grammar.with_synonyms(rng, lexicon, event, 0.4)
    negated = rng.random() < 0.5
    if label == NEUTRAL:
        other = replace(grammar.swapped(other), negated=rng.random() < 0.5)
    else:
        other = replace(other, negated=negated != (label == CONTRADICTION))
    return say(rng, replace(event, negated=negated)), say(rng, other)


def states(rng: Random, lexicon: Lexicon, label: int) -> Pair | None:
    """Make pairs of adjectives, synonyms, antonyms, or negated: tall excludes short, not tall leaves it open."""
    thing = rng.random() < 0.4
    who = grammar.thing(rng, lexicon) if thing else grammar.person(rng, lexicon)
    kind = who.noun.kind if who.noun else "person"
    first = rng.choice(lexicon.adjectives_for[kind])
    same, opposite = first.synonym or first.word, first.antonym
    if not opposite:
        return None
    other = rng.choice(lexicon.adjectives_for[kind]).word
    while other in (first.word, same, opposite, lexicon.adjective[opposite].synonym):
        other = rng.choice(lexicon.adjectives_for[kind]).word
    unrelated = [("", other, ""), ("", other, "not"), ("not", other, ""), ("not", other, "not")]
    ways = {
        ENTAILMENT: [("", same, ""), ("not", same, "not"), ("", opposite, "not")],
        NEUTRAL: unrelated if first.word in _COMPLEMENTARY else [*unrelated[::3], *[("not", opposite, "")] * 2],
        CONTRADICTION: [("", same, "not"), ("not", same, ""), ("", opposite, "")],
    }
    sign, word, other_sign = rng.choice(ways[label])
    return grammar.join(str(who), "was", sign, first.word), grammar.join(str(who), "was", other_sign, word)


def comparisons(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs of taller and shorter, which of two people, and what a comparison leaves open."""
    graded = [adjective for adjective in lexicon.adjectives if adjective.word in _COMPARATIVES]
    adjective, other = rng.sample(graded, 2)
    while other.word == adjective.antonym:
        other = rng.choice([word for word in graded if word != adjective])
    more, less = _COMPARATIVES[adjective.word], _COMPARATIVES[adjective.antonym]
    a, b = rng.sample(lexicon.names, 2)
    premise = f"{a} was {more} than {b}"
    ways = {
        ENTAILMENT: (f"{b} was {less} than {a}", f"{b} was not {more} than {a}"),
        NEUTRAL: (
            f"{b} was {_COMPARATIVES[other.word]} than {a}",
            f"{a} was {adjective.word}",
            f"{b} was {other.word}",
        ),
        CONTRADICTION: (
            f"{b} was {more} than {a}",
            f"{a} was {less} than {b}",
            f"{a} was not {more} than {b}",
        ),
    }
    return premise, rng.choice(ways[label])


def counts(rng: Random, lexicon: Lexicon, label: int) -> Pair | None:
    """Make pairs of `at least three` and `exactly five`: the relation of two sets of numbers."""

    def draw() -> tuple[str, int, int]:
        number = rng.randint(2, 9)
        bounds = {"at least": (number, 99), "exactly": (number, number), "more than": (number + 1, 99),
                  "fewer than": (0, number - 1), "at most": (0, number)}  # fmt: skip
        how = rng.choice(list(bounds))
        return f"{how} {_NUMBERS[number - 1]}", *bounds[how]

    (first, low, high), (second, other_low, other_high) = draw(), draw()
    if first == second:
        return None
    if other_low <= low and high <= other_high:
        relation = ENTAILMENT
    else:
        relation = CONTRADICTION if high < other_low or other_high < low else NEUTRAL
    event = grammar.event_with_thing(rng, lexicon)
    who = rng.choice(lexicon.people).many
    rest = grammar.join(who, event.verb.past, str(event.object))
    return (f"{first} {rest}", f"{second} {rest}") if relation == label else None


_SQUARE = {
    ("all", "some"): 0, ("all", "no"): 2, ("all", "not all"): 2, ("some", "all"): 1, ("some", "no"): 2,
    ("some", "not all"): 1, ("no", "not all"): 0, ("no", "some"): 2, ("no", "all"): 2, ("not all", "no"): 1,
    ("not all", "some"): 1, ("not all", "all"): 2,
}  # fmt: skip
_SPELLED = {
    "all": ("all of the", "every one of the"), "some": ("some of the", "at least one of the"),
    "no": ("none of the", "not one of the"), "not all": ("not all of the", "not every one of the"),
}  # fmt: skip


def quantities(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs of all, some, none, not all."""
    first, second = rng.choice([pair for pair, relation in _SQUARE.items() if relation == label])
    event = grammar.event_with_thing(rng, lexicon)
    rest = grammar.join(rng.choice(lexicon.people).many, event.verb.past, str(event.object))
    return f"{rng.choice(_SPELLED[first])} {rest}", f"{rng.choice(_SPELLED[second])} {rest}"


def beliefs(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs in which what is known is so, and what is thought need not be."""
    event = grammar.event_with_thing(rng, lexicon, determiner="a")
    event = grammar.circumstances(rng, lexicon, event, rng.randint(0, 1))
    who, negated = rng.choice(lexicon.names), rng.random() < 0.5
    flip = (label == CONTRADICTION) if label != NEUTRAL else rng.random() < 0.5
    said, fact = replace(event, negated=negated), replace(event, negated=negated != flip)
    if label == NEUTRAL:
        frame = rng.choice([f"{who} {verb} that" for verb in _CLAIMING])
    else:
        frame = rng.choice([f"{who} {verb} that" for verb in _KNOWING])
        if rng.random() < 0.2:
            frame, said = "it was not true that", replace(event, negated=not negated)
    return f"{frame} {say(rng, said)}", say(rng, fact)


def lists(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs of and, or, neither."""
    event = grammar.circumstances(rng, lexicon, grammar.event_with_thing(rng, lexicon), 1)
    one, two = rng.sample(lexicon.names, 2)
    some = rng.choice((one, two))

    def did(who: str, negated: bool = False) -> str:
        return grammar.active(replace(event, subject=Phrase(who), negated=negated))

    both, either, neither = did(f"{one} and {two}"), did(f"{one} or {two}"), did(f"neither {one} nor {two}")
    yes, no = did(some), did(some, negated=True)
    ways = {
        ENTAILMENT: ((both, yes), (both, either), (neither, no), (yes, either)),
        NEUTRAL: ((either, yes), (either, no), (either, both), (yes, both), (no, neither), (no, either)),
        CONTRADICTION: (
            (both, no),
            (either, neither),
            (neither, yes),
            (neither, either),
            (no, both),
            (yes, neither),
        ),
    }
    return rng.choice(ways[label])


def order(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make pairs of before and after."""
    a, b = rng.sample(lexicon.names, 2)
    verb, other = rng.sample(_MOVES, 2)
    when, converse = rng.sample(("before", "after"), 2)
    day = rng.choice([time for time in lexicon.times if time.startswith(("on", "last"))])
    ways = {
        ENTAILMENT: (f"{b} {verb} {converse} {a}",),
        NEUTRAL: (f"{b} {other} {converse} {a}", f"{a} {other} {when} {b}"),
        CONTRADICTION: (f"{b} {verb} {when} {a}", f"{a} {verb} {converse} {b}"),
    }
    return f"{day}, {a} {verb} {when} {b}", rng.choice(ways[label])


PATTERNS: tuple[Pattern, ...] = (
    details, details, details, roles, roles, states, states, comparisons, counts, quantities, beliefs, lists,
    order,
)  # fmt: skip


def three_way(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make premise and hypothesis; label is 0 entailment, 1 neutral, 2 contradiction."""
    pair = rng.choice(PATTERNS)(rng, lexicon, label)
    while pair is None:
        pair = rng.choice(PATTERNS)(rng, lexicon, label)
    return sentence(pair[0]), sentence(pair[1])


def two_way(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make a text of two sentences and a hypothesis; label is 0 entailment, 1 not_entailment."""
    relation = ENTAILMENT if label == 0 else rng.choice((NEUTRAL, CONTRADICTION))
    pattern: Pattern = rng.choice((details, details, roles, states, beliefs, lists))
    pair = pattern(rng, lexicon, relation)
    while pair is None:
        pair = pattern(rng, lexicon, relation)
    aside = grammar.event_with_thing(rng, lexicon, adjective=0.3)
    text = [sentence(pair[0]), sentence(say(rng, grammar.circumstances(rng, lexicon, aside, 1)))]
    rng.shuffle(text)
    return " ".join(text), sentence(pair[1])
