"""QNLI pairs a question about an event with a sentence that answers it, or shares its words and does not."""

from dataclasses import replace
from random import Random

from glue_tasks.sample import grammar
from glue_tasks.sample.grammar import Event, join, say, sentence
from glue_tasks.sample.lexicon import Lexicon
from glue_tasks.sample.paraphrase import altered

_ASKED = {
    "place": ("where", "in what place"),
    "time": ("when", "at what time"),
    "manner": ("how", "in what manner"),
    "reason": ("why", "for what reason"),
}


def _question(rng: Random, event: Event, asked: str) -> str:
    if asked == "subject":
        verb = event.verb
        return rng.choice((f"who {verb.past} {event.object}", f"by whom was {event.object} {verb.participle}"))
    if rng.random() < 0.5:
        return join(rng.choice(_ASKED[asked]), "did", str(event.subject), event.verb.base, str(event.object))
    return join(rng.choice(_ASKED[asked]), "was", str(event.object), event.verb.participle, "by", str(event.subject))


def make(rng: Random, lexicon: Lexicon, label: int) -> tuple[str, str]:
    """Make question and sentence; label is 0 where the sentence answers (entailment), 1 where it does not."""
    kinds = grammar.event_with_person if rng.random() < 0.6 else grammar.event_with_thing
    event = kinds(rng, lexicon, 0.4)
    told = rng.sample(list(_ASKED), 2)
    reason = rng.choice(lexicon.reasons) if "reason" in told else ""
    full = event
    for slot in told:
        full = full if slot == "reason" else grammar.with_circumstance(rng, lexicon, full, slot)
    asked = rng.choice([*told, "subject"])
    if label and asked != "subject" and rng.random() < 0.5:
        asked = rng.choice([slot for slot in _ASKED if slot not in told])
    elif label:
        changed = altered(rng, lexicon, full)
        while _same_but_circumstances(changed, event) or (asked == "subject" and _object_kept(changed, event)):
            changed = altered(rng, lexicon, full)
        full = changed
    full = grammar.with_synonyms(rng, lexicon, full, 0.4)
    return sentence(_question(rng, event, asked), "?"), sentence(join(say(rng, full), reason))


def _same_but_circumstances(one: Event, other: Event) -> bool:
    """Return whether both events have the same people, things and verb, and both happened."""
    return replace(one, manner="", place="", time="") == replace(other, manner="", place="", time="")


def _object_kept(one: Event, other: Event) -> bool:
    """Return whether verb, object and polarity are the same, so that `who did it` has an answer."""
    return (one.verb, one.object, one.negated) == (other.verb, other.object, other.negated)
