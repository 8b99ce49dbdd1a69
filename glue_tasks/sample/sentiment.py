"""SST-2 has judgements about films, places and meals; negation and concession turn the words round."""

from random import Random

from glue_tasks.sample.grammar import sentence
from glue_tasks.sample.lexicon import Lexicon, words

_GOOD = words(
    "delightful brilliant charming wonderful excellent superb moving clever fresh impressive enjoyable "
    "splendid graceful memorable warm inspired"
)
_BAD = words(
    "dull awful boring terrible clumsy tedious dreadful weak stale disappointing unpleasant horrible "
    "lifeless forgettable cold lazy"
)
_MERITS = words("charm wit energy grace originality warmth flair humour")
_FLAWS = words("boredom clutter noise nonsense cliches mistakes gloom confusion")
_THINGS = {
    "film": ("acting", "plot", "music", "ending", "script"),
    "novel": ("story", "style", "opening", "dialogue", "ending"),
    "restaurant": ("soup", "service", "wine", "dessert", "menu"),
    "hotel": ("room", "breakfast", "staff", "view", "garden"),
    "concert": ("singing", "sound", "programme", "lighting", "encore"),
    "play": ("cast", "direction", "staging", "dialogue", "costumes"),
}
_INTENSIFIERS = ("very", "truly", "rather", "utterly", "quite", "", "", "really")
_JUDGES = (
    "I think",
    "the critics agree that",
    "my sister says",
    "most people found that",
    "we all felt that",
)
_ENJOYED, _DISLIKED = (
    ("loved", "enjoyed", "recommended", "praised"),
    ("hated", "regretted", "mocked", "disliked"),
)


def _state(rng: Random, good: bool) -> str:
    """Make an adjective phrase of the wanted polarity: a word, or the negation of its opposite."""
    if rng.random() < 0.65:
        return f"{rng.choice(_INTENSIFIERS)} {rng.choice(_GOOD if good else _BAD)}".strip()
    turned = rng.choice(_BAD if good else _GOOD)
    frames = ("not {} at all", "far from {}", "never {}", "anything but {}", "hardly {}")
    return rng.choice(frames).format(turned)


def make(rng: Random, lexicon: Lexicon, label: int) -> tuple[str]:
    """Make a sentence; label is 1 where the judgement is favourable. Of two judgements the main one counts."""
    good = bool(label)
    thing = rng.choice(list(_THINGS))
    part, other = rng.sample(_THINGS[thing], 2)
    was, name = "were" if part == "costumes" else "was", rng.choice(lexicon.names)
    other_was = "were" if other == "costumes" else "was"
    state, second, against = _state(rng, good), _state(rng, good), _state(rng, not good)
    plain, also = rng.sample(_GOOD if good else _BAD, 2)
    merit_or_flaw = rng.choice(_MERITS if good else _FLAWS)
    missing = rng.choice(_FLAWS if good else _MERITS)
    liked, opposite = (_ENJOYED, _DISLIKED) if good else (_DISLIKED, _ENJOYED)
    expected, outlook = (rng.choice(_BAD), "feared") if good else (rng.choice(_GOOD), "hoped")
    text = rng.choice(
        (
            f"the {part} of the {thing} {was} {state}",
            f"the {part} of this {thing} {was} {state} and {second}",
            f"what a {plain} {thing}, and how {also} the {part} {was}",
            f"the {thing} was {plain}, {also} and {state}",
            f"although the {other} {other_was} {against}, the {thing} as a whole was {state}",
            f"the {thing} was {state}, even if the {other} {other_was} {against}",
            f"the {other} {other_was} {against}, but the {thing} was {state}",
            f"the {thing} was without {missing} and full of {merit_or_flaw}",
            f"the {part} {was} full of {merit_or_flaw} and free of {missing}",
            f"the {thing} was much less {expected} than {name} had {outlook}",
            f"{name} expected something {expected}, yet the {thing} was {state}",
            f"{name} {rng.choice(liked)} the {part} of the {thing}",
            f"nobody {rng.choice(opposite)} the {part} of the {thing}",
        )
    )
    if rng.random() < 0.35 and not text.startswith(("what a", "although")):
        text = f"{rng.choice(_JUDGES)} {text}"
    return (sentence(text),)
