"""Runs from folders and from CSV files."""

import json
import math
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ftreg._base.errors import UsageError
from ftreg.report.loaded_runs import Choice
from ftreg.report.reading import read_runs
from tests.report.records import grid, record


def rows(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def test_published_runs_come_out_whole(published: Path) -> None:
    found = read_runs([published], Choice(checkpoint="best"))
    table = pd.read_csv(published).query("checkpoint == 'best'")
    metrics = {"CoLA": "mcc", "MRPC": "acc", "RTE": "acc", "STS-B": "corr"}
    assert len(found.runs) == 600
    assert not found.notes
    expected = table[table.metric == table.task.map(metrics)].set_index(["task", "method", "seed"]).score
    for run in found.runs:
        assert run.metric == metrics[run.task]
        np.testing.assert_equal(run.score, expected[run.task, run.method, int(run.seed)])
    assert sum(math.isnan(run.score) for run in found.runs) == expected.isna().sum() > 0
    assert [run.seed for run in found.runs[:50]] == [str(seed) for seed in range(50)]


def test_last_checkpoint_unless_told_and_it_says_so(published: Path) -> None:
    found = read_runs([published])
    assert {run.checkpoint for run in found.runs} == {"last"}
    assert any("600 runs" in note and "last is reported" in note for note in found.notes)
    other = next(run for run in found.runs if run.task == "MRPC").scores["reported"]
    assert {checkpoint: set(metrics) for checkpoint, metrics in other.items()} == {
        checkpoint: {"acc", "acc_and_f1", "f1"} for checkpoint in ("best", "last")
    }


def test_metric_is_chosen(published: Path) -> None:
    found = read_runs([published], Choice(metrics=("f1", "pearson")))
    assert {run.task: run.metric for run in found.runs} == {
        "CoLA": "mcc",
        "MRPC": "f1",
        "RTE": "acc",
        "STS-B": "pearson",
    }


def test_curves_of_another_file(published: Path, curves: Path) -> None:
    found = read_runs([published, curves], Choice(columns={"score": "val_score"}))
    table = pd.read_csv(curves)
    of_run = table[(table.task == "MRPC") & (table.method == "adamw") & (table.seed == 7) & (table.metric == "acc")]
    run = next(run for run in found.runs if (run.task, run.method, run.seed) == ("MRPC", "adamw", "7"))
    assert run.curve == tuple(zip(of_run.step, of_run.val_score, strict=True))
    assert all(run.curve for run in found.runs)


def test_columns_points_and_undefined(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.csv", "dataset,arm,seed,acc,majority", "rte,plain,0,70.5,52.7", "rte,plain,1,,52.7")
    found = read_runs([path], Choice(columns={"task": "dataset", "method": "arm", "score": "acc"}))
    assert [run.score for run in found.runs] == pytest.approx([0.705, math.nan], nan_ok=True)
    assert [run.failed for run in found.runs] == [False, True]
    assert found.runs[0].majority == pytest.approx(0.527)
    assert found.runs[1].place == f"{path}:3"
    assert any("points" in note for note in found.notes)


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        (["task,method,seed", "rte,plain,0"], ":1: no column 'score' among task, method, seed"),
        (["task,method,seed,score", "rte,plain,0,0.7", "rte,plain,1,high"], ":3: score is 'high'"),
        (["task,method,seed,score", "rte,plain,0"], ":2: 3 values for 4 columns"),
        (["task,method,seed,score", "rte,,0,0.7"], ":2: method is empty"),
        (["task,method,seed,score", "rte,plain,0,0.7", "", "rte,plain,0,0.7"], ":4: score of task rte"),
        (["task,method,seed,score,checkpoint", "rte,plain,0,0.7,first"], ":2: checkpoint is 'first'"),
        (["task,method,seed,score", "rte,plain,0,123"], ": a score is 123"),
        (["task,method,seed,score", 'rte,"plain,0,0.7'], ": not a CSV file"),
        (["task,method,seed,score,step", "rte,plain,0,0.7,1.5"], ":2: step is '1.5'"),
        (["task,method,seed,score,metric", "rte,plain,0,0.7,acc", "rte,plain,1,0.7,f1"], ":3: no line has acc"),
        (["task,method,seed,score,majority", "rte,plain,0,0.7,52.7"], ":2: majority is 52.7, and scores are up to 1"),
        (
            ["task,method,seed,score,majority", "rte,plain,0,70,0.527"],
            ":2: majority is 0.527, and scores are up to 100",
        ),
        (["task,method,seed,score", "rte,plain,0,70", "cola,plain,0,0.6"], ": cola's score is 1 or less in every line"),
        (["task,method,seed,score", 'rte,"pl\nain",0,0.7'], ":3: method is 'pl\\nain', with what cannot be printed"),
        (["task,method,seed,score", "RTE,plain,0,0.7", "rte,plain,0,0.7"], ":3: task rte is called RTE in "),
        ([""], ":1: no column 'task'"),
        (["task,method,seed,score"], ": no run with a score"),
    ],
)
def test_malformed_csv_is_one_line_with_its_place(tmp_path: Path, lines: list[str], complaint: str) -> None:
    path = rows(tmp_path / "a.csv", *lines)
    with pytest.raises(UsageError, match=f"^{re.escape(f'{path}{complaint}')}") as raised:
        read_runs([path])
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_an_unknown_majority(tmp_path: Path, delimiter: str) -> None:
    lines = ["task,method,seed,score,majority", "stsb,plain,0,0.8,NA", "stsb,plain,1,0.8,"]
    found = read_runs([rows(tmp_path / "a.csv", *(line.replace(",", delimiter) for line in lines))])
    assert [(run.score, run.majority, run.failed) for run in found.runs] == [(0.8, None, None)] * 2


def test_what_is_in_no_file(tmp_path: Path) -> None:
    path = rows(tmp_path / "a.csv", "task,method,seed,score,metric,checkpoint", "rte,plain,0,0.7,acc,best")
    with pytest.raises(UsageError, match=r"^--columns score=accc: no column 'accc'"):
        read_runs([path], Choice(columns={"score": "accc"}))
    with pytest.raises(UsageError, match=r"^--metric: no run has .acccc.; did you mean .acc."):
        read_runs([path], Choice(metrics=("acccc",)))
    other = rows(tmp_path / "b.csv", "task,method,seed,score,metric", "rte,plain,0,0.7,acc")
    with pytest.raises(UsageError, match="some lines of this run name their checkpoint and others do not"):
        read_runs([path, other])


def test_folders_of_a_bench(tmp_path: Path) -> None:
    runs = grid(tmp_path / "runs", {"plain": [0.6, 0.62], "mixout": [0.7, None]}, "rte-1000", [("mixout", "plain")])
    record(runs / "tune" / "rte-1000" / "mixout.0" / "100", 0.9)
    (runs / "rte-1000/plain/0/wandb/files").mkdir(parents=True)
    (runs / "rte-1000/plain/0/wandb/files/config.yaml").write_text("{}")
    record(runs / "stages" / "mnli-abc", 0.9, "mnli", bench=False)
    found = read_runs([runs])
    assert [(r.task, r.method, r.seed) for r in found.runs] == [
        ("rte-1000", method, seed) for method in ("mixout", "plain") for seed in ("0", "1")
    ]
    assert [r.score for r in found.runs] == pytest.approx([0.7, math.nan, 0.6, 0.62], nan_ok=True)
    run = found.runs[0]
    assert (run.checkpoint, run.metric, run.majority, run.cost["seconds"]) == ("best", "accuracy", 0.527, 30)
    assert run.curve == ((10, 0.5), (20, 0.6))  # of its metric, not of the score that training watches
    assert run.scores["dev"]["last"] == {"accuracy": 0.5}
    assert found.primary == [("rte-1000", "mixout", "plain")]
    assert not found.missing
    assert sum("1 run of tuning" in note or "1 run of a first stage" in note for note in found.notes) == 2
    assert [r.score for r in read_runs([runs], Choice(checkpoint="last")).runs] == [0.5] * 4


def test_runs_without_a_result_are_told(tmp_path: Path) -> None:
    runs = grid(tmp_path / "runs", {"plain": [0.6] * 5, "mixout": [0.7] * 5}, "rte")
    for name in ("mixout/1", "mixout/2", "plain/3"):
        (runs / "rte" / name / "result.json").unlink()
    (runs / "rte/mixout/1/error.json").write_text('{"line": "out of memory"}')
    for file in (runs / "rte/plain/3").iterdir():
        file.unlink()
    (runs / "rte/plain/3").rmdir()
    found = read_runs([runs])
    assert len(found.runs) == 7
    assert found.missing == {
        "failed": ["rte/mixout/1"],
        "not finished": ["rte/mixout/2"],
        "not begun": ["rte/plain/3"],
    }


def test_a_run_that_diverged_is_one_of_its_arm(tmp_path: Path) -> None:
    """`ftreg bench` has no result of it: the loss was no longer finite, and the fit ended."""
    runs = grid(tmp_path / "runs", {"plain": [0.6] * 3, "mixout": [0.7] * 3})
    for seed in range(3):
        (runs / "rte/mixout" / str(seed) / "result.json").unlink()
        (runs / "rte/mixout" / str(seed) / "error.json").write_text(
            json.dumps({"line": f"training diverged at optimizer step {seed}: the loss is nan"})
        )
    found = read_runs([runs])
    assert not found.missing
    lost = [run for run in found.runs if run.method == "mixout"]
    assert [(run.seed, run.metric, run.checkpoint, run.curve) for run in lost] == [
        (seed, "accuracy", "best", ((10, 0.5), (20, 0.6))) for seed in "012"
    ]
    assert all(math.isnan(run.score) for run in lost)
    with pytest.raises(UsageError, match=r"no run with a score \(3 diverged"):
        read_runs([runs / "rte" / "mixout"])


def test_failure_and_curve_are_of_the_metric(tmp_path: Path) -> None:
    folder = record(tmp_path / "mrpc" / "plain" / "0", 0.8, "mrpc")
    content = json.loads((folder / "result.json").read_text())
    content["scores"]["dev"] = {"last": {"accuracy": 0.7, "f1": 0.5}, "best": {"accuracy": 0.7, "f1": 0.9}}
    content["majority"]["dev"] = {"accuracy": 0.6, "f1": 0.8}
    (folder / "result.json").write_text(json.dumps(content))
    (run,) = read_runs([tmp_path], Choice(metrics=("f1",))).runs
    assert (run.score, run.majority, run.failed, run.curve) == (0.9, 0.8, True, ())
    assert read_runs([tmp_path]).runs[0].failed is False


def test_a_grid_s_runs_outside_the_folder_are_not_missing(tmp_path: Path) -> None:
    runs = grid(tmp_path / "runs", {"plain": [0.6, 0.7], "mixout": [0.7, 0.7]})
    found = read_runs([runs / "rte" / "plain"])
    assert len(found.runs) == 2
    assert not found.missing


def test_runs_of_fits_by_hand_are_named_by_their_methods(tmp_path: Path) -> None:
    record(tmp_path / "one", 0.6, seed=(0, 1, 2), bench=False)
    record(tmp_path / "two", 0.7, methods=[{"name": "Mixout", "options": {"p": 0.7}}], bench=False)
    record(tmp_path / "rte" / "mine" / "3", 0.7, seed=3, bench=False)
    found = read_runs([tmp_path / "one", tmp_path / "two" / "result.json", tmp_path / "rte"])
    assert [(r.method, r.seed) for r in found.runs] == [("plain", "0-1-2"), ("Mixout(p=0.7)", "0"), ("mine", "3")]


def test_the_same_run_twice(tmp_path: Path) -> None:
    record(tmp_path / "one", 0.6, bench=False)
    assert len(read_runs([tmp_path / "one", tmp_path]).runs) == 1
    record(tmp_path / "two", 0.7, bench=False)
    with pytest.raises(UsageError, match=r"two: task rte, method plain, seed 0 is in .*one too"):
        read_runs([tmp_path])


def test_malformed_records(tmp_path: Path) -> None:
    folder = record(tmp_path / "rte" / "plain" / "0", 0.6)
    (folder / "result.json").write_text('{"task": "rte"')
    with pytest.raises(UsageError, match=r"result\.json: not the JSON that ftreg writes"):
        read_runs([tmp_path])
    (folder / "result.json").write_text(json.dumps({"task": "rte", "reported": {"split": "dev"}}))
    with pytest.raises(UsageError, match=r"result\.json: not the record of a run"):
        read_runs([tmp_path])
    folder = record(tmp_path / "rte" / "plain" / "1", 0.6)
    text = (folder / "result.json").read_text()
    (folder / "result.json").write_text(text.replace("0.527", '"n/a"'))
    with pytest.raises(UsageError, match=r"1/result\.json: not the record of a run"):
        read_runs([folder])
    (folder / "result.json").write_text(text)
    (folder / "metrics.csv").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match=r"metrics\.csv: not the CSV file that ftreg writes"):
        read_runs([folder])
    with pytest.raises(UsageError, match="no such file or folder"):
        read_runs([tmp_path / "nothing"])
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match="no run with a score"):
        read_runs([tmp_path / "empty"])
