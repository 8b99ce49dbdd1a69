"""The paired tests and their power against scipy, cases worked by hand, and brute force in fractions."""

from fractions import Fraction
from itertools import product
from math import nan

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]

from ftreg.report.paired import holm, needed_pairs, sign_flip, smallest_p, warnings, wilcoxon
from ftreg.report.power import pairs_needed, power
from tests.test_statistics import refusal


def by_brute_force(differences: list[Fraction]) -> float:
    observed = abs(sum(differences))
    arrangements = list(product((1, -1), repeat=len(differences)))
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in arrangements]
    return float(Fraction(sum(total >= observed for total in sums), len(sums)))


@pytest.mark.parametrize("n", [1, 2, 5, 8, 10])
def test_sign_flip_goes_through_all_arrangements(n: int):
    rng = np.random.default_rng(n)
    for _ in range(5):
        d = rng.normal(0.5, 1, n)
        assert sign_flip(d) == by_brute_force([Fraction(x) for x in d])
    assert sign_flip(np.arange(1, n + 1)) == sign_flip(-np.arange(1, n + 1)) == smallest_p(n) == 2 / 2**n
    assert sign_flip(np.zeros(n)) == 1.0


def test_sign_flip_by_hand():
    # Of {1, 2, -1}: |±1 ±2 ±1| is 4, 2, 2, 0 and again; the observed 2 is reached by 6 of 8.
    assert sign_flip([1, 2, -1]) == 0.75
    test = stats.permutation_test(([1.0, 4, -1, 3, 2, 2],), np.mean, permutation_type="samples", n_resamples=np.inf)
    assert sign_flip([1, 4, -1, 3, 2, 2]) == pytest.approx(test.pvalue, rel=1e-12)


def test_accuracies_in_single_precision_tie_as_the_counts_do():
    rng = np.random.default_rng(0)
    for _ in range(20):
        a, b = rng.integers(180, 200, (2, 9))
        rounded = (a / 277).astype(np.float32) - (b / 277).astype(np.float32)
        assert sign_flip(rounded) == by_brute_force([Fraction(int(x)) for x in a - b])
        assert wilcoxon(rounded) == wilcoxon(a - b)


def test_sign_flip_of_many_pairs_draws():
    d = np.random.default_rng(3).normal(0.4, 1, 21)
    sums = d[:1]
    for one in d[1:]:
        sums = np.concatenate([sums + one, sums - one])
    exact = (abs(sums) >= abs(d.sum()) - 1e-9).mean()
    assert 0.01 < exact < 0.5
    assert sign_flip(d) == pytest.approx(exact, abs=5 * np.sqrt(exact / 100_000))
    assert sign_flip(d) == sign_flip(d) != sign_flip(d, seed=1)
    assert sign_flip(np.ones(60)) == 1 / 100_001
    assert sign_flip(np.zeros(60)) == 1.0


def test_wilcoxon():
    rng = np.random.default_rng(0)
    for n in (5, 9, 14):
        d = rng.normal(0.5, 1, n)
        assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, rel=1e-12)
    # Zeros dropped; 1, -1, 2, 3, 3 have the ranks 1.5, 1.5, 3, 4.5, 4.5. The negative ones' sum of 1.5 is reached from
    # below by 3 of 32 arrangements: no negative one, or either of the ranks 1.5.
    assert wilcoxon([0, 1, -1, 2, 3, 3, 0]) == pytest.approx(2 * 3 / 32)
    # Ranks 1, 2, 3, 4, 5, whatever the zeros: no negative one, 1, 2, 3, or 1 and 2.
    assert wilcoxon([0, 1, 0, 2, -3, 4, 5, 0]) == pytest.approx(2 * 5 / 32)
    assert wilcoxon([0, 0, 0]) == 1.0
    d = rng.normal(0.3, 1, 30)
    assert wilcoxon(d) == pytest.approx(stats.wilcoxon(d, method="exact").pvalue, abs=0.005)


@pytest.mark.parametrize("test", [sign_flip, wilcoxon])
def test_differences_must_be_known(test):
    assert "1 of 3 values are not finite, as of diverged runs" in refusal(lambda: test([1, nan, 2]))
    assert "shape (0,)" in refusal(lambda: test([]))
    assert "shape (2, 2)" in refusal(lambda: test(np.ones((2, 2))))


def test_holm():
    found = holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005})
    assert list(found) == ["a", "b", "c", "d"]
    # Sorted: 0.005 · 4, 0.01 · 3, 0.03 · 2, and 0.04 · 1, lifted to the one before.
    assert list(found.values()) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm({"a": 0.7, "b": 0.6}) == {"a": 1.0, "b": 1.0}
    assert holm({}) == {}
    assert "p of b is nan" in refusal(lambda: holm({"a": 0.1, "b": nan}))
    ps = dict(enumerate(np.random.default_rng(0).uniform(0, 0.2, 12)))
    named = holm({str(i): p for i, p in ps.items()})
    values = [named[str(i)] for i in sorted(ps, key=lambda i: ps[i])]
    assert values == sorted(values)
    assert all(p <= q <= 1 for p, q in zip(sorted(ps.values()), values, strict=True))


def test_how_many_pairs_a_family_takes():
    assert [smallest_p(n) for n in (1, 2, 5)] == [1.0, 0.5, 0.0625]
    assert [needed_pairs(0.05, m) for m in (1, 2, 20)] == [6, 7, 10]
    assert needed_pairs(0.0625) == 5
    assert warnings(10, 0.05, 20) == warnings(6) == []
    (sentence,) = warnings(5, 0.05, 20)
    assert sentence == (
        "With 5 pairs the smallest possible p is 0.062, above the 0.0025 that it takes in a family of 20 comparisons "
        "at level 0.05: no difference can be significant; use 10 pairs or more."
    )
    assert "With 1 pair the" in warnings(1)[0]
    assert "m is 0" in refusal(lambda: needed_pairs(0.05, 0))
    assert "n_pairs is 0" in refusal(lambda: warnings(0))


def test_power():
    # The t-test's exact power, which the sign-flip test's comes close to under normal differences.
    for n, m in ((10, 1), (20, 1), (20, 4)):
        critical, shift = stats.t.ppf(1 - 0.025 / m, n - 1), 0.8 * np.sqrt(n)
        exact = stats.nct.sf(critical, n - 1, shift) + stats.nct.cdf(-critical, n - 1, shift)
        assert power(0.02, 0.016, n, m=m) == pytest.approx(exact, abs=0.04)
    assert power(1, 0, 8) == pytest.approx(2 * 6 / 2**8, abs=0.02)  # 6 of 128 halves are the most below 0.05
    assert power(1, 5, 5) == 0.0
    assert power(0, 1, 6) == 1.0
    assert power(1, 1, 8) == power(1, 1, 8) != power(1, 1, 8, seed=1)
    assert "differences_std is -1" in refusal(lambda: power(-1, 1, 8))


def test_power_counts_what_the_test_would_find():
    normal = np.random.default_rng(0).standard_normal((7, 60)).T
    found = np.mean([sign_flip(0.8 + d) <= 0.05 for d in normal])
    assert 0 < found == power(1, 0.8, 7, simulations=60) < 1


def test_pairs_needed():
    found = pairs_needed(1, 1, simulations=500)
    assert found is not None
    assert power(1, 1, found - 1, simulations=500) < 0.8 <= power(1, 1, found, simulations=500)
    assert abs(found - 10) <= 1  # of the t-test
    assert pairs_needed(1, 50, m=20, simulations=100) == needed_pairs(0.05, 20)
    assert pairs_needed(1, 0.01, simulations=100) is None
