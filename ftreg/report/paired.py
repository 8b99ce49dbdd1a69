"""Two arms are compared seed by seed, and a family of comparisons takes a number of seeds.

`differences` are A's score minus B's at the same seeds, [pairs], all finite: a diverged run has no difference, and
what stands for it is the caller's to decide and to say.
"""

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats  # type: ignore[import-untyped]

from ftreg._base.errors import UsageError
from ftreg.report.inputs import Floats, count, inside, sample

EXACT = 20
"""Pairs up to which all 2ⁿ arrangements of signs are gone through."""
DRAWS = 100_000
"""Random arrangements in their place above that."""
TOLERANCE = 1e-5
"""Sums closer than this share of Σ|d| are ties. Metrics are computed in single precision, where equal differences of
accuracy come out unequal in the seventh digit: at double precision's own tolerance, about half of the p-values of ten
pairs on RTE's 277 items are wrong; at this one, none in simulation."""


def sign_flip(differences: ArrayLike, seed: int = 0) -> float:
    """Return p of the two-sided sign-flip permutation test that the differences' mean is 0.

    The share of the 2ⁿ arrangements of signs s for which |Σ sᵢ dᵢ| ≥ |Σ dᵢ|. Exact up to 20 pairs; above, of 100,000
    random arrangements and the observed one, (1 + hits)/(1 + draws), so that p is never 0 (Phipson and Smyth, 2010,
    arXiv 1603.05766). Fisher, *The Design of Experiments*, 1935, § 21. All differences 0: p is 1.

    Args:
        differences: [pairs].
        seed: of the random arrangements; unused up to 20 pairs.

    Raises:
        UsageError: no differences, or one that is not finite.
    """
    d = sample("sign_flip: differences", differences)
    least = abs(d.sum()) - TOLERANCE * np.abs(d).sum()
    if len(d) > EXACT:
        signs = 1 - 2 * np.random.default_rng(seed).integers(0, 2, (DRAWS, len(d)), dtype=np.int8)
        return float((1 + (np.abs(signs @ d) >= least).sum()) / (1 + DRAWS))
    # |Σ| is the same with all signs changed: half of the arrangements will do, those that leave the first alone.
    sums = d[:1]
    for one in d[1:]:
        sums = np.concatenate([sums + one, sums - one])
    return float((np.abs(sums) >= least).mean())


def wilcoxon(differences: ArrayLike, seed: int = 0) -> float:
    """Return p of the two-sided signed-rank test that the differences are symmetric about 0.

    Wilcoxon, *Individual comparisons by ranking methods*, 1945. Zero differences are dropped, tied ones share a rank,
    and the signed ranks go through `sign_flip`: exact with ties too, up to 20 pairs. All differences 0: p is 1.

    Raises:
        UsageError: no differences, or one that is not finite.
    """
    d = sample("wilcoxon: differences", differences)
    d = d[d != 0]
    if not len(d):
        return 1.0
    return sign_flip(np.sign(d) * _ranks(np.abs(d)), seed)


def holm(ps: Mapping[str, float]) -> dict[str, float]:
    """Return the adjusted p of each comparison of a family, in the order given; ≤ α is significant at family level α.

    Of m sorted p-values, p̃₍ᵢ₎ = max over j ≤ i of min(1, (m − j + 1) p₍ⱼ₎). Holm, *A simple sequentially rejective
    multiple test procedure*, Scandinavian Journal of Statistics 6, 1979.

    Raises:
        UsageError: a p that is not between 0 and 1.
    """
    adjusted, largest = {}, 0.0
    for rank, name in enumerate(sorted(ps, key=lambda name: ps[name])):
        if not 0 <= ps[name] <= 1:
            raise UsageError(f"holm: p of {name} is {ps[name]}; it must lie between 0 and 1")
        largest = max(largest, min(1.0, (len(ps) - rank) * ps[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in ps}


def smallest_p(n: int) -> float:
    """Return the least p that the exact sign-flip and signed-rank tests can give for n pairs: 2/2ⁿ.

    Above 20 pairs the tests' own least p is that of the random arrangements, 1/100,001.

    Raises:
        UsageError: n is less than 1.
    """
    return 2.0 ** (1 - count("n", n))


def needed_pairs(alpha: float = 0.05, m: int = 1) -> int:
    """Return the least n with 2/2ⁿ ≤ α/m: below it, no comparison of a family of m can pass Holm's first step.

    Raises:
        UsageError: alpha is not strictly between 0 and 1, or m is less than 1.
    """
    threshold = inside("alpha", alpha) / count("m", m)
    n = 1
    while smallest_p(n) > threshold:
        n += 1
    return n


def warnings(n_pairs: int, alpha: float = 0.05, m: int = 1, others: int = 0) -> list[str]:
    """Return a sentence if n pairs are too few for a comparison of a family of m to be significant, else nothing.

    Args:
        others: comparisons of the family that are significant: Holm's later steps ask for less.

    Raises:
        UsageError: as `needed_pairs`, or n_pairs is less than 1.
    """
    left = m - others
    needed = needed_pairs(alpha, left)
    if count("n_pairs", n_pairs) >= needed:
        return []
    family = f"in a family of {m} comparisons" if m > 1 else "for a single comparison"
    family += f", of which {others} {'is' if others == 1 else 'are'} significant," * (others > 0)
    return [
        f"With {n_pairs} pair{'s' * (n_pairs > 1)} the smallest possible p is {smallest_p(n_pairs):.2g}, above the "
        f"{alpha / left:.2g} that it takes {family} at level {alpha:g}: no difference can be significant; "
        f"use {needed} pairs or more."
    ]


def _ranks(sizes: Floats) -> Floats:
    """Return ranks from 1, the mean rank for sizes that tie up to `TOLERANCE`."""
    order = np.argsort(sizes)
    steps = np.diff(sizes[order], prepend=sizes.min()) > TOLERANCE * sizes.max()
    levels = np.empty(len(sizes))
    levels[order] = np.cumsum(steps)
    ranks: Floats = stats.rankdata(levels)
    return ranks
