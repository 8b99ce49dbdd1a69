"""The statistics against scipy and numpy, cases worked by hand, and brute force in plain Python."""

import subprocess
import sys
from itertools import combinations, product
from math import nan
from statistics import fmean, median, stdev

import numpy as np
import pytest
from scipy import stats  # type: ignore[import-untyped]
from sklearn.metrics import f1_score, matthews_corrcoef  # type: ignore[import-untyped]

from ftreg._base.errors import UsageError
from ftreg.report.components import variance_components
from ftreg.report.expected import expected_maximum, expected_maximum_unbiased
from ftreg.report.items import paired_bootstrap, seeds_by_items
from ftreg.report.statistics import glue_average, levene, summary


def refusal(call) -> str:
    with pytest.raises(UsageError) as error:
        call()
    assert "\n" not in str(error.value)
    return str(error.value)


# Summaries


def test_summary_is_of_the_finite_runs_and_counts_the_others():
    known = [0.70, 0.52, 0.68, 0.71, 0.50]
    found = summary([known[0], nan, *known[1:], float("inf")], majority=0.52)
    assert (found.n, found.diverged, found.failed) == (7, 2, 2)
    moments = (fmean(known), stdev(known), median(known), min(known), max(known))
    assert (found.mean, found.std, found.median, found.min, found.max) == pytest.approx(moments, rel=1e-12)
    interval = stats.bootstrap((known,), np.mean, method="percentile", random_state=1).confidence_interval
    assert (found.low, found.high) == pytest.approx(tuple(interval), abs=0.005)
    assert summary(known).failed is None


def test_summary_of_equal_few_and_no_scores():
    same = summary([0.7] * 4)
    assert same.std == pytest.approx(0, abs=1e-15)
    assert (same.low, same.high) == pytest.approx((0.7, 0.7), rel=1e-12)
    one = summary([0.7, nan])
    assert (one.n, one.mean, one.diverged) == (2, 0.7, 1)
    assert np.isnan([one.std, one.low, one.high]).all()
    none = summary([nan, nan], majority=0.5)
    assert (none.n, none.diverged, none.failed) == (2, 2, 0)
    assert np.isnan([none.mean, none.std, none.median, none.min, none.max, none.low, none.high]).all()
    assert "shape (0,)" in refusal(lambda: summary([]))
    assert "level is 95" in refusal(lambda: summary([1, 2], level=95))


def test_summary_depends_on_the_seed_alone():
    scores = np.random.default_rng(0).normal(size=9)
    assert summary(scores) == summary(scores) != summary(scores, seed=1)
    wide, narrow = summary(scores, level=0.99), summary(scores, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_intervals_of_the_mean_cover_about_as_often_as_they_say():
    rng = np.random.default_rng(0)
    found = [summary(rng.normal(size=20), resamples=500) for _ in range(800)]
    assert 0.90 < np.mean([one.low <= 0 <= one.high for one in found]) < 0.95


def test_glue_average():
    scores = {"rte": [0.6, 0.7, 0.8], "cola": [0.5, 0.7]}
    found = glue_average(scores)
    assert found.estimate == pytest.approx((0.7 + 0.6) / 2)
    # Independent tasks: the variance of the average is that of the tasks' bootstrap means, over the squared number.
    variance = (np.var(scores["rte"]) / 3 + np.var(scores["cola"]) / 2) / 4
    normal = 1.96 * np.sqrt(variance)
    assert (found.high - found.low) / 2 == pytest.approx(normal, rel=0.1)
    more = {name: np.random.default_rng(3).normal(size=size) for name, size in (("b", 5), ("a", 7), ("c", 4))}
    assert glue_average(dict(reversed(more.items()))) == glue_average(more) != glue_average(more, seed=1)
    single = glue_average({"rte": [0.6, 0.7], "wnli": [0.5]})
    assert single.estimate == pytest.approx(0.575)
    assert np.isnan([single.low, single.high]).all()
    assert "glue_average: cola: 1 of 2 values" in refusal(lambda: glue_average({"rte": [1, 2], "cola": [1, nan]}))
    assert "no tasks" in refusal(lambda: glue_average({}))


def test_levene():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=8), 9 * rng.normal(size=11)
    assert levene(a, b) == stats.levene(a, b, center="median").pvalue < 0.05
    assert levene([0.7] * 5, [0.6] * 5) == levene([0.0] * 3, [0.0] * 3) == 1.0
    assert levene([0.7] * 8, b) < 0.05
    # Distances that do not vary: dividing by 0 would make the second p 0.
    assert levene([0, 0, 1, 1], [0, 0, 1, 1]) == levene([0, 0, 1, 1], [0, 0, 3, 3]) == 1.0
    assert "3 or more" in refusal(lambda: levene([1, 2], [1, 2, 3]))


# The best of n


def test_expected_maximum_is_the_mean_of_all_draws():
    scores = [0.7, 0.5, 0.5, 0.9, 0.65]
    for n in (1, 2, 3, 5):
        every = fmean(max(draw) for draw in product(scores, repeat=n))
        assert expected_maximum(scores, n) == pytest.approx(every, rel=1e-12)
        every = fmean(max(draw) for draw in combinations(scores, n))
        assert expected_maximum_unbiased(scores, n) == pytest.approx(every, rel=1e-12)
    assert expected_maximum(scores, 1) == pytest.approx(fmean(scores))
    assert expected_maximum(scores, 500) == pytest.approx(0.9)
    assert expected_maximum_unbiased(range(2000), 1000) == pytest.approx(1000 / 1001 * 2001 - 1)
    assert "n is 6; without replacement it must lie between 1 and the 5 runs" in refusal(
        lambda: expected_maximum_unbiased(scores, 6)
    )
    assert "n is 0" in refusal(lambda: expected_maximum(scores, 0))
    assert "not finite" in refusal(lambda: expected_maximum([1, nan], 1))


# Seeds and items


def grids(seeds: int, items: int, gain: float):
    """Whether each item is right under each seed, for two arms that share the items' and the seeds' difficulty."""
    rng = np.random.default_rng(seeds * items)
    level = rng.normal(size=items) + 0.3 * rng.normal(size=(seeds, 1))
    return (level + gain + 0.5 * rng.normal(size=level.shape) > 0), (level + 0.5 * rng.normal(size=level.shape) > 0)


def test_seeds_by_items():
    a, b = grids(6, 300, 0.3)
    found = seeds_by_items(a, b, resamples=2000)
    assert found.estimate == pytest.approx(a.mean() - b.mean(), rel=1e-12)
    assert 0 < found.low < found.estimate < found.high
    other = seeds_by_items(b, a, resamples=2000)
    assert (other.estimate, other.low, other.high) == pytest.approx((-found.estimate, -found.high, -found.low))
    # Brute force: the same draws, entry by entry.
    rng, gap = np.random.default_rng(7), a.astype(float) - b
    drawn = [gap[np.ix_(rng.integers(0, 6, 6), rng.integers(0, 300, 300))].mean() for _ in range(2000)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    exact = seeds_by_items(a, b, resamples=2000, seed=7)
    assert (exact.low, exact.high) == pytest.approx((low, high), rel=1e-12)


def test_seeds_by_items_is_paired_and_sees_the_items():
    a, b = grids(6, 300, 0.0)
    width = np.ptp([seeds_by_items(a, b, resamples=1000).low, seeds_by_items(a, b, resamples=1000).high])
    shuffled = np.random.default_rng(0).permutation(300)
    apart = seeds_by_items(a, b[:, shuffled], resamples=1000)
    assert apart.high - apart.low > 1.3 * width
    single = seeds_by_items(a[:1], b[:1], resamples=4000)
    gap = a[0].astype(float) - b[0]
    assert single.high - single.low == pytest.approx(2 * 1.96 * gap.std() / np.sqrt(300), rel=0.1)
    assert seeds_by_items(a, a, resamples=10).high == 0.0
    assert "shapes (6, 300) and (5, 300)" in refusal(lambda: seeds_by_items(a, b[:5]))
    assert "shapes (300,) and (300,)" in refusal(lambda: seeds_by_items(a[0], b[0]))


def test_intervals_over_seeds_and_items_cover():
    rng = np.random.default_rng(0)
    hits = 0
    for _ in range(100):
        gap = 0.1 + rng.normal(size=(8, 1)) * 0.2 + rng.normal(size=60) + rng.normal(size=(8, 60))
        found = seeds_by_items(gap, np.zeros_like(gap), resamples=200)
        hits += found.low <= 0.1 <= found.high
    assert 86 <= hits <= 100


def test_paired_bootstrap_takes_any_metric():
    right_a, right_b = grids(4, 80, 0.5)
    labels = np.random.default_rng(1).integers(0, 2, 80)
    a, b = np.where(right_a, labels, 1 - labels), np.where(right_b, labels, 1 - labels)
    by_metric = paired_bootstrap(lambda p, y: (p == y).mean(), a, b, labels, resamples=300, seed=5)
    by_item = seeds_by_items(right_a, right_b, resamples=300, seed=5)
    assert vars(by_metric) == pytest.approx(vars(by_item))
    for metric in (lambda p, y: f1_score(y, p), lambda p, y: matthews_corrcoef(y, p)):
        found = paired_bootstrap(metric, a, b, labels, resamples=20)
        whole = fmean(metric(one, labels) for one in a) - fmean(metric(one, labels) for one in b)
        assert found.estimate == pytest.approx(whole)
        assert found.low < whole < found.high
    rng = np.random.default_rng(2)
    scores = rng.uniform(0, 5, 60)
    c, d = scores + 0.5 * rng.normal(size=(3, 60)), scores + 2 * rng.normal(size=(3, 60))
    found = paired_bootstrap(lambda p, y: np.corrcoef(p, y)[0, 1], c, d, scores, resamples=200)
    assert 0 < found.low < found.estimate < found.high
    assert "80 labels for predictions of 60 items" in refusal(lambda: paired_bootstrap(f1_score, c, d, labels))
    assert "defined where" in refusal(lambda: paired_bootstrap(lambda p, y: nan, a, b, labels))


# Variance components


def test_variance_components_by_hand():
    # Rows 1, 3 and columns -1, +1 around them: all is explained.
    found = variance_components([[0.0, 2.0], [2.0, 4.0]])
    assert vars(found) == pytest.approx({"init": 2.0, "order": 2.0, "residual": 0.0})
    assert found.shares == pytest.approx({"init": 0.5, "order": 0.5, "residual": 0.0})
    # Nothing but interaction: rows and columns would be less than nothing.
    assert vars(variance_components([[1, 0], [0, 1]])) == {"init": 0.0, "order": 0.0, "residual": 1.0}
    assert np.isnan(list(variance_components(np.full((2, 3), 0.5)).shares.values())).all()


def test_variance_components_are_found():
    rng = np.random.default_rng(0)
    drawn = []
    for _ in range(300):
        init, order = 2 * rng.normal(size=(6, 1)), rng.normal(size=10)
        drawn.append(list(vars(variance_components(init + order + 0.5 * rng.normal(size=(6, 10)))).values()))
    assert np.mean(drawn, axis=0) == pytest.approx([4, 1, 0.25], rel=0.1)


def test_variance_components_need_the_whole_grid():
    assert "1 of 4 values are not finite" in refusal(lambda: variance_components([[1, nan], [2, 3]]))
    assert "shape (1, 3)" in refusal(lambda: variance_components([[1, 2, 3]]))


def test_nothing_here_imports_torch():
    modules = "aso, components, expected, items, paired, power, statistics"
    check = f"import sys; from ftreg.report import {modules}; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)
