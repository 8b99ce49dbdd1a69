"""Errors, of which less is better, in a report and in a bench's choices."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from ftreg._base.errors import UsageError
from ftreg._base.seeds import Seeds
from ftreg.bench.cells import Cell
from ftreg.bench.decisions import tuned
from ftreg.bench.state import score_in_words
from ftreg.report.analysis import analyse
from ftreg.report.loaded_runs import Choice
from ftreg.report.predicted import METRICS
from ftreg.report.reading import read_runs
from ftreg.run.record import failed
from ftreg.run.result import Outcome, ReportedScore, RunCost
from tests.report.records import record

ERRORS = {"plain": [0.9, 0.8, 0.85, 0.95, 0.7, 0.9], "better": [0.5, 0.4, 0.45, 0.55, 0.3, 0.5]}


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    for method, values in ERRORS.items():
        for seed, value in enumerate(values):
            place = tmp_path / "runs" / "mine" / method / str(seed)
            record(place, value, "mine", seed, metric="mse", less_is_better=["mse"])
            (place / "metrics.csv").write_text("step,selection/mse\n10,0.9\n20,0.5\n")
    return tmp_path / "runs"


def test_an_error_is_read_with_its_sign_reversed(runs: Path) -> None:
    run = next(run for run in read_runs([runs]).runs if run.method == "better")
    assert (run.metric, run.score, run.majority) == ("-mse", -0.5, -0.527)
    assert run.scores["dev"] == {"last": {"-mse": -0.5}, "best": {"-mse": -0.5}}
    assert run.curve == ((10, -0.9), (20, -0.5))
    assert {run.metric for run in read_runs([runs], Choice(metrics=("mse",))).runs} == {"-mse"}
    with pytest.raises(UsageError, match="--metric: no run has"):
        read_runs([runs], Choice(metrics=("mae",)))


def test_the_lower_error_wins(runs: Path) -> None:
    report = analyse(read_runs([runs]), "plain")
    (one,) = report.comparisons
    assert one.method == "better"
    assert one.difference.estimate == pytest.approx(0.4)
    assert one.epsilon < 0.5, "it dominates, stochastically"
    assert next(arm for arm in report.arms if arm.method == "better").expected[-1] == pytest.approx(-0.3)
    assert any(note.startswith("-mse: an error with its sign reversed") for note in report.notes)


def test_a_csv_of_errors_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("task,method,seed,score,metric\nmine,plain,0,250.5,MSE\n")
    with pytest.raises(UsageError, match=r"a.csv:2: less of MSE is better"):
        read_runs([tmp_path / "a.csv"])


@pytest.mark.parametrize(("less", "best"), [(["mse"], 1), ([], 0)])
def test_tuning_takes_the_lower_error(tmp_path: Path, less: list[str], best: int) -> None:
    cells = [Cell("mine", "plain", Seeds(0, 0, 0), (), setting) for setting in (0, 1, 2)]
    for cell, value in zip(cells, (0.9, 0.2, 0.5), strict=True):
        cell.folder(tmp_path).mkdir(parents=True)
        result = {
            "scores": {"selection": {"best": {"mse": value}}},
            "reported": {"split": "dev", "checkpoint": "best", "metric": "mse", "value": 0.0},
            "less_is_better": less,
            "failed": False,
            "cost": {"steps": 1, "seconds": 1.0},
        }
        (cell.folder(tmp_path) / "result.json").write_text(json.dumps(result))
    grid: Any = SimpleNamespace(tune=SimpleNamespace(settings={"plain": [[], [], []]}))
    assert tuned(grid, cells, tmp_path, lambda cell: False) == {("mine", "plain"): best}
    means = [
        setting["mean"] for setting in json.loads((tmp_path / "tuned.json").read_text())["mine"]["plain"]["settings"]
    ]
    assert means == [0.9, 0.2, 0.5]


def test_a_failed_run_is_no_better_than_the_majority() -> None:
    assert [failed(value, 0.5) for value in (0.6, 0.5, 0.4, float("nan"))] == [False, True, True, True]
    assert [failed(value, 0.5, less_is_better=True) for value in (0.6, 0.5, 0.4, float("nan"))] == [
        True,
        True,
        False,
        True,
    ]


@pytest.mark.parametrize(("less", "text"), [(["mse"], "dev mse 0.4321"), ([], "dev mse 43.2")])
def test_a_bench_shows_an_error_on_its_own_scale(less: list[str], text: str) -> None:
    reported = ReportedScore("dev", "best", "mse", 0.43214)
    outcome = Outcome(scores={}, reported=reported, failed=False, cost=RunCost(1, 1.0), less_is_better=tuple(less))
    assert score_in_words(outcome) == text


def test_metrics_over_items() -> None:
    predicted, labels = np.array([0, 1, 2, 2, 1]), np.array([0, 2, 2, 1, 1])
    assert METRICS["macro_f1"](predicted, labels) == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert METRICS["micro_f1"](predicted, labels) == pytest.approx(0.6)
    assert METRICS["-mse"](predicted, labels) == pytest.approx(-0.4)
    assert METRICS["-mae"](predicted, labels) == pytest.approx(-0.4)
