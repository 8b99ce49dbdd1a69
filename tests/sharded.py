"""The fits that are run in one process and on two ranks: every kind of toy, every method, and combinations."""

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from ftreg import HeadFirst, LayerPooling, Mixout
from ftreg.testing import CASES
from ftreg.testing.cases import ACTING
from ftreg.testing.ranks import Run
from tests import mixed, toys

TRIO = ("Mixout", "FreeLB", "SMART")


def combined() -> Iterator[tuple[str, Run]]:
    """Every subset of the three that has two or more, at their cards' settings."""
    for size in (2, 3):
        for names in combinations(TRIO, size):
            yield "+".join(names), Run(tuple(CASES[name].card for name in names), resumed=False)


TOYS: dict[str, Run] = {
    "plain": Run(),
    "anchor": Run(options={"decay_towards": "anchor", "weight_decay": 0.5}, resumed=False),
    "weight": Run((partial(Mixout, p=0.6, granularity="weight"),), resumed=False),
    "reference": Run((partial(Mixout, p=0.6, gradient="reference"),), resumed=False),
    "everything": Run(
        (toys.Shrink, partial(Mixout, p=0.6), toys.Ascent, toys.Jitter, toys.HalveHead, toys.Average),
    ),
}
METHODS: dict[str, Run] = {name: Run((case.card,)) for name, case in CASES.items()}
ALL_THREE = tuple(CASES[name].card for name in TRIO)
VARIANTS: dict[str, Run] = {
    "SMART whose β rises": Run((partial(ACTING, beta=0.5, beta_switch=0.5),)),
    "HeadFirst, then all": Run((partial(HeadFirst, share=0.5), *ALL_THREE), resumed=False),
    "HeadFirst with a cache": Run((partial(HeadFirst, share=0.9, cache=True),), resumed=False),
    "HIRE": Run((partial(LayerPooling, mix="hire", tokens="attention"),), resumed=False),
}
COMBINATIONS: dict[str, Run] = {
    **dict(combined()),
    "all five": Run((LayerPooling, CASES["TwoStage"].card, *ALL_THREE)),
    "clipped": Run(ALL_THREE, options={"max_grad_norm": 0.01}, resumed=False),
    "permuted": Run(ALL_THREE[::-1], resumed=False),
}
RUNS = TOYS | METHODS | VARIANTS | COMBINATIONS | mixed.RUNS
BROKEN: dict[str, Run] = {"careless": Run((toys.Careless,))}
"""Depends on the micro-batch, and forgets what it has seen: what the contracts must find."""
