"""Mixout, FreeLB and SMART together: recomputed, compiled, in lower precision; and where no method can work.

How they are sharded, resumed, clipped and ordered is in `tests/test_exactness.py`.
"""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import torch._functorch.config as functorch_config
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy
from torch import Tensor, nn

from ftreg import FineTuner, Regularizer, UsageError
from ftreg.testing import CASES
from ftreg.testing.encoders import checkpoint
from ftreg.testing.fits import RandomRows, difference, fit, state
from tests.sharded import TRIO


def trio() -> list[Regularizer]:
    return [CASES[name].card() for name in TRIO]


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """With dropout."""
    return checkpoint(tmp_path_factory.mktemp("encoder"), "bert")


@pytest.fixture(scope="module")
def eager(backbone: str) -> dict[str, Tensor]:
    return state(fit(backbone, trio()))


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[nn.Module]]:
    """The modules that were compiled, by a backend that traces as the default one does but needs no compiler."""
    seen: list[nn.Module] = []
    original = nn.Module.compile

    def compile_(module: nn.Module, **options: Any) -> None:
        seen.append(module)
        original(module, **options, backend="aot_eager")

    monkeypatch.setattr(nn.Module, "compile", compile_)
    torch.compiler.reset()
    with functorch_config.patch(donated_buffer=functorch_config.donated_buffer):
        yield seen


def test_recomputing_activations_changes_nothing(backbone: str, eager: dict[str, Tensor]):
    again = state(fit(backbone, trio(), options={"gradient_checkpointing": True}))
    assert difference(eager, again) < 1e-9


@pytest.mark.parametrize("checkpointing", [False, True])
def test_compiling_changes_nothing(backbone: str, compiled: list[nn.Module], checkpointing: bool):
    # Packed or not, a layer is traced once more: one of each is enough.
    options = {"gradient_checkpointing": checkpointing, "packing": not checkpointing}
    plain, again = (
        state(fit(backbone, trio(), options=options | {"compile": on}, max_steps=2, limit_val_batches=0))
        for on in (False, True)
    )
    assert difference(plain, again) < 1e-9
    assert len(compiled) == 2


def ends(backbone: str, methods: list[Regularizer], precision: Any, seed: int) -> tuple[Tensor, Tensor]:
    """The weights, flat, and what they predict in float32."""
    options = {"init_seed": seed, "warmup": 0.0}
    model = fit(backbone, methods, precision=precision, options=options)
    judge = pl.Trainer(accelerator="cpu", logger=False, enable_progress_bar=False, enable_model_summary=False)
    judge.validate(model, RandomRows(), verbose=False)
    return nn.utils.parameters_to_vector(model.parameters()).detach(), model.predictions["dev"].logits


def test_bf16_is_no_further_from_float32_than_plain_fine_tuning_is(backbone: str):
    def distances(build: Callable[[], list[Regularizer]]) -> Tensor:
        """Of the weights and of the predictions, averaged over seeds, [2]."""
        found = []
        for seed in range(4):
            full, low = (ends(backbone, build(), precision, seed) for precision in ("32-true", "bf16-mixed"))
            found.append([float((a - b).norm()) for a, b in zip(full, low, strict=True)])
        return torch.tensor(found).mean(0)

    plain, together = distances(list), distances(trio)
    assert (plain > 1e-5).all()
    assert (together <= plain).all(), (together, plain)


@pytest.mark.parametrize("strategy", [FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy])
@pytest.mark.parametrize("name", CASES)
def test_strategies_that_split_parameters_are_refused(name: str, strategy: type):
    model = FineTuner("tiny")
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[CASES[name].card()])
    model.trainer = trainer
    trainer._accelerator_connector.strategy = strategy.__new__(strategy)
    with pytest.raises(UsageError, match=rf"^{name}: not under {strategy.__name__}.*strategy=ddp$"):
        model.setup("fit")
