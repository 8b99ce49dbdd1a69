"""CoLA's sentences have agreement, argument structure, movement and licensing right or wrong.

Every phenomenon makes the good and the bad sentence from the same words as far as it can, so the presence of
a word tells little and the arrangement tells all.
"""

from collections.abc import Callable
from random import Random

from glue_tasks.sample import grammar
from glue_tasks.sample.grammar import join
from glue_tasks.sample.lexicon import Lexicon, inflect, words

_INTRANSITIVE = tuple(inflect(verb) for verb in words("sleep arrive fall swim laugh wait yawn vanish smile"))
_NEVER_INTRANSITIVE = words(
    "purchase locate repair fix conceal display toss reject borrow carry unlock inspect examine neglect "
    "construct destroy demolish wrap trap capture release abandon rescue"
)
_ALTERNATING = ("gave", "sent", "offered", "handed")
_PREPOSITIONAL = ("explained", "described", "donated", "mentioned")
_TO_VERBS, _ING_VERBS = ("wanted", "decided", "refused", "hoped"), ("enjoyed", "avoided", "finished", "kept")
_OBJECT_CONTROL, _NO_OBJECT_CONTROL = (
    ("forced", "persuaded", "asked", "told"),
    ("hoped", "tried", "decided", "refused"),
)
_NEAR = ("near", "behind", "next to", "in front of")


def _noun(rng: Random, lexicon: Lexicon, many: bool) -> tuple[str, str]:
    """Draw a noun in the number asked for, and its kind."""
    noun = rng.choice(lexicon.nouns)
    return (noun.many if many else noun.one), noun.kind


def agreement(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Subject and verb agree in number, whatever noun stands between them."""
    many, between = rng.random() < 0.5, rng.random() < 0.5
    noun, kind = _noun(rng, lexicon, many)
    form = many if good else not many
    if rng.random() < 0.5:
        predicate = join(
            rng.choice((("is", "was"), ("are", "were"))[form]), rng.choice(lexicon.adjectives_for[kind]).word
        )
    else:
        verb = rng.choice(_INTRANSITIVE)
        predicate = join(verb[0] if form else verb[1], rng.choice(("every day", "too often", "here")))
    return join("the", noun, rng.choice(_NEAR), "the", _noun(rng, lexicon, between)[0], predicate)


def determiners(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Sentences have `this` or `these`, `many` or `every`, with a noun that agrees or does not."""
    many = rng.random() < 0.5
    noun = _noun(rng, lexicon, many)[0]
    word = rng.choice(
        (("this", "that", "every", "each"), ("these", "those", "many", "several"))[many if good else not many]
    )
    name = rng.choice(lexicon.names)
    return rng.choice((f"{name} saw {word} {noun}", f"{word} {noun} vanished", f"{name} talked about {word} {noun}"))


def arguments(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Transitive verbs need their object, intransitive ones take none."""
    event = grammar.event_with_thing(rng, lexicon, 0.2)
    while event.verb.base not in _NEVER_INTRANSITIVE:
        event = grammar.event_with_thing(rng, lexicon, 0.2)
    rest = rng.choice(lexicon.places + lexicon.times)
    if rng.random() < 0.5:
        return join(str(event.subject), event.verb.past, str(event.object) if good else "", rest)
    return join(str(event.subject), rng.choice(_INTRANSITIVE)[2], "" if good else str(event.object), rest)


def reflexives(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Reflexive pronouns agree with the subject of their own clause."""
    woman = rng.random() < 0.5
    here = rng.choice(lexicon.women if woman else lexicon.men)
    there = rng.choice(lexicon.men if woman else lexicon.women)
    right, wrong = ("herself", "himself") if woman else ("himself", "herself")
    verb = rng.choice(lexicon.verbs_for["person"]).past
    frame = rng.choice(
        (
            f"{here} {verb} {{}}",
            f"{there} thought that {here} {verb} {{}}",
            f"{here} and not {there} {verb} {{}}",
        )
    )
    return frame.format(right if good else wrong)


def verb_forms(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Return each auxiliary asks for its own form of the verb."""
    event = grammar.event_with_thing(rng, lexicon)
    verb = event.verb
    forms = {
        "has": verb.participle,
        "will": verb.base,
        "is": verb.ing,
        "did not": verb.base,
        "can": verb.base,
    }
    auxiliary = rng.choice(list(forms))
    wrong = [form for form in (verb.base, verb.ing, verb.participle) if form != forms[auxiliary]]
    wrong = [form for form in wrong if auxiliary != "is" or form != verb.participle]
    form = forms[auxiliary] if good else rng.choice(wrong)
    return join(str(event.subject), auxiliary, form, str(event.object))


def datives(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Give takes both objects in either order, explain does not."""
    giver, taker = rng.sample(lexicon.names, 2)
    what = str(grammar.thing(rng, lexicon))
    plain = rng.random() < 0.5
    if not good:
        return f"{giver} {rng.choice(_PREPOSITIONAL)} {taker} {what}"
    verb = rng.choice(_ALTERNATING if plain else _PREPOSITIONAL)
    return f"{giver} {verb} {taker} {what}" if plain else f"{giver} {verb} {what} to {taker}"


def polarity(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Ever and any need a negation above them."""
    event = grammar.event_with_thing(rng, lexicon)
    noun, name = _noun(rng, lexicon, True)[0], rng.choice(lexicon.names)
    some, nobody = rng.choice((("somebody", "nobody"), ("everybody", "nobody"), ("some people", "few people")))
    if rng.random() < 0.5:
        auxiliary = "have" if "people" in nobody else "has"
        return f"{nobody if good else some} {auxiliary} ever {event.verb.participle} {event.object}"
    verb = event.verb
    return f"{name} did not {verb.base} any {noun}" if good else f"{name} {verb.past} any {noun}"


def questions(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Question words leave a gap, and do not leave a conjunction, a relative clause or an adjunct."""
    event = grammar.event_with_thing(rng, lexicon)
    name, other = rng.sample(lexicon.names, 2)
    verb, what = event.verb, str(event.object)
    if good:
        return rng.choice((
            f"what did {name} {verb.base} with {other}", f"what did {name} say that {other} {verb.past}",
            f"who {verb.past} {what} and left", f"which box did {name} put {what} in",
        ))  # fmt: skip
    return rng.choice((
        f"what did {name} {verb.base} {what} with {other}", f"what did {name} {verb.base} {what} and",
        f"what did {name} leave because {other} {verb.past}", f"who did {name} say that {verb.past} {what}",
        f"which box did {name} put {what} in it",
    ))  # fmt: skip


def word_order(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Adjectives come before nouns, nothing between verb and object, articles first."""
    event = grammar.event_with_thing(rng, lexicon, 1.0)
    noun, adjective = event.object.noun, event.object.adjective
    assert noun is not None
    who, verb, adverb = str(event.subject), event.verb.past, rng.choice(lexicon.adverbs).word
    if good:
        return rng.choice((f"{who} {adverb} {verb} {event.object}", f"{who} {verb} {event.object} {adverb}"))
    return rng.choice((
        f"{who} {verb} {adverb} {event.object}", f"{who} {adverb} {verb} the {noun.one} {adjective}",
        f"{who} {event.object} {verb} {adverb}", f"{who} {verb} {adjective} the {noun.one} {adverb}",
    ))  # fmt: skip


def complements(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Verbs take `to` or -ing, with an object before it or without."""
    event = grammar.event_with_thing(rng, lexicon)
    other = rng.choice(lexicon.names)
    who, verb, what = str(event.subject), event.verb, str(event.object)
    if rng.random() < 0.4:
        head = rng.choice(_OBJECT_CONTROL if good else _NO_OBJECT_CONTROL)
        return f"{who} {head} {other} to {verb.base} {what}"
    to = rng.random() < 0.5
    head = rng.choice(_TO_VERBS if to == good else _ING_VERBS)
    return f"{who} {head} {'to ' + verb.base if to else verb.ing} {what}"


def pronouns(rng: Random, lexicon: Lexicon, good: bool) -> str:
    """Subjects are she and he, objects her and him."""
    event = grammar.event_with_person(rng, lexicon)
    subject, object_ = rng.choice((("she", "him"), ("he", "her"), ("they", "us"), ("we", "them")))
    if not good:
        subject, object_ = object_, subject
    rest = rng.choice(lexicon.times)
    frame = rng.choice((f"{subject} {{}} {event.object} {rest}", f"{event.subject} {{}} {object_} {rest}"))
    return frame.format(event.verb.past)


PHENOMENA: tuple[Callable[[Random, Lexicon, bool], str], ...] = (
    agreement, agreement, determiners, arguments, arguments, reflexives, verb_forms, datives, polarity,
    questions, word_order, complements, pronouns,
)  # fmt: skip


def make(rng: Random, lexicon: Lexicon, label: int) -> tuple[str]:
    """Make a sentence; label is 1 where it is acceptable."""
    text = rng.choice(PHENOMENA)(rng, lexicon, bool(label))
    question = text.split()[0] in ("what", "which") or text.startswith("who ")
    return (grammar.sentence(text, "?" if question else "."),)
