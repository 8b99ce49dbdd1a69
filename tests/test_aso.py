"""Almost stochastic order against its integral in fractions, cases worked by hand, and its record of false alarms."""

import json
import runpy
from fractions import Fraction
from itertools import pairwise
from math import nan
from pathlib import Path

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from ftreg.report.aso import aso, violation
from tests.test_statistics import refusal

RESULTS = Path(__file__).parent.parent / "experiments" / "results"


def by_integration(a: list[int], b: list[int]) -> Fraction:
    """ε̂ in fractions, over the pieces on which both quantile functions are constant."""
    edges = sorted({Fraction(i, len(x)) for x in (a, b) for i in range(len(x) + 1)})
    short = total = Fraction(0)
    for low, high in pairwise(edges):
        at_a, at_b = (sorted(x)[int((low + high) / 2 * len(x))] for x in (a, b))
        total += (high - low) * (at_b - at_a) ** 2
        short += (high - low) * max(at_b - at_a, 0) ** 2
    return short / total


def test_violation_by_hand():
    assert violation([3, 4], [1, 2]) == 0.0
    assert violation([1, 2], [3, 4]) == 1.0
    assert violation([0, 3], [1, 1]) == pytest.approx(1 / 5)
    assert violation([1, 2], [3, 0]) == 0.5
    # Gaps 1, 1, -2, -1 on pieces of 2, 1, 1, 2 sixths.
    assert violation([0, 3], [1, 1, 2]) == pytest.approx(3 / (3 + 4 + 2))
    assert violation([1, 2, 2], [2, 1, 2]) == violation([1, 1], [1, 1, 1]) == 1.0


def test_violation_is_exact_and_antisymmetric():
    rng = np.random.default_rng(0)
    for n, m in ((2, 3), (4, 6), (5, 5), (7, 20)):
        a, b = rng.integers(0, 50, n), rng.integers(0, 50, m)
        assert violation(a, b) == pytest.approx(float(by_integration(a.tolist(), b.tolist())), rel=1e-12)
        assert violation(a, b) + violation(b, a) == pytest.approx(1, rel=1e-12)
        assert violation(a, b) == pytest.approx(violation(-b, -a), rel=1e-12)


def test_aso_of_samples_apart_and_alike():
    low, high = np.arange(5.0), np.arange(10.0, 17.0)
    assert aso(high, low) == 0.0
    assert aso(low, high) == 1.0
    assert aso(low, low) == aso([0.7] * 5, [0.7] * 6) == 1.0
    assert aso([0.7] * 5, [0.6] * 5) == 0.0


def test_aso_is_the_equation():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 8), rng.normal(0, 1, 12)
    draws = [violation(rng.choice(a, 8), rng.choice(b, 12)) for _ in range(4000)]
    scale = np.sqrt(8 * 12 / (8 + 12))
    sigma = np.std(scale * (np.array(draws) - violation(a, b)))
    bound = violation(a, b) - sigma / scale * stats.norm.ppf(0.05 / 3)
    assert violation(a, b) < bound < 1
    assert aso(a, b, comparisons=3, bootstraps=4000) == pytest.approx(bound, abs=0.01)


def test_aso_is_more_careful_with_a_smaller_alpha():
    rng = np.random.default_rng(0)
    a, b = rng.normal(1, 1, 10), rng.normal(0, 1, 10)
    bounds = [aso(a, b, alpha) for alpha in (0.5, 0.2, 0.05, 0.01)]
    assert bounds[0] == pytest.approx(violation(a, b))
    assert bounds == sorted(set(bounds))
    assert aso(a, b, 0.05, comparisons=5) == bounds[-1]
    assert aso(a, b) == aso(a, b) != aso(a, b, seed=1)
    assert aso(100 * a, 100 * b) == pytest.approx(aso(a, b))
    assert "aso: a: 1 of 2 values" in refusal(lambda: aso([1, nan], [1, 2]))
    assert "aso: b has shape (1,)" in refusal(lambda: aso([1, 2], [1]))
    assert "alpha is 0" in refusal(lambda: aso([1, 2], [1, 2], alpha=0))


def test_the_record_of_false_positives_is_of_its_script():
    script = runpy.run_path(str(RESULTS / "aso_null.py"))
    record = json.loads((RESULTS / "aso_null.json").read_text(encoding="utf-8"))
    again = script["simulate"](script["FIRST"])
    for mine, theirs in zip(record["first"], again["first"], strict=True):
        assert mine == {**theirs, "bounds": pytest.approx(theirs["bounds"], abs=1e-6)}
    assert (record["alpha"], record["bootstraps"]) == (again["alpha"], again["bootstraps"])
    for mine, theirs in zip(record["rates"], again["rates"], strict=True):
        assert {**theirs, "rate": mine["rate"], "repetitions": script["REPETITIONS"]} == mine
    rates = {(r["distribution"], r["n"], r["threshold"]): r["rate"] for r in record["rates"]}
    few = np.mean([script["bound"]("normal", 5, repetition) < 0.5 for repetition in range(400)])
    assert few == pytest.approx(rates["normal", 5, 0.5], abs=0.06)
