"""What a fit says while it is under way."""

import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftreg.cli.console import Console
from glue_tasks.registry import find
from tests.cli.runs import MIXOUT, fit


def data(**changes: Any) -> Any:
    task = find("mrpc")
    known = {"task": task, "source": "tsv", "sizes": {"train": 1200, "dev": 408}, "evaluation_splits": ("dev",)}
    return SimpleNamespace(**known | changes)


def trainer(step: int = 0, **changes: Any) -> Any:
    known: dict[str, Any] = {
        "global_step": step,
        "estimated_stepping_batches": 1000.0,
        "callbacks": [],
        "world_size": 1,
        "accumulate_grad_batches": 1,
        "default_root_dir": "runs/x",
        "progress_bar_callback": None,
        "callback_metrics": {},
        "state": SimpleNamespace(fn="fit"),
        "sanity_checking": False,
    }
    return SimpleNamespace(**known | changes)


def evaluated(step: int, accuracy: float, f1: float) -> Any:
    metrics = {"dev/accuracy": accuracy, "dev/f1": f1, "dev/score": (accuracy + f1) / 2}
    return trainer(step, callback_metrics=metrics)


def test_a_fit_without_a_terminal(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line at the start, one an evaluation, and the table at the end."""
    fit(tmp_path, "--data.source=sample", "--data.train_subset=64", "--trainer.max_steps=2", *MIXOUT)
    first, *evaluations = capsys.readouterr().out.split("\n\n")[0].splitlines()
    assert first.startswith("RTE · source sample (built in: generated sentences, not GLUE) · ")
    assert " · rows train 64, selection " in first
    assert first.endswith(f" · backbone tiny · Mixout(p=0.7) · 2 steps · {tmp_path}")
    assert [line.split(" · ")[0] for line in evaluations] == ["step 1 of 2", "step 2 of 2"]
    assert " · selection accuracy " in evaluations[0]
    assert " · best so far " in evaluations[0]
    assert evaluations[0].endswith(" left")


def test_a_run_that_is_gone_on_with_says_from_where(capsys: pytest.CaptureFixture[str]) -> None:
    Console(data(), "demo").on_train_start(trainer(400, world_size=4, accumulate_grad_batches=2), None)  # type: ignore[arg-type]
    assert capsys.readouterr().out == (
        "MRPC · source tsv · rows train 1,200, dev 408 · backbone demo · plain · 1,000 steps · goes on from step 400 · "
        "4 processes · 2 micro-batches a step · runs/x\n"
    )


def test_the_best_so_far_is_the_first_of_the_highest_also_after_a_break(capsys: pytest.CaptureFixture[str]) -> None:
    module: Any = None
    one = Console(data(), "demo")
    one.on_train_start(trainer(), module)
    for step, accuracy in enumerate((math.nan, 0.5, 0.7, 0.7), 1):
        one.on_validation_end(evaluated(step, accuracy, 0.9), module)
    other = Console(data(), "demo")
    other.load_state_dict(one.state_dict())
    other.on_train_start(trainer(4), module)
    other.on_validation_end(evaluated(1000, 0.6, 0.9), module)
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("step")]
    assert lines[0].startswith("step 1 of 1,000 · dev accuracy –, f1 90.0 · ")
    assert [line.partition("best so far ")[2].partition(" · ")[0] for line in lines] == [
        "", "70.0 at step 2", "80.0 at step 3", "80.0 at step 3", "80.0 at step 3",
    ]  # fmt: skip
    assert lines[-1].endswith("80.0 at step 3")  # nothing is left


def test_what_is_no_evaluation_of_the_fit_says_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    module: Any = None
    for changes in ({"sanity_checking": True}, {"state": SimpleNamespace(fn="validate")}):
        Console(data(), "demo").on_validation_end(trainer(3, **changes), module)
    assert capsys.readouterr().out == ""


def test_a_fit_that_is_never_evaluated_shows_its_loss(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten times, and once a step whatever the number of micro-batches."""
    module: Any = None
    one = Console(data(evaluation_splits=()), "demo")
    one.on_train_start(trainer(), module)
    for step in range(1, 1001):
        for _ in range(2):
            one.on_train_batch_end(trainer(step, callback_metrics={"train/loss": 2.5}))
    _, *lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 10
    assert lines[0].startswith("step 100 of 1,000 · loss 2.5 · ")


def test_a_progress_bar_prints_the_lines_itself(capsys: pytest.CaptureFixture[str]) -> None:
    said: list[str] = []
    bar = SimpleNamespace(is_enabled=True, print=said.append)
    Console(data(), "demo").on_train_start(trainer(progress_bar_callback=bar), None)  # type: ignore[arg-type]
    assert len(said) == 1
    assert capsys.readouterr().out == ""
