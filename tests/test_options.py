"""Every option of methods, model, data and trainer: a value that it cannot have is refused."""

import inspect
import math
from collections.abc import Callable, Mapping
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
import pytorch_lightning as pl

from ftreg._base.errors import UsageError
from ftreg.cli import trainer_options
from ftreg.lightning.finetuner import FineTuner
from ftreg.methods.multi_task import MultiTask
from ftreg.testing.cases import exported
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.options import type_fault

NASTY = [None, math.nan, math.inf, -math.inf, -1, 0, True, "x", "", [], {}, [None], {"a": None}, 1.5, 10**400, 10**5000]
BUILDERS: Mapping[str, Callable[..., Any]] = {
    **exported(),
    "MultiTask": MultiTask,
    "model": FineTuner,
    "data": GlueDataModule,
}
NEEDED: dict[str, dict[str, Any]] = {"MultiTask": {"heads": {}}}


def _options() -> list[tuple[str, str]]:
    return [(owner, name) for owner, made in BUILDERS.items() for name in inspect.signature(made).parameters]


@pytest.mark.parametrize(("owner", "option"), _options())
def test_a_value_is_taken_or_refused_by_name(owner: str, option: str) -> None:
    made = BUILDERS[owner]
    hint = get_type_hints(made.__init__)[option]
    for value in NASTY:
        line = _complaint(lambda value=value: made(**{**NEEDED.get(owner, {}), option: value}))
        if not line:
            _fits(value, hint)
        else:
            assert option in line
            assert owner in line or option in ("task", "also")


def _complaint(make: Callable[[], Any]) -> str:
    """The one line, if there is one."""
    try:
        make()
    except (UsageError, DataError) as error:
        line = str(error)
    else:
        return ""
    assert "\n" not in line
    assert len(line) < 500
    return line


def _fits(value: Any, hint: Any) -> None:
    """What has been taken is of the declared type, without NaN, without a truth value for a number."""
    kinds = {*get_args(hint), hint}
    if isinstance(value, bool):
        assert bool in kinds
    elif isinstance(value, float):
        assert float in kinds
        assert math.isfinite(value)
    elif isinstance(value, int):
        assert {int, float} & kinds
        assert abs(value) < 2**63
    elif value is None:
        assert type(None) in kinds


@pytest.mark.parametrize("option", trainer_options.RANGES)
def test_the_trainers_own(option: str) -> None:
    hint = get_type_hints(pl.Trainer.__init__)[option]
    for value in [*NASTY, -7, "00:00:00:05"]:
        line = _complaint(lambda value=value: trainer_options.check_trainer_options({option: value}))
        assert line.startswith(f"trainer.{option}") or not line
        if not line:
            _fits(value, hint)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        (
            {"val_check_interval": 0},
            r"trainer.val_check_interval is 0; it must be a number of batches from 1",
        ),
        ({"val_check_interval": 1.5}, r"trainer.val_check_interval is 1.5; "),
        ({"accumulate_grad_batches": 0}, r"trainer.accumulate_grad_batches is 0; it must be 1 or more"),
        ({"accumulate_grad_batches": None}, r"trainer.accumulate_grad_batches is null; it must be a whole number"),
        ({"devices": 0}, r"trainer.devices is 0; it must be a number of them from 1"),
        ({"devices": [0, 0]}, r"trainer.devices is \[0, 0\]"),
        ({"max_steps": -5}, r"trainer.max_steps is -5; it must be 1 or more, or -1 for no end"),
        ({"max_time": "x"}, r"trainer.max_time: "),
        ({"gradient_clip_val": math.nan}, r"trainer.gradient_clip_val is nan; it must be 0 or more"),
    ],
)
def test_the_trainers_ranges(options: dict[str, Any], line: str) -> None:
    with pytest.raises(UsageError, match=line):
        trainer_options.check_trainer_options(options)


@pytest.mark.parametrize(
    "options",
    [
        *({"devices": value} for value in ("auto", "0,1", [1], -1, "2", "-1")),
        *({"val_check_interval": value} for value in (1.0, 7, None)),
        {"max_steps": -1},
        {"max_time": "00:01:00:00"},
        {"num_sanity_val_steps": -1},
        {"gradient_clip_val": 0},
        {"check_val_every_n_epoch": None},
    ],
)
def test_what_the_trainer_takes(options: dict[str, Any]) -> None:
    trainer_options.check_trainer_options(options)


@pytest.mark.parametrize(
    ("value", "hint", "wanted"),
    [
        (np.int64(3), int, ""),
        (np.float32(0.5), float, ""),
        (3, float, ""),
        (np.bool_(True), int, "a whole number"),
        (("a", "b"), list[str], ""),
        (["a", 3], list[str], "a list, each of it text"),
        ({"a": ["x"]}, dict[str, list[str]], ""),
        ({"a": "x"}, dict[str, list[str]], "lines of `name: value`, each value a list"),
        (None, str | None, ""),
        (3, str | None, "text or null"),
    ],
)
def test_types(value: Any, hint: Any, wanted: str) -> None:
    assert type_fault(value, hint) == wanted
