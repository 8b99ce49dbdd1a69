"""Every one of the 32 subsets of the five families: two steps, each term logged, resumed exactly."""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl

from ftreg.testing import CASES
from ftreg.testing.encoders import checkpoint
from ftreg.testing.fits import difference, every_step, fit, state

FAMILIES = ("LayerPooling", "TwoStage", "FreeLB", "SMART", "Mixout")
SUBSETS = [names for size in range(len(FAMILIES) + 1) for names in combinations(FAMILIES, size)]


class Logged(pl.Callback):
    """The names of what each step logs."""

    def __init__(self) -> None:
        self.steps: list[set[str]] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        metrics: Mapping[str, Any] = trainer.callback_metrics
        self.steps.append({name for name in metrics if name.startswith(("train/", "layer_weight/"))})


def terms(names: tuple[str, ...]) -> set[str]:
    """What a step with these methods has to log."""
    found = {"train/loss", "train/FreeLB" if "FreeLB" in names else "train/task"}
    if "SMART" in names:
        found |= {"train/SMART/smoothness", "train/SMART/bregman"}
    if "LayerPooling" in names:
        found |= {f"layer_weight/{number:02d}" for number in (1, 2)}
    return found


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("encoder"), "bert")


def test_there_are_32_of_them() -> None:
    assert len(set(SUBSETS)) == 32


@pytest.mark.parametrize("names", SUBSETS, ids=lambda names: "+".join(names) or "plain")
def test_two_steps_are_logged_and_resumed(backbone: str, names: tuple[str, ...], tmp_path: Path) -> None:
    def ends(*callbacks: pl.Callback, **options: Any) -> Any:
        methods = [CASES[name].card() for name in names]
        return fit(backbone, [*methods, *callbacks], max_steps=2, log_every_n_steps=1, **options)

    logged = Logged()
    whole = state(ends(logged, every_step(tmp_path), enable_checkpointing=True))
    assert len(logged.steps) == 2
    for found in logged.steps:
        assert terms(names) <= found
        others = {"train/task", "train/FreeLB", "train/SMART/smoothness", "layer_weight/01"} - terms(names)
        assert not others & found
    (first,) = tmp_path.glob("*step=1*.ckpt")
    assert difference(whole, state(ends(resume=str(first)))) == 0
