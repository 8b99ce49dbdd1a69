"""WNLI pairs a sentence whose pronoun the sense of one word resolves with one that has a candidate in its place."""

from random import Random

from glue_tasks.sample.grammar import sentence
from glue_tasks.sample.lexicon import Lexicon

# Up to the pronoun; from the pronoun on; the words for which the pronoun is a; those for which it is b.
_PEOPLE = (
    ("{a} carried {b} over the river because", "was so {}", "strong", "tired"),
    ("{a} could not lift {b} because", "was so {}", "weak small", "heavy big"),
    ("{a} thanked {b} because", "had {} help", "received got", "given offered"),
    ("{a} paid {b} after", "had {} the work", "received ordered", "delivered finished"),
    ("{a} beat {b} at chess because", "was so {}", "clever skilful", "careless nervous"),
    ("{a} asked {b} a question, but", "did not {} it", "repeat explain", "answer understand"),
    ("{a} gave {b} an apple because", "was so {}", "generous kind", "hungry starved"),
    ("{a} could not see the stage behind {b} because", "was too {}", "short small", "tall broad"),
    ("{a} envied {b} because", "had {}", "failed lost", "succeeded won"),
    ("{a} comforted {b} because", "was so {}", "kind caring", "upset sad"),
    ("{a} shouted at {b} because", "had {} the vase", "loved inherited", "broken dropped"),
    ("{a} hired {b} because", "had {} a job", "offered advertised", "wanted sought"),
    ("{a} lent {b} some money because", "was {}", "rich generous", "poor broke"),
    ("{a} visited {b} in hospital because", "was {}", "worried caring", "ill injured"),
    ("{a} warned {b} because", "had {} the danger", "noticed seen", "missed ignored"),
)
_THINGS = (
    ("{a} did not fit in {b} because", "was too {}", "big large wide", "small narrow little"),
    ("{a} fell on {b} because", "was standing too {}", "high", "low"),
    ("{a} was replaced by {b} because", "was so much {}", "older slower weaker", "newer faster stronger"),
    ("{a} could not be hidden behind {b} because", "was too {}", "tall wide", "short thin"),
    ("{a} scratched {b} because", "was so {}", "sharp rough hard", "soft delicate"),
)


def make(rng: Random, lexicon: Lexicon, label: int) -> tuple[str, str]:
    """Make the sentence and the candidate reading; label is 1 where the pronoun stands for the candidate."""
    schema, referent = rng.choice(_PEOPLE + _THINGS), rng.randrange(2)
    start, clause, *words = schema
    clause = clause.format(rng.choice(words[referent].split()))
    if schema in _PEOPLE:
        names, pronoun = rng.choice(((lexicon.women, "she"), (lexicon.men, "he")))
        pair = rng.sample(names[:4], 2)  # few, so that sentences recur, as in WNLI
    else:
        made = [noun.one for noun in lexicon.nouns if noun.kind == "made"]
        pair, pronoun = [f"the {noun}" for noun in rng.sample(made, 2)], "it"
    candidate = pair[referent if label else 1 - referent]
    text = f"{start.format(a=pair[0], b=pair[1])} {pronoun} {clause}"
    return sentence(text), sentence(f"{candidate} {clause}")
