"""How a seed is spelt names no other stream: integers of any kind are one, and what is no integer is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ftreg import FineTuner
from ftreg.encoder.noise import Noise, stream_seed
from ftreg.testing.encoders import checkpoint
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.loader import EpochOrder
from glue_tasks.mixture import TaskOrder
from glue_tasks.stratification import draws

SEVENS: list[Any] = [7, np.int64(7), np.uint8(7), np.array(7), torch.tensor(7), torch.tensor([7], dtype=torch.int32)]
NO_SEEDS: list[Any] = [7.0, np.float64(7), True, np.bool_(True), torch.tensor(True), None]


def test_the_streams_of_plain_integers_are_what_they_always_were():
    assert stream_seed(0, "Mixout", 3, "weight") == 8651251485866819036
    assert stream_seed(0, "dropout", 5, 1) == 7933320519483862710
    assert torch.equal(EpochOrder(5, 0).order(), torch.tensor([3, 0, 4, 1, 2]))
    assert draws(2, 0, "selection") == [5223487196371804138, 9157828228556713513]


@pytest.mark.parametrize("seven", SEVENS, ids=repr)
def test_every_spelling_of_an_integer_names_one_stream(seven: Any):
    assert stream_seed(seven, "a", seven) == stream_seed(7, "a", 7) != stream_seed("7", "a", "7")
    assert stream_seed(np.str_("a")) == stream_seed("a")
    assert Noise(seven, "a", seven).generator(seven).initial_seed() == Noise(7, "a", 7).generator(7).initial_seed()
    assert torch.equal(EpochOrder(9, seven).order(), EpochOrder(9, 7).order())
    for mine, theirs in zip(TaskOrder([9, 9], 2, seven).order(), TaskOrder([9, 9], 2, 7).order(), strict=True):
        assert torch.equal(mine, theirs)
    assert draws(3, seven, "selection") == draws(3, 7, "selection")


@pytest.mark.parametrize("value", NO_SEEDS, ids=repr)
def test_what_is_no_integer_is_refused(value: Any):
    with pytest.raises(TypeError):
        stream_seed(value)
    with pytest.raises(DataError, match=r"model.init_seed is .*; a seed is a whole number"):
        FineTuner("tiny", init_seed=value)
    with pytest.raises(DataError, match=r"data.split_seed is .*; a seed is a whole number"):
        GlueDataModule("rte", "none", split_seed=value)


def test_a_checkpoint_holds_plain_seeds(tmp_path: Path):
    model = FineTuner(checkpoint(tmp_path, "bert"), init_seed=SEVENS[1])
    data = GlueDataModule("rte", "none", order_seed=SEVENS[4], split_seed=SEVENS[1])
    assert [type(seed) for seed in (model.hparams["init_seed"], data.order_seed, data.split_seed)] == [int] * 3
