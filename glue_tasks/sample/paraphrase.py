"""MRPC, QQP and STS-B have the same event in other words, or nearly the same words for another event."""

from collections.abc import Callable
from dataclasses import replace
from random import Random

from glue_tasks.sample import grammar
from glue_tasks.sample.grammar import Event, join, say, sentence
from glue_tasks.sample.lexicon import Lexicon

Pair = tuple[str, str]
_OPENINGS = {
    "place": ("where", "in which place", "at what place"),
    "time": ("when", "at what time", "on which occasion"),
    "manner": ("how", "in what way", "in which manner"),
    "reason": ("why", "for what reason", "what is the reason why"),
    "whether": ("", "is it true that", "do you know whether"),
}
_DIFFERENCES = ("subject", "verb", "object", "circumstance", "detail", "swap")
_SOURCES = ("the paper wrote that", "the police said that", "according to a witness,", "we heard that")


def _event(rng: Random, lexicon: Lexicon) -> Event:
    """Draw an event between people or with a thing, with one or two circumstances and some adjectives."""
    if rng.random() < 0.6:
        event = grammar.event_with_person(rng, lexicon, 0.5)
    else:
        event = grammar.event_with_thing(rng, lexicon, 0.5)
    return grammar.circumstances(rng, lexicon, event, rng.randint(1, 2))


def _moved_adjective(event: Event) -> Event | None:
    """Return the adjective on the other noun phrase, where both are people and only one has an adjective."""
    first, second = event.subject, event.object
    if not (first.noun and second.noun and second.noun.kind == "person") or bool(first.adjective) == bool(
        second.adjective
    ):
        return None
    return replace(
        event,
        subject=replace(first, adjective=second.adjective),
        object=replace(second, adjective=first.adjective),
    )


def altered(rng: Random, lexicon: Lexicon, event: Event) -> Event:
    """Return the event with another meaning, in as many of the same words as possible."""
    choices: list[Callable[[], Event | None]] = [
        lambda: replace(event, negated=not event.negated),
        lambda: grammar.with_circumstance(
            rng, lexicon, event, rng.choice([slot for slot in grammar.ADJUNCTS if getattr(event, slot)])
        ),
    ]
    if event.object.noun is None or event.object.noun.kind == "person":
        choices += [lambda: grammar.swapped(event)] * 4 + [lambda: _moved_adjective(event)] * 2
    else:
        noun = event.object.noun
        other = replace(event.object, noun=lexicon.sibling(rng, noun))
        choices += [lambda: replace(event, object=other)] * 2
    if event.verb.antonym:
        choices += [lambda: replace(event, verb=lexicon.verb[event.verb.antonym])] * 2
    adjective = lexicon.adjective[event.object.adjective] if event.object.adjective else None
    if adjective and adjective.antonym:
        opposite = replace(event.object, adjective=adjective.antonym)
        choices += [lambda: replace(event, object=opposite)] * 2
    result = None
    while result is None:
        result = rng.choice(choices)()
    return result


def sentences(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make two sentences; label is 1 where they say the same."""
    event = replace(_event(rng, lexicon), negated=rng.random() < 0.3)
    other = event if label else altered(rng, lexicon, event)
    other = grammar.with_synonyms(rng, lexicon, other, 0.4)
    source = rng.choice(_SOURCES) if rng.random() < 0.4 else ""
    first, second = join(source, say(rng, event)), join(source, say(rng, other))
    if rng.random() < 0.5:
        first, second = second, first
    return sentence(first), sentence(second)


def _question(rng: Random, event: Event, asked: str) -> str:
    """Ask a question, in one of several forms, for the event's place, time, manner, reason, or whether it was."""
    opening = rng.choice(_OPENINGS[asked])
    if opening.startswith(("is it", "do you", "what is")):
        return f"{opening} {say(rng, event)}"
    if rng.random() < 0.5:
        rest = (str(event.subject), event.verb.base, str(event.object))
        return join(opening, "did", *rest, event.circumstances)
    rest = (str(event.object), event.verb.participle, f"by {event.subject}")
    return join(opening, "was", *rest, event.circumstances)


def questions(rng: Random, lexicon: Lexicon, label: int) -> Pair:
    """Make two questions; label is 1 where they have the same answer."""
    event = _event(rng, lexicon)
    slots = [slot for slot in grammar.ADJUNCTS if not getattr(event, slot)] + ["reason", "whether"]
    asked = asked_too = rng.choice(slots)
    other = event
    if not label and rng.random() < 0.3:
        asked_too = rng.choice([slot for slot in slots if slot != asked])
    elif not label:
        while other == event or other.negated:
            other = altered(rng, lexicon, event)
    other = grammar.with_synonyms(rng, lexicon, other, 0.4)
    first, second = _question(rng, event, asked), _question(rng, other, asked_too)
    return sentence(first, "?"), sentence(second, "?")


def graded(rng: Random, lexicon: Lexicon, level: int) -> tuple[str, str, float]:
    """Make two sentences and their similarity from 0 to 5, which rounds to level.

    The similarity is 5 less what the differences between the two events cost, as the mean of five annotators
    who give whole points and are sometimes one off; so it is a multiple of 0.2.
    """
    while True:
        event = _event(rng, lexicon)
        other, points = event, 5.0
        for difference in rng.sample(_DIFFERENCES, 5 - level):
            other, cost = _apart(rng, lexicon, other, difference)
            points -= cost
        marks = [int(points + rng.random()) + rng.choice((-1, 0, 0, 0, 0, 1)) for _ in range(5)]
        score = sum(min(5, max(0, mark)) for mark in marks) / 5
        if round(score) == level:
            return (
                sentence(say(rng, event)),
                sentence(say(rng, grammar.with_synonyms(rng, lexicon, other, 0.4))),
                score,
            )


def _apart(rng: Random, lexicon: Lexicon, event: Event, what: str) -> tuple[Event, float]:
    """Return the event made different in one respect, and the points that costs."""
    fresh = _event(rng, lexicon)
    if what == "subject":
        return replace(event, subject=fresh.subject), 1.0
    if what == "verb":
        kind = event.object.noun.kind if event.object.noun else "person"
        verb = rng.choice(lexicon.verbs_for[kind])
        return replace(event, verb=verb), 0.0 if verb.base in (event.verb.base, event.verb.synonym) else 1.5
    if what == "object":
        return replace(event, object=fresh.object, verb=fresh.verb), 2.0
    if what == "circumstance":
        return replace(event, manner=fresh.manner, place=fresh.place, time=fresh.time), 1.0
    if what == "swap" and (event.object.noun is None or event.object.noun.kind == "person"):
        return grammar.swapped(event), 1.0
    slot = next((slot for slot in grammar.ADJUNCTS if getattr(event, slot)), "")
    return (grammar.without(event, slot), 0.6) if slot else (event, 0.0)
