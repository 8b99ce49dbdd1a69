"""Almost stochastic order says how far one arm's scores are from being larger than another's at every quantile.

Dror, Shlomov, Reichart. *Deep Dominance - How to Properly Compare Deep Neural Models*. ACL 2019, P19-1266.
del Barrio, Cuesta-Albertos, Matrán. *An optimal transportation approach for assessing almost stochastic order*. 2018,
arXiv 1705.01788.

The samples are taken as independent: for runs that share seeds, `ftreg.report.paired` sees more. Between two arms that
do not differ ε is 0/0, and the bound is one of nothing: ε_min is below 0.5 in a fifth of cases however many runs there
are, and below 0.2 in 3 to 6 % (`experiments/results/aso_null.json`). So ε_min goes beside a test, not in its place.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats  # type: ignore[import-untyped]

from ftreg.report.inputs import Floats, count, inside, sample


def violation(a: ArrayLike, b: ArrayLike) -> float:
    """Return ε̂, by how much A falls short of dominating B: 0 where A is larger at every quantile, 1 at none.

    ε̂ = ∫₀¹ (F_B⁻¹ − F_A⁻¹)₊² dt / ∫₀¹ (F_B⁻¹ − F_A⁻¹)² dt, exactly: both quantile functions are steps. For A = {0, 3}
    and B = {1, 1}, F_B⁻¹ − F_A⁻¹ is 1 on the lower half and −2 on the upper: ε̂ = (1/2) / (1/2 + 4/2) = 1/5. Where they
    differ, ε̂ of (A, B) and of (B, A) add up to 1; where they do not, the ratio is 0/0 and ε̂ is 1.

    Args:
        a, b: [n] and [m], larger is better; neither order nor scale matters.

    Raises:
        UsageError: an empty sample, or a score that is not finite.
    """
    return float(_violations(np.sort(sample("violation: a", a)), np.sort(sample("violation: b", b))))


def aso(
    a: ArrayLike, b: ArrayLike, alpha: float = 0.05, comparisons: int = 1, bootstraps: int = 1_000, seed: int = 0
) -> float:
    """Return ε_min, an upper confidence bound of `violation`: A almost stochastically dominates B where it is small.

    ε_min = ε̂ − √((n + m)/(nm)) σ̂ Φ⁻¹(α′), clipped to [0, 1], with α′ = α/comparisons and σ̂ the standard deviation of
    √(nm/(n + m)) (ε* − ε̂) over pairs of bootstrap samples of the original sizes n and m. Φ⁻¹(α′) is negative: a
    smaller α, or more comparisons, only raises ε_min. Below 0.5 A is said to dominate almost; 0.2 is safer.

    Args:
        a, b: [n] and [m] finite scores, larger is better.
        alpha: 1 − the confidence.
        comparisons: that are made together (Bonferroni).
        bootstraps: pairs of bootstrap samples.
        seed: of the draws.

    Raises:
        UsageError: fewer than two scores, one that is not finite, or an option out of range.
    """
    left, right = np.sort(sample("aso: a", a, 2)), np.sort(sample("aso: b", b, 2))
    level = inside("alpha", alpha) / count("comparisons", comparisons)
    rng, draws = np.random.default_rng(seed), count("bootstraps", bootstraps)
    # A sorted sample at sorted places is sorted.
    resampled = [one[np.sort(rng.integers(0, len(one), (draws, len(one))), axis=1)] for one in (left, right)]
    # The two square roots cancel: what is left is the standard deviation of ε* itself.
    bound = _violations(left, right) - _violations(*resampled).std() * stats.norm.ppf(level)
    return float(np.clip(bound, 0, 1))


def _violations(a: Floats, b: Floats) -> Floats:
    """Return ε̂ of sorted samples, [..., n] and [..., m]."""
    n, m = a.shape[-1], b.shape[-1]
    # In units of 1/(nm), where A's steps end every m and B's every n.
    edges = np.union1d(np.arange(0, n * m + 1, m), np.arange(0, n * m + 1, n))
    starts = edges[:-1]
    gap = b[..., starts // n] - a[..., starts // m]
    squares = gap**2 * np.diff(edges)
    total = squares.sum(-1)
    short = np.where(gap > 0, squares, 0.0).sum(-1)
    return np.asarray(np.divide(short, total, out=np.ones_like(total), where=total > 0))
