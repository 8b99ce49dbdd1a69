"""The built-in sample's lexicon has two genres with disjoint names, nouns, adjectives, verbs and places.

Word tables are written as short lines and parsed once. `~` separates opposites, `/` synonyms, and what stands
before a colon is the kind of thing the line is about. Kinds of nouns: person, animal, natural (fruit and
flowers), made (things one can carry), big (things one cannot).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from random import Random

KINDS = ("person", "animal", "natural", "made", "big")


@dataclass(frozen=True)
class Noun:
    """A noun is countable; `above` is its hypernym's singular form, "" for a hypernym itself."""

    one: str
    many: str
    kind: str
    above: str


@dataclass(frozen=True)
class Verb:
    """A verb is transitive; `objects` are the kinds of nouns it takes, synonym and antonym base forms or ""."""

    base: str
    third: str
    past: str
    participle: str
    ing: str
    objects: tuple[str, ...]
    synonym: str
    antonym: str


@dataclass(frozen=True)
class Modifier:
    """A modifier is an adjective or adverb, with its synonym and antonym ("" for none) and what it can be said of."""

    word: str
    kinds: tuple[str, ...]
    synonym: str
    antonym: str


@dataclass(frozen=True)
class Lexicon:
    """A lexicon has the words of one genre (or of several, added up)."""

    women: tuple[str, ...]
    men: tuple[str, ...]
    nouns: tuple[Noun, ...]
    verbs: tuple[Verb, ...]
    adjectives: tuple[Modifier, ...]
    adverbs: tuple[Modifier, ...]
    places: tuple[str, ...]
    times: tuple[str, ...]
    reasons: tuple[str, ...]

    def __add__(self, other: Lexicon) -> Lexicon:
        return Lexicon(*(getattr(self, name) + getattr(other, name) for name in self.__dataclass_fields__))

    @cached_property
    def names(self) -> tuple[str, ...]:
        return self.women + self.men

    @cached_property
    def verb(self) -> dict[str, Verb]:
        return {verb.base: verb for verb in self.verbs}

    @cached_property
    def noun(self) -> dict[str, Noun]:
        return {noun.one: noun for noun in self.nouns}

    @cached_property
    def adjective(self) -> dict[str, Modifier]:
        return {adjective.word: adjective for adjective in self.adjectives}

    @cached_property
    def people(self) -> tuple[Noun, ...]:
        """Nouns for people, without the hypernyms."""
        return tuple(noun for noun in self.nouns if noun.above and noun.kind == "person")

    @cached_property
    def things(self) -> tuple[Noun, ...]:
        """Nouns for all else, without the hypernyms."""
        return tuple(noun for noun in self.nouns if noun.above and noun.kind != "person")

    @cached_property
    def adjectives_for(self) -> dict[str, tuple[Modifier, ...]]:
        """The adjectives that fit each kind."""
        return {kind: tuple(word for word in self.adjectives if kind in word.kinds) for kind in KINDS}

    @cached_property
    def verbs_for(self) -> dict[str, tuple[Verb, ...]]:
        """The verbs that take an object of each kind."""
        return {kind: tuple(verb for verb in self.verbs if kind in verb.objects) for kind in KINDS}

    def sibling(self, rng: Random, noun: Noun) -> Noun:
        """Return another noun under the same hypernym."""
        return rng.choice([other for other in self.nouns if other.above == noun.above and other.one != noun.one])


_VOWELS = "aeiou"
_PLURALS = {"child": "children", "lorry": "lorries", "daisy": "daisies", "lily": "lilies", "pony": "ponies"}
_PLURALS |= {"ruby": "rubies", "ferry": "ferries", "scarf": "scarves"}
_PLURALS |= {"craftsman": "craftsmen", "mango": "mangoes"}
_DOUBLED = {"drop", "trap", "wrap", "cancel", "swim", "shut"}
_IRREGULAR = {
    "buy": "bought bought", "sell": "sold sold", "find": "found found", "lose": "lost lost",
    "hide": "hid hidden", "break": "broke broken", "choose": "chose chosen", "throw": "threw thrown",
    "catch": "caught caught", "feed": "fed fed", "build": "built built", "steal": "stole stolen",
    "draw": "drew drawn", "forgive": "forgave forgiven", "shut": "shut shut", "sleep": "slept slept",
    "swim": "swam swum", "fall": "fell fallen",
}  # fmt: skip


def words(text: str) -> tuple[str, ...]:
    """Return the words of a text."""
    return tuple(text.split())


def plural(noun: str) -> str:
    """Return the plural of a singular noun."""
    return _PLURALS.get(noun) or noun + ("es" if noun.endswith(("s", "x", "ch", "sh")) else "s")


def inflect(base: str) -> tuple[str, str, str, str, str]:
    """Return (base, third person, past, participle, -ing form) of a verb."""
    after_consonant_y = base.endswith("y") and base[-2] not in _VOWELS
    third = base[:-1] + "ies" if after_consonant_y else base + "es" * base.endswith(("s", "x", "ch", "sh"))
    third = third if third != base else base + "s"
    stem = base + base[-1] if base in _DOUBLED else base
    ing = (stem[:-1] if stem.endswith("e") and not stem.endswith("ee") else stem) + "ing"
    if base in _IRREGULAR:
        past, participle = _IRREGULAR[base].split()
    else:
        past = base[:-1] + "ied" if after_consonant_y else stem + ("d" if stem.endswith("e") else "ed")
        participle = past
    return base, third, past, participle, ing


def _lines(table: str) -> Iterator[tuple[tuple[str, ...], str]]:
    for line in table.strip().splitlines():
        kinds, _, rest = line.partition(":")
        yield tuple(KINDS if kinds.strip() == "any" else kinds.split()), rest.strip()


def _nouns(table: str) -> tuple[Noun, ...]:
    nouns = []
    for (kind,), rest in _lines(table):
        above, *below = rest.split()
        nouns += [Noun(word, plural(word), kind, above) for word in below] + [Noun(above, plural(above), kind, "")]
    return tuple(nouns)


def _opposites(rest: str) -> Iterator[tuple[str, str, str]]:
    """Yield (word, synonym, antonym) for every word of entries like `big/large ~ small/little, red`."""
    for entry in rest.split(","):
        sides = [side.strip().split("/") for side in entry.split("~")]
        for side, other in zip(sides, reversed(sides), strict=True):
            for place, word in enumerate(side):
                yield word, side[1 - place] if len(side) > 1 else "", other[0] if len(sides) > 1 else ""


def _verbs(table: str) -> tuple[Verb, ...]:
    return tuple(Verb(*inflect(w), kinds, s, a) for kinds, rest in _lines(table) for w, s, a in _opposites(rest))


def _modifiers(table: str) -> tuple[Modifier, ...]:
    return tuple(Modifier(w, kinds, s, a) for kinds, rest in _lines(table) for w, s, a in _opposites(rest))


def _phrases(table: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in table.split(","))


EVERYDAY = Lexicon(
    women=words("Anna Maria Lucy Sara Emma Nina Rosa Ella"),
    men=words("Paul Tom Peter David John Mark Adam Felix"),
    nouns=_nouns("""
        person: musician pianist violinist drummer guitarist
        person: artist painter sculptor potter illustrator
        person: athlete swimmer sprinter boxer gymnast
        person: child boy girl toddler schoolboy
        person: cook baker chef butcher
        animal: dog poodle terrier spaniel beagle
        animal: bird robin sparrow parrot pigeon
        animal: horse pony stallion mare
        natural: fruit apple pear plum mango
        natural: flower rose tulip daisy lily
        made: instrument violin guitar flute trumpet
        made: tool hammer saw spanner drill
        made: toy doll kite puzzle balloon
        made: garment coat scarf jacket sweater
        big: vehicle car van truck bus"""),
    verbs=_verbs("""
        natural made big: buy/purchase ~ sell, find/locate ~ lose
        made big: repair/fix ~ break, paint, clean/wash, borrow
        made natural: hide/conceal ~ display, throw/toss ~ catch, carry, drop
        natural made big: choose/select ~ reject
        animal: feed, chase/pursue, rescue/save ~ abandon, photograph
        person: greet/welcome ~ ignore, praise/commend ~ criticise, help/assist ~ hinder
        person: admire/respect ~ despise, thank, mock/ridicule, visit, forgive"""),
    adjectives=_modifiers("""
        person: tall ~ short, rich/wealthy ~ poor, happy/cheerful ~ sad/unhappy
        person: polite/courteous ~ rude/impolite, brave/courageous ~ cowardly, friendly ~ hostile
        animal natural made big: big/large ~ small/little
        natural made big: cheap/inexpensive ~ expensive/costly, red, green, beautiful/lovely ~ ugly
        made big: clean ~ dirty/filthy, wet ~ dry
        animal: lazy/idle ~ active, tame ~ wild, noisy/loud ~ quiet/silent"""),
    adverbs=_modifiers("any: quickly/rapidly ~ slowly, carefully/cautiously ~ carelessly, quietly/silently ~ noisily"),
    places=_phrases("""
        in the garden, at the market, in the park, on the beach, in the kitchen, near the river,
        at the station, in Paris, in the village, at the party"""),
    times=_phrases("""
        on Monday, on Tuesday, last week, in the morning, after lunch, before dinner,
        last summer, on Saturday"""),
    reasons=_phrases("""
        because of the rain, because of the noise, because of the holiday, because of a bet"""),
)

WORK = Lexicon(
    women=words("Olivia Grace Helen Julia Clara Alice Irene Laura"),
    men=words("Henry Victor Oscar Simon Martin Leo Frank George"),
    nouns=_nouns("""
        person: scientist physicist chemist biologist geologist
        person: doctor surgeon dentist cardiologist
        person: craftsman plumber carpenter electrician welder
        person: officer captain colonel lieutenant sergeant
        person: journalist reporter columnist editor
        animal: reptile lizard snake crocodile turtle
        animal: insect beetle moth wasp bee
        made: document letter contract report invoice
        made: gem ruby emerald sapphire diamond
        made: container box crate barrel basket
        made: weapon sword rifle pistol dagger
        big: machine printer tractor generator bulldozer
        big: ship ferry tanker yacht trawler"""),
    verbs=_verbs("""
        made big: order/request ~ cancel, inspect/examine ~ neglect, steal, measure, weigh
        big: build/construct ~ destroy/demolish, launch
        made: deliver ~ collect/gather, lock ~ unlock, wrap, open ~ close/shut
        animal: study/investigate, trap/capture ~ release/free, draw/sketch, observe/watch
        person: hire/employ ~ dismiss/fire, trust ~ distrust/doubt, warn/caution, support/back ~ oppose
        person: accuse ~ defend, interview/question, promote ~ demote, phone/call"""),
    adjectives=_modifiers("""
        person: young/youthful ~ old/elderly, famous/renowned ~ unknown, clever/intelligent ~ stupid/foolish
        person: calm/relaxed ~ nervous/anxious, honest/truthful ~ dishonest, strong ~ weak
        made big: heavy ~ light, new/modern ~ ancient, rare/uncommon ~ common
        made big: safe ~ dangerous/unsafe, blue, grey
        animal: fast/swift ~ slow, healthy ~ sick/ill, enormous/huge ~ tiny/minuscule"""),
    adverbs=_modifiers("any: suddenly/abruptly ~ gradually, reluctantly/unwillingly ~ eagerly, secretly ~ openly"),
    places=_phrases("""
        in the laboratory, at the harbour, in the office, at the airport, in the warehouse, near the factory,
        in London, in the hospital, at the border, in the library"""),
    times=_phrases("""
        on Wednesday, on Thursday, last year, in the evening, at noon, before the meeting,
        last spring, on Friday"""),
    reasons=_phrases("""
        because of the strike, because of the delay, because of a rumour, because of the budget"""),
)

BOTH = EVERYDAY + WORK
