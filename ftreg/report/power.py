"""A difference takes a number of pairs of runs to be found, which is known before any of them is run."""

from bisect import bisect_left

import numpy as np

from ftreg._base.errors import UsageError
from ftreg.report.inputs import Floats, count, inside
from ftreg.report.paired import TOLERANCE, needed_pairs

EXACT = 14
"""Pairs up to which each simulated test goes through all arrangements of signs."""
MOST = 100
"""Pairs beyond which `pairs_needed` gives up."""
BLOCK = 2**22


def power(
    differences_std: float,
    effect: float,
    n: int,
    alpha: float = 0.05,
    m: int = 1,
    simulations: int = 2_000,
    seed: int = 0,
) -> float:
    """Return the chance that the sign-flip test of n pairs gives p ≤ α/m, if the differences are normal.

    By simulation: differences of mean `effect` and standard deviation `differences_std`, each set put to the test of
    `ftreg.report.paired.sign_flip`; above 14 pairs with fewer random arrangements than there. α/m is Holm's first
    step, the hardest, so a family's weaker comparisons are not promised more than they have. The standard error of the
    result is √(power (1 − power)/simulations), 0.009 at 0.8.

    Args:
        differences_std: of one paired difference, from a pilot.
        effect: the true mean difference, in the same unit.
        n: pairs.
        alpha: level of the family.
        m: comparisons in it.

    Raises:
        UsageError: an option is out of range.
    """
    if not (np.isfinite(differences_std) and differences_std >= 0 and np.isfinite(effect)):
        raise UsageError(
            f"power: effect is {effect} and differences_std is {differences_std}; both must be finite, "
            f"the latter 0 or more"
        )
    threshold = inside("alpha", alpha) / count("m", m)
    # n runs along the rows: other n have the same first differences, which makes their powers comparable.
    normal = np.random.default_rng(seed).standard_normal((count("n", n), count("simulations", simulations))).T
    differences = effect + differences_std * normal
    if n <= EXACT:
        signs, extra = _all_signs(n), 0
    else:
        draws = max(9_999, int(np.ceil(10 / threshold)))
        signs, extra = np.random.default_rng([seed, 1]).choice(np.array([-1.0, 1.0]), (draws, n)), 1
    block = max(1, BLOCK // len(signs))
    found = 0
    for start in range(0, simulations, block):
        part = differences[start : start + block]
        least = np.abs(part.sum(1)) - TOLERANCE * np.abs(part).sum(1)
        hits = (np.abs(part @ signs.T) >= least[:, None]).sum(1)
        found += int(((hits + extra) / (len(signs) + extra) <= threshold).sum())
    return found / simulations


def pairs_needed(
    differences_std: float,
    effect: float,
    alpha: float = 0.05,
    m: int = 1,
    target: float = 0.8,
    simulations: int = 2_000,
    seed: int = 0,
) -> int | None:
    """Return the least n whose `power` is `target` or more; None if 100 pairs do not reach it.

    Raises:
        UsageError: as `power`, or target is not strictly between 0 and 1.
    """
    candidates = range(needed_pairs(alpha, m), MOST + 1)
    at = bisect_left(
        candidates,
        inside("target", target),
        key=lambda n: power(differences_std, effect, n, alpha, m, simulations, seed),
    )
    return candidates[at] if at < len(candidates) else None


def _all_signs(n: int) -> Floats:
    """Return all arrangements that leave the first sign alone, [2ⁿ⁻¹, n]."""
    bits = np.arange(2 ** (n - 1))[:, None] >> np.arange(n) & 1
    return np.asarray(1.0 - 2 * bits, dtype=np.float64)
