"""Fits that are cut off at the worst of moments, and gone on with: their record is that of a fit that was not."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from ftreg.run import record as run
from ftreg.run.history import History
from ftreg.run.places import resumable
from glue_tasks import atomic
from tests.cli.runs import MIXOUT, fit, metrics, result, same, weights


class Killed(BaseException):
    """In this process, in place of a signal that nobody can catch: nothing is tidied up below."""


def at(function: Callable[..., Any], number: int, half: bool = False) -> Callable[..., Any]:
    """The function until its call of that number, from 0: that one raises, before it does anything or after half."""
    calls = iter(range(1000))

    def until(*args: Any, **kwargs: Any) -> Any:
        if next(calls) < number:
            return function(*args, **kwargs)
        if half:
            function(*args, **kwargs)
        raise Killed

    return until


def torn(self: History, line: bytes, append: Callable[..., None] = History._append) -> None:
    """The fourth row is written by half."""
    if self.path.read_bytes().count(b"\r\n") < 4:
        return append(self, line)
    append(self, line[: len(line) // 2])
    raise Killed


CUTS: list[tuple[object, str, Callable[..., Any]]] = [
    (torch, "save", at(torch.save, 1, half=True)),  # step 1: there is a best checkpoint and no last one
    (History, "_append", torn),  # the evaluation after step 2
    (History, "add", at(History.add, 2)),  # step 3, before it
    (run, "write_atomically", at(run.write_atomically, 0)),  # after all steps and rows: the result
]


def test_rows_and_weights_are_those_of_a_run_that_was_not_cut_off(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options, root = [*MIXOUT, "--trainer.log_every_n_steps=1", "--trainer.max_steps=3"], tmp_path / "cut"
    fit(tmp_path / "whole", *options)
    again: list[str] = []
    for place, name, cut in CUTS:
        with monkeypatch.context() as patch:
            patch.setattr(place, name, cut)
            patch.setattr(atomic, "_remove", lambda path: None)
            with pytest.raises(Killed):
                fit(root, *options, *again)
        assert not (root / "result.json").exists()
        again = [f"--ckpt_path={resumable(root)}"]
    fit(root, *options, *again)
    assert metrics(root) == metrics(tmp_path / "whole")
    assert same(weights(root), weights(tmp_path / "whole"))
    assert result(root)["scores"] == result(tmp_path / "whole")["scores"]
    assert [*root.rglob(".*")] == []
