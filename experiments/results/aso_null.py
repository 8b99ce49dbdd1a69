"""How often almost stochastic order finds a difference where there is none.

    python experiments/results/aso_null.py                # writes aso_null.json beside this file, in about two minutes

Both samples are drawn from the same distribution; a false positive is an ε_min below the threshold. `normal` is the
standard one; `skewed` has a long lower tail, as scores with failed runs have: minus a log-normal of σ = 1. Every
repetition has streams of its own, so the first few are those of any longer run: `first` keeps their ε_min.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np

from ftreg.report.aso import aso

DISTRIBUTIONS = ("normal", "skewed")
SIZES = (5, 10, 20)
THRESHOLDS = (0.5, 0.2)
REPETITIONS = 20_000
ALPHA = 0.05
BOOTSTRAPS = 1_000
FIRST = 5


def bound(distribution: str, n: int, repetition: int) -> float:
    """ε_min of one repetition."""
    rng = np.random.default_rng([DISTRIBUTIONS.index(distribution), n, repetition])
    both = rng.standard_normal((2, n))
    if distribution == "skewed":
        both = -np.exp(both)
    return aso(*both, alpha=ALPHA, bootstraps=BOOTSTRAPS, seed=repetition)


def simulate(repetitions: int) -> dict[str, Any]:
    """The rates, one record for each distribution, size and threshold."""
    rates, first = [], []
    for distribution in DISTRIBUTIONS:
        for n in SIZES:
            bounds = np.array([bound(distribution, n, repetition) for repetition in range(repetitions)])
            first.append({"distribution": distribution, "n": n, "bounds": bounds[:FIRST].round(6).tolist()})
            for threshold in THRESHOLDS:
                rate = float((bounds < threshold).mean())
                record = {"distribution": distribution, "n": n, "threshold": threshold, "rate": rate}
                rates.append({**record, "repetitions": repetitions})
    return {"alpha": ALPHA, "bootstraps": BOOTSTRAPS, "rates": rates, "first": first}


if __name__ == "__main__":
    target = Path(__file__).with_suffix(".json")
    target.write_text(json.dumps(simulate(REPETITIONS), indent=2) + "\n", encoding="utf-8")
