"""The built-in sample's grammar has simple past events and the ways to put them into words."""

import re
from dataclasses import dataclass, replace
from random import Random

from glue_tasks.sample.lexicon import Lexicon, Noun, Verb

ADJUNCTS = ("place", "time", "manner")
_AN = re.compile(r"\ba (?=[aeiou])", re.IGNORECASE)


@dataclass(frozen=True)
class Phrase:
    """A phrase is a noun phrase: a name (no noun) or determiner, adjective, noun."""

    name: str = ""
    noun: Noun | None = None
    adjective: str = ""
    determiner: str = "the"

    def __str__(self) -> str:
        if self.noun is None:
            return self.name
        return " ".join(word for word in (self.determiner, self.adjective, self.noun.one) if word)


@dataclass(frozen=True)
class Event:
    """An event is who did what to whom, and how, where, when."""

    subject: Phrase
    verb: Verb
    object: Phrase
    manner: str = ""
    place: str = ""
    time: str = ""
    negated: bool = False

    @property
    def circumstances(self) -> str:
        return join(self.manner, self.place, self.time)


def join(*parts: str) -> str:
    """Return the parts that are not empty, with spaces between them."""
    return " ".join(part for part in parts if part)


def sentence(text: str, end: str = ".") -> str:
    """Write text as a sentence: with a or an, a capital letter, the final stop."""
    text = _AN.sub(lambda match: match.group()[0] + "n ", text)
    return text[0].upper() + text[1:] + end


def active(event: Event) -> str:
    """Write `the boy (did not) chase(d) a dog quickly in the park on Monday`."""
    verb = "did not " + event.verb.base if event.negated else event.verb.past
    return join(str(event.subject), verb, str(event.object), event.circumstances)


def passive(event: Event) -> str:
    """Write `a dog was chased by the boy ...`; a negated indefinite object becomes `no dog was chased`."""
    phrase, negation = event.object, "not" if event.negated else ""
    if event.negated and phrase.determiner == "a":
        phrase, negation = replace(phrase, determiner="no"), ""
    return join(str(phrase), "was", negation, event.verb.participle, "by", str(event.subject), event.circumstances)


def fronted(event: Event) -> str:
    """Write the active sentence with its time, or its place, in front; plain active if it has neither."""
    front = event.time or event.place
    if not front:
        return active(event)
    rest = replace(event, time="") if event.time else replace(event, place="")
    return f"{front}, {active(rest)}"


def say(rng: Random, event: Event) -> str:
    """Write the event in a form drawn at random: the meaning is the same."""
    return rng.choice((active, active, passive, passive, fronted))(event)


def person(rng: Random, lexicon: Lexicon, adjective: float = 0.0) -> Phrase:
    """Draw a name, or `the` with a noun for a person, with an adjective with the given probability."""
    if rng.random() < 0.5 * (1 - adjective):
        return Phrase(rng.choice(lexicon.names))
    word = rng.choice(lexicon.adjectives_for["person"]).word if rng.random() < adjective else ""
    return Phrase(noun=rng.choice(lexicon.people), adjective=word)


def thing(rng: Random, lexicon: Lexicon, adjective: float = 0.0, determiner: str = "the") -> Phrase:
    """Draw a noun phrase for an animal or an object."""
    noun = rng.choice(lexicon.things)
    word = rng.choice(lexicon.adjectives_for[noun.kind]).word if rng.random() < adjective else ""
    return Phrase(noun=noun, adjective=word, determiner=determiner)


def circumstances(rng: Random, lexicon: Lexicon, event: Event, number: int) -> Event:
    """Return the event with that many of manner, place and time filled in."""
    for slot in rng.sample(ADJUNCTS, number):
        event = with_circumstance(rng, lexicon, event, slot)
    return event


def with_circumstance(rng: Random, lexicon: Lexicon, event: Event, slot: str) -> Event:
    """Return the event with one of manner, place, time replaced by another one."""
    if slot == "manner":
        return replace(event, manner=rng.choice([a.word for a in lexicon.adverbs if a.word != event.manner]))
    if slot == "place":
        return replace(event, place=rng.choice([place for place in lexicon.places if place != event.place]))
    return replace(event, time=rng.choice([time for time in lexicon.times if time != event.time]))


def without(event: Event, slot: str) -> Event:
    """Return the event with manner, place or time left open."""
    if slot == "manner":
        return replace(event, manner="")
    return replace(event, place="") if slot == "place" else replace(event, time="")


def event_with_person(rng: Random, lexicon: Lexicon, adjective: float = 0.0) -> Event:
    """Draw an event between two different people, so that the roles can be swapped."""
    subject, other = person(rng, lexicon, adjective), person(rng, lexicon, adjective)
    while subject.name == other.name and subject.noun == other.noun:
        other = person(rng, lexicon, adjective)
    return Event(subject, rng.choice(lexicon.verbs_for["person"]), other)


def event_with_thing(rng: Random, lexicon: Lexicon, adjective: float = 0.0, determiner: str = "the") -> Event:
    """Draw a person doing something to an animal or an object."""
    target = thing(rng, lexicon, adjective, determiner)
    assert target.noun is not None
    return Event(person(rng, lexicon, adjective / 2), rng.choice(lexicon.verbs_for[target.noun.kind]), target)


def swapped(event: Event) -> Event:
    """Exchange subject and object: the same words, another meaning."""
    return replace(event, subject=event.object, object=event.subject)


def with_synonyms(rng: Random, lexicon: Lexicon, event: Event, probability: float = 0.5) -> Event:
    """Return the event with each word that has a synonym replaced by it with the given probability."""

    def phrase(old: Phrase) -> Phrase:
        synonym = lexicon.adjective[old.adjective].synonym if old.adjective else ""
        return replace(old, adjective=synonym) if synonym and rng.random() < probability else old

    event = replace(event, subject=phrase(event.subject), object=phrase(event.object))
    if event.verb.synonym and rng.random() < probability:
        event = replace(event, verb=lexicon.verb[event.verb.synonym])
    manner = next((adverb.synonym for adverb in lexicon.adverbs if adverb.word == event.manner), "")
    return replace(event, manner=manner) if manner and rng.random() < probability else event
