"""A task of one's own through `ftreg fit`: errors as metrics, declarations that are refused, data that are told."""

import csv
import random
from pathlib import Path

import pytest

from ftreg.__main__ import main
from tests.cli.runs import TINY, metrics, result, weights


def task(folder: Path, rows: list[tuple[str, str, object]]) -> list[str]:
    """The arguments of a short fit on these rows."""
    for split in ("train", "dev"):
        with open(folder / f"{split}.csv", "w", newline="") as file:
            csv.writer(file).writerows([("text", "target", "label"), *rows])
    options = ["--trainer.max_steps=6", "--data.batch_size=8", "--trainer.accelerator=cpu", "--model.lr=0.01"]
    return ["fit", *TINY, *options, "--data.source=files", f"--data.path={folder}", "--data.task.test=[]"]


def test_an_error_chooses_the_lowest(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    draw = random.Random(0)
    rows = [(f"text {row}", f"target {row}", round(draw.uniform(0, 9), 1)) for row in range(60)]
    run = tmp_path / "run"
    arguments = [*task(tmp_path, rows), f"--trainer.default_root_dir={run}", "--trainer.val_check_interval=1"]
    mine = "--data.task={name: mine, columns: [text, target], metrics: [mse, pearson]}"
    assert main([*arguments[:-1], mine, "--data.task.test=[]", "--trainer.val_check_interval=1"]) == 0
    errors = {int(row["step"]): float(row["selection/mse"]) for row in metrics(run) if row.get("selection/mse")}
    assert len(errors) == 6
    record = result(run)
    assert record["less_is_better"] == ["mse"]
    assert record["scores"]["selection"]["best"]["mse"] == pytest.approx(min(errors.values()), rel=1e-5)
    assert record["failed"] is (record["scores"]["dev"]["last"]["mse"] >= record["majority"]["dev"]["mse"])
    assert weights(run, "best").keys() == weights(run).keys()
    out = capsys.readouterr().out
    assert f"dev mse, less is better {record['scores']['dev']['last']['mse']:.4g}".split()[:5] == next(
        line.split()[:5] for line in out.splitlines() if "dev mse" in line
    )


def test_a_column_that_joins_all_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [(f"text {row}", f"target {row % 3}", "ab"[row // 3 % 2]) for row in range(60)]
    mine = "--data.task={name: mine, columns: [text, target], labels: [a, b]}"
    arguments = [*task(tmp_path, rows), f"--trainer.default_root_dir={tmp_path}/run", mine, "--data.task.test=[]"]
    assert main(arguments) == 2
    assert "20 share one in 'target', of 3 different texts; declare the task with grouping: [text]" in (
        capsys.readouterr().err
    )
    assert main([*arguments, "--data.task.grouping=[text]", "--trainer.max_steps=1"]) == 0
