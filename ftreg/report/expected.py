"""The best of n runs has an expectation: what a budget of n tries buys."""

from math import comb

import numpy as np
from numpy.typing import ArrayLike

from ftreg._base.errors import UsageError
from ftreg.report.inputs import count, sample


def expected_maximum(scores: ArrayLike, n: int) -> float:
    """Return the mean best of n draws with replacement: Σ_v v (F(v)ⁿ − F(v⁻)ⁿ), F the empirical distribution.

    Dodge, Gururangan, Card, Schwartz, Smith. *Show Your Work: Improved Reporting of Experimental Results*. EMNLP 2019,
    arXiv 1909.03004. Too low on average, the more so as n nears the number of runs: see
    `expected_maximum_unbiased`.

    Args:
        scores: [runs].
        n: draws, 1 or more; there may be more of them than runs.

    Raises:
        UsageError: no scores, one that is not finite, or n is less than 1.
    """
    ordered = np.sort(sample("expected_maximum: scores", scores))
    below = (np.arange(len(ordered) + 1) / len(ordered)) ** count("n", n)
    return float(ordered @ np.diff(below))


def expected_maximum_unbiased(scores: ArrayLike, n: int) -> float:
    """Return the mean best of n draws without replacement: Σᵢ v₍ᵢ₎ C(i − 1, n − 1) / C(N, n), of N sorted scores.

    Unbiased for the best of n new runs. Tang, Lee, Xin, Liu, Yu, Lin. *Showing Your Work Doesn't Always Work*. ACL
    2020, arXiv 2004.13705.

    Args:
        scores: [runs].
        n: draws, from 1 to the number of runs.

    Raises:
        UsageError: no scores, one that is not finite, or n is out of range.
    """
    ordered = np.sort(sample("expected_maximum_unbiased: scores", scores))
    if not 1 <= n <= len(ordered):
        raise UsageError(f"n is {n}; without replacement it must lie between 1 and the {len(ordered)} runs")
    ways = comb(len(ordered), n)
    return float(ordered @ np.array([comb(i, n - 1) / ways for i in range(len(ordered))]))
