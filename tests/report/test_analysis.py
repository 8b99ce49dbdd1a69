"""The report on runs: its numbers are those of pandas and scipy, and what is missing is told."""

import itertools
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from ftreg._base.errors import UsageError
from ftreg.report.analysis import analyse
from ftreg.report.loaded_runs import Choice, LoadedRuns
from ftreg.report.model import Comparison, Report, Run
from ftreg.report.predicted import METRICS
from ftreg.report.reading import read_runs
from tests.report.records import grid, record


def runs(task: str, method: str, scores: list[float], seeds: list[str] | None = None) -> list[Run]:
    names = seeds or [str(seed) for seed in range(len(scores))]
    return [
        Run(task, method, seed, "accuracy", "last", score, place=f"{task}/{method}/{seed}")
        for seed, score in zip(names, scores, strict=True)
    ]


def of(report: Report, method: str, baseline: str = "plain", task: str = "rte") -> Comparison:
    (found,) = (c for c in report.comparisons if (c.task, c.method, c.baseline) == (task, method, baseline))
    return found


def test_published_runs_agree_with_pandas_and_scipy(published: Path) -> None:
    report = analyse(read_runs([published], Choice(checkpoint="best")), baseline="bertadam")
    metrics = {"CoLA": "mcc", "MRPC": "acc", "RTE": "acc", "STS-B": "corr"}
    table = pd.read_csv(published).query("checkpoint == 'best'")
    table = table[table.metric == table.task.map(metrics)]
    groups = table.groupby(["task", "method"]).score
    direct = groups.agg(["mean", "std", "median", "min", "max"])
    assert len(report.arms) == len(direct) == 12
    for arm in report.arms:
        shown = [getattr(arm.summary, name) for name in direct]
        np.testing.assert_allclose(shown, direct.loc[arm.task, arm.method], rtol=1e-12)
        scores = groups.get_group((arm.task, arm.method))
        assert (arm.summary.n, arm.summary.diverged) == (50, scores.isna().sum())
        assert len(arm.expected) == scores.notna().sum()
        assert arm.expected[0] == pytest.approx(arm.summary.mean)
        assert arm.expected[-1] == arm.summary.max
    assert sum(arm.summary.diverged for arm in report.arms) == table.score.isna().sum() > 0
    wide = table.pivot(index=["task", "seed"], columns="method", values="score")
    assert len(report.comparisons) == 8
    for one in report.comparisons:
        pair = wide.loc[one.task][[one.method, one.baseline]]
        gaps = (pair[one.method] - pair[one.baseline]).dropna()
        assert one.pairs == len(gaps)
        assert one.missing == tuple(str(seed) for seed in pair.index[pair.isna().any(axis=1)])
        assert one.difference.estimate == pytest.approx(gaps.mean(), rel=1e-9)
        direct_p = stats.permutation_test(
            (gaps.to_numpy(),), np.mean, permutation_type="samples", n_resamples=20_000, rng=0
        ).pvalue
        assert one.p == pytest.approx(direct_p, abs=0.015)
        levene = stats.levene(pair[one.method].dropna(), pair[one.baseline].dropna(), center="median").pvalue
        assert one.p_variance == pytest.approx(levene, rel=1e-6)
        assert one.p_wilcoxon == pytest.approx(stats.wilcoxon(gaps).pvalue, abs=0.01)
    adjusted = sorted(c.adjusted for c in report.comparisons)
    assert adjusted == pytest.approx(np.maximum.accumulate(holm([c.p for c in report.comparisons])))


def holm(ps: list[float]) -> list[float]:
    return [min(1, (len(ps) - rank) * p) for rank, p in enumerate(sorted(ps))]


def test_exact_p_of_few_pairs_is_that_of_scipy() -> None:
    a, b = [0.7, 0.72, 0.69, 0.74, 0.7, 0.71], [0.6, 0.71, 0.7, 0.68, 0.66, 0.67]
    report = analyse(LoadedRuns([*runs("rte", "mixout", a), *runs("rte", "plain", b)]))
    gaps = np.subtract(a, b)
    assert of(report, "mixout").p == pytest.approx(
        stats.permutation_test((gaps,), np.mean, permutation_type="samples", n_resamples=10_000).pvalue
    )
    assert of(report, "mixout").p_wilcoxon == pytest.approx(stats.wilcoxon(gaps).pvalue)


def test_missing_pairs_and_divergence_are_told() -> None:
    plain = runs("rte", "plain", [0.6, 0.61, float("nan"), 0.6], ["0", "1", "2", "10"])
    mixout = runs("rte", "mixout", [0.7, 0.72, 0.7], ["0", "2", "7"])
    report = analyse(LoadedRuns([*plain, *mixout]))
    one = of(report, "mixout")
    assert (one.pairs, one.missing) == (1, ("1", "2", "7", "10"))
    assert one.difference.estimate == pytest.approx(0.1)
    assert np.isnan(one.difference.low)
    assert "1 run of plain diverged and is not in it." in one.verdict
    told = " ".join(one.warnings)
    assert "Leaving 1 diverged run of plain out makes it look better" in told
    assert "1 seed of mixout without a run of plain: 7." in told
    assert "2 seeds of plain without a run of mixout: 1, 10." in told
    assert "no difference can be significant" in told
    assert any("1 run of 7 diverged" in note for note in report.notes)
    assert next(arm for arm in report.arms if arm.method == "plain").summary.diverged == 1


def test_what_holds_of_a_whole_family_is_told_once() -> None:
    few = [*runs("rte", "plain", [0.6, 0.61]), *runs("rte", "mixout", [0.7, 0.72]), *runs("rte", "smart", [0.7, 0.69])]
    report = analyse(LoadedRuns(few))
    (told,) = report.warnings
    assert told.startswith("Of every exploratory comparison: With 2 pairs the smallest possible p is 0.5")
    assert [one.warnings for one in report.comparisons] == [(), ()]
    report = analyse(LoadedRuns([*few, *runs("rte", "freelb", [0.7], ["1"])]), primary=["mixout", "smart"])
    assert [told[:27] for told in report.warnings] == ["Of every primary comparison"]
    assert len(of(report, "freelb").warnings) == 2


def test_a_later_step_of_holm_asks_for_fewer_pairs() -> None:
    """Six pairs could not be the first of two comparisons to be significant, but they can be the second."""
    plain, better = [0.6] * 12, [0.7 + 0.001 * n for n in range(12)]
    found = [*runs("rte", "plain", plain), *runs("rte", "a", better)]
    found += [*runs("mrpc", "plain", plain[:6]), *runs("mrpc", "a", better[:6])]
    one = of(analyse(LoadedRuns(found), primary=["a"]), "a", task="mrpc")
    assert (one.pairs, one.enough, one.warnings) == (6, True, ())
    assert one.adjusted == pytest.approx(2 / 2**6)
    noisy = runs("mrpc", "a", [0.7, 0.5, 0.7, 0.5, 0.7, 0.5])
    one = of(analyse(LoadedRuns([*found[:-6], *noisy]), primary=["a"]), "a", task="mrpc")
    assert one.enough
    assert one.verdict.startswith("No difference shown")
    one = of(analyse(LoadedRuns([*found[:-6], *noisy[:5]]), primary=["a"]), "a", task="mrpc")
    assert "in a family of 2 comparisons, of which 1 is significant, at level 0.05" in one.warnings[0]


def test_averages_compare_the_same_metrics() -> None:
    found = [*runs("rte", "plain", [0.7]), *runs("rte", "a", [0.7])]
    for method, scores in (("plain", {"accuracy": 0.86}), ("a", {"accuracy": 0.86, "f1": 0.9})):
        (run,) = runs("mrpc", method, [0.86])
        found.append(replace(run, scores={"reported": {run.checkpoint: scores}}))
    averages = analyse(LoadedRuns(found)).averages
    assert averages["a"].estimate == averages["plain"].estimate == pytest.approx(0.78)


def test_all_runs_of_an_arm_diverged() -> None:
    nan = float("nan")
    found = LoadedRuns([*runs("rte", "mixout", [nan] * 3), *runs("rte", "plain", [0.6, 0.7, 0.6])])
    report = analyse(found)
    assert [arm.method for arm in report.arms] == ["plain", "mixout"]
    arm = report.arms[1]
    assert (arm.summary.n, arm.summary.diverged, arm.expected) == (3, 3, ())
    assert "3 runs of mixout diverged and are not in it." in of(report, "mixout").verdict


def test_no_common_seed() -> None:
    report = analyse(LoadedRuns([*runs("rte", "plain", [0.6], ["0"]), *runs("rte", "mixout", [0.7], ["1"])]))
    one = of(report, "mixout")
    assert (one.pairs, one.verdict) == (
        0,
        "Nothing to compare between mixout and plain on RTE: no seed has a score of both.",
    )
    assert np.isnan([one.p, one.adjusted, one.difference.estimate]).all()


def test_family_of_a_grid(tmp_path: Path) -> None:
    arms = {
        "plain": [0.60, 0.61, 0.62, 0.60, 0.63, 0.61],
        "mixout": [0.65, 0.66, 0.66, 0.64, 0.69, 0.66],
        "freelb": [0.60, 0.62, 0.61, 0.60, 0.63, 0.61],
        "plain@freelb": [0.61, 0.62, 0.62, 0.61, 0.63, 0.61],
    }
    family = [("mixout", "plain"), ("freelb", "plain@freelb"), ("smart", "plain")]
    report = analyse(read_runs([grid(tmp_path, arms, family=family)]))
    assert [(c.method, c.baseline, c.primary) for c in report.comparisons] == [
        ("mixout", "plain", True),
        ("freelb", "plain@freelb", True),
        ("freelb", "plain", False),
        ("plain@freelb", "plain", False),
    ]
    # smart has no runs: it counts among the three all the same.
    assert of(report, "mixout").p == pytest.approx(2 / 2**6)
    assert of(report, "mixout").adjusted == pytest.approx(3 * 2 / 2**6)
    assert of(report, "freelb", "plain@freelb").p == pytest.approx(2 / 2**3)
    assert of(report, "freelb", "plain@freelb").adjusted == pytest.approx(2 * 2 / 2**3)
    assert of(report, "mixout").cost_ratio == 3
    assert "(Holm)" in of(report, "mixout").verdict
    assert "(Holm, exploratory)" in of(report, "freelb").verdict
    notes = " | ".join(report.notes)
    assert "declared in grid.json, before the runs: 3 comparisons" in notes
    assert "without runs, and counted with a p of 1: smart and plain on RTE" in notes
    assert "dev, best checkpoint, protocol holdout" in notes


def test_a_matched_arm_is_a_baseline_of_its_method() -> None:
    found = LoadedRuns([r for m in ("plain", "mixout", "smart", "plain@smart") for r in runs("rte", m, [0.6, 0.7])])
    matched = analyse(found, "plain@smart")
    assert sum((c.method, c.baseline) == ("smart", "plain@smart") for c in matched.comparisons) == 1
    assert "in a family of 3 comparisons" in matched.warnings[0]
    assert [(c.method, c.baseline, c.primary) for c in analyse(found, primary=["smart"]).comparisons] == [
        ("smart", "plain", True),
        ("mixout", "plain", False),
        ("smart", "plain@smart", False),
        ("plain@smart", "plain", False),
    ]


def test_family_of_the_command_line() -> None:
    found = LoadedRuns([r for m in ("plain", "a", "b") for t in ("rte", "mrpc") for r in runs(t, m, [0.6, 0.7])])
    report = analyse(found, primary=["a"])
    assert {(c.method, c.primary) for c in report.comparisons} == {("a", True), ("b", False)}
    assert any("Exploratory, a family of its own: 2 comparisons" in note for note in report.notes)
    assert any("every comparison is exploratory" in note for note in analyse(found).notes)
    with pytest.raises(UsageError, match="--primary: no method 'c'"):
        analyse(found, primary=["c"])


def test_baseline() -> None:
    found = LoadedRuns([*runs("rte", "adamw", [0.6]), *runs("rte", "mixout", [0.7])])
    with pytest.raises(UsageError, match=r"no method is called 'plain'; .*--baseline .*adamw, mixout"):
        analyse(found)
    with pytest.raises(UsageError, match="--baseline: no method 'adam'; did you mean 'adamw'"):
        analyse(found, baseline="adam")
    assert [c.method for c in analyse(found, baseline="adamw").comparisons] == ["mixout"]
    assert analyse(LoadedRuns(runs("rte", "adamw", [0.6, 0.7]))).comparisons == ()


def test_metrics_of_a_task_must_agree() -> None:
    other = Run("rte", "mixout", "0", "f1", "last", 0.5, place="there")
    with pytest.raises(UsageError, match="there: f1 is reported for rte, and accuracy in rte/plain/0"):
        analyse(LoadedRuns([*runs("rte", "plain", [0.6]), other]))


def test_verdicts() -> None:
    plain = [0.60, 0.61, 0.62, 0.60, 0.63, 0.61, 0.6, 0.59]
    better, worse = ([score + sign * (0.05 + 0.002 * n) for n, score in enumerate(plain)] for sign in (1, -1))
    found = LoadedRuns([*runs("rte", "plain", plain), *runs("rte", "b", better), *runs("rte", "w", worse)])
    found.runs += runs("rte", "s", [score + 0.02 * (-1) ** n for n, score in enumerate(plain)])
    report = analyse(found)
    b, w, s = (of(report, name) for name in "bws")
    assert b.verdict.startswith("b beats plain on RTE by 5.7 points [5.4, 6.0], n = 8 pairs, p = 0.023 (Holm, ")
    assert w.verdict.startswith("w is worse than plain on RTE by 5.7 points [5.4, 6.0], n = 8 pairs, p = 0.023")
    assert s.verdict.startswith("No difference shown between s and plain on RTE: 0.0 points [−1.")
    assert "pairs would be needed to show 1 point with power 0.8." in s.verdict
    assert (b.epsilon, w.epsilon) == (pytest.approx(0, abs=0.05), 1)
    assert (s.enough, s.verdict[:19]) == (True, "No difference shown")
    b = of(analyse(LoadedRuns([run for run in found.runs if run.seed in "01234"])), "b")
    assert (b.enough, b.verdict[:53]) == (False, "Too few pairs to tell b and plain on RTE apart: 5.4 p")


def test_items_are_those_of_the_predictions(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gaps = []
    for seed in range(4):
        a, b = ((rng.random(200) < p).astype(int) for p in (0.8, 0.7))
        gaps.append(a.mean() - b.mean())
        for method, predicted in (("mixout", a), ("plain", b)):
            folder = tmp_path / "rte" / method / str(seed)
            record(folder, float(predicted.mean()), seed=seed, predicted=list(predicted))
    one = of(analyse(read_runs([tmp_path])), "mixout")
    assert one.items is not None
    assert one.items.estimate == pytest.approx(np.mean(gaps)) == pytest.approx(one.difference.estimate)
    assert one.items.low < one.difference.low < one.difference.high < one.items.high
    (tmp_path / "rte/plain/3/predictions/dev.parquet").unlink()
    assert of(analyse(read_runs([tmp_path])), "mixout").items is None


@pytest.mark.parametrize("constant", [False, True])
def test_metrics_of_predictions_are_those_of_runs(constant: bool) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    predicted = np.zeros(50, dtype=int) if constant else rng.integers(0, 2, 50)
    for name, direct in (
        ("accuracy", sklearn_metrics.accuracy_score(labels, predicted)),
        ("f1", sklearn_metrics.f1_score(labels, predicted, zero_division=0.0)),
        ("matthews", sklearn_metrics.matthews_corrcoef(labels, predicted)),
        ("pearson", 0 if constant else stats.pearsonr(predicted, labels).statistic),
        ("spearman", 0 if constant else stats.spearmanr(predicted, labels).statistic),
    ):
        assert METRICS[name](predicted, labels) == pytest.approx(direct)


def test_crossed_seeds() -> None:
    effect = {"0": 0.0, "1": 0.1, "2": 0.3}
    seeds = [f"{i}-{o}-0" for i, o in itertools.product("012", "01")]
    scores = [0.6 + effect[seed[0]] for seed in seeds]
    report = analyse(LoadedRuns([*runs("rte", "plain", scores, seeds), *runs("rte", "mixout", scores[:5], seeds[:5])]))
    assert list(report.variances) == [("rte", "plain")]
    assert report.variances["rte", "plain"] == pytest.approx({"init": 1, "order": 0, "residual": 0})
    assert any("crossed" in warning for warning in of(report, "mixout").warnings)


def test_average_over_the_tasks_that_all_have() -> None:
    scores = {"rte": [0.6, 0.7], "mrpc": [0.8, 0.9], "cola": [0.5, float("nan")]}
    found = LoadedRuns([r for t, values in scores.items() for r in runs(t, "plain", values)])
    found.runs += [r for t in ("rte", "mrpc") for r in runs(t, "mixout", [0.5, 0.5])]
    report = analyse(found)
    assert report.averaged == ("rte", "mrpc")
    assert report.averages["plain"].estimate == pytest.approx(0.75)
    assert report.averages["mixout"].estimate == pytest.approx(0.5)
    assert any("no score there: CoLA" in note for note in report.notes)
    assert analyse(LoadedRuns(runs("rte", "plain", [0.6, 0.7]))).averages == {}


def test_averages_are_of_a_task_s_metrics(published: Path) -> None:
    report = analyse(read_runs([published]), baseline="adamw")
    table = pd.read_csv(published).query("checkpoint == 'last'")
    table = table[table.metric.isin(["mcc", "acc_and_f1", "corr"]) | (table.task == "RTE")]
    direct = table.groupby(["method", "task"]).score.mean().groupby("method").mean()
    for method, interval in report.averages.items():
        assert interval.estimate == pytest.approx(direct[method], abs=1e-4)


def test_a_run_fails_by_where_it_ended(tmp_path: Path) -> None:
    """Its best checkpoint, which is reported, may have been better than the majority."""
    for seed in range(3):
        record(tmp_path / f"rte/plain/{seed}", 0.7, seed=seed, failed=seed == 1)
    (arm,) = analyse(read_runs([tmp_path])).arms
    assert (arm.summary.failed, arm.summary.min) == (1, 0.7)


def test_how_many_pairs_show_an_effect() -> None:
    """Differences of a standard deviation of a point: a larger effect takes fewer pairs."""
    gaps = np.array([-0.013, 0.009, -0.007, 0.012, -0.001, 0.004, -0.011, 0.008])
    found = LoadedRuns([*runs("rte", "mixout", [*(0.7 + gaps)]), *runs("rte", "plain", [0.7] * len(gaps))])
    needed = []
    for effect, told in ((0.005, "0.5 points"), (0.01, "1 point"), (0.02, "2 points")):
        verdict = of(analyse(found, effect=effect), "mixout").verdict
        (pairs,) = re.findall(rf"(\d+) pairs (?:would be needed|are enough) to show {told} with power 0.8", verdict)
        needed.append(int(pairs))
    assert needed == sorted(needed, reverse=True)
    assert len({*needed}) == 3
    with pytest.raises(UsageError, match="--effect is 0; give points"):
        analyse(found, effect=0.0)
