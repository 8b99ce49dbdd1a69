"""What a training step costs, counted: matrix products in units of one plain forward pass, and bytes all-reduced.

A forward pass is 1 and its backward 2: each product has one for the gradient of its input, one for its weight's. A
backward to a perturbation alone is 1 + a, where a is attention's share of the forward: it multiplies inputs by inputs,
and needs both gradients.
"""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from ftreg import FGM, PGD, SMART, VAT, FineTuner, FreeLB, Mixout, Regularizer
from tests import toys
from tests.models import checkpoint
from tests.pipeline import fit


class Counter(pl.Callback):
    """Counts one real step, from its batch to the updated weights, and a plain forward of the same, packed batch."""

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Mapping[str, Any], batch_idx: int):
        with FlopCounterMode(display=False) as forward, torch.no_grad():
            pl_module(batch)
        assert pl_module.encoder.packing.layout is not None
        self.unit = forward.get_total_flops()
        operations = forward.get_flop_counts()["Global"]
        self.attention = sum(n for operation, n in operations.items() if "bmm" in str(operation)) / self.unit
        self._step = FlopCounterMode(display=False)
        self._step.__enter__()

    def on_train_batch_end(self, *args: Any):
        self._step.__exit__(None, None, None)
        self.forwards = self._step.get_total_flops() / self.unit


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Wide enough for attention's products to be few."""
    folder = tmp_path_factory.mktemp("flops") / "bert"
    return checkpoint(folder, "bert", hidden_size=128, intermediate_size=512, num_hidden_layers=4)


def count(backbone: str, methods: Sequence[Regularizer], **trainer_options: Any) -> Counter:
    counter = Counter()
    fit(backbone, [*methods, counter], max_steps=1, limit_val_batches=0, **trainer_options)
    assert 0 < counter.attention < 0.03
    return counter


def described(methods: Sequence[Regularizer]) -> str:
    """The methods and the options that are not their defaults."""
    words = []
    for method in methods:
        default = type(method)().options()
        words += [method.name, *(f"{k}={v}" for k, v in method.options().items() if v != default[k])]
    return "-".join(words) or "plain"


CASES: list[tuple[list[Regularizer], int, int, int]] = [
    # Passes with parameter gradients, passes with the perturbation's gradient alone, and forwards without any.
    ([], 1, 0, 0),
    ([Mixout(p=0.8)], 1, 0, 0),
    ([Mixout(granularity="weight", gradient="reference")], 1, 0, 0),
    ([FreeLB(steps=1)], 1, 0, 0),
    ([FreeLB(steps=2)], 2, 0, 0),
    ([FreeLB()], 3, 0, 0),
    ([FreeLB(steps=4, noise="fresh", norm="linf")], 4, 0, 0),
    ([FreeLB(start_step=9)], 1, 0, 0),
    ([PGD(steps=0)], 1, 0, 0),
    ([PGD(steps=1)], 1, 1, 0),
    ([PGD()], 1, 3, 0),
    ([FGM()], 2, 0, 0),
    ([FGM(weight=0)], 1, 0, 0),
    ([VAT()], 2, 1, 0),
    ([VAT(steps=2)], 2, 2, 0),
    ([VAT(weight=0)], 1, 0, 0),
    ([SMART(mu=0)], 2, 1, 0),
    ([SMART(mu=0, steps=2)], 2, 2, 0),
    ([SMART(mu=0, variant="max_rescale")], 2, 1, 0),
    ([SMART()], 2, 1, 1),
    ([SMART(weight=0)], 1, 0, 1),
    ([SMART(weight=0, mu=0)], 1, 0, 0),
    # SMART compares with a clean pass, which FreeLB has no use for.
    ([Mixout(), FreeLB(), SMART()], 3 + 2, 1, 1),
]


@pytest.mark.parametrize(
    ("methods", "full", "inputs", "forwards"), CASES, ids=[described(methods) for methods, *_ in CASES]
)
def test_passes(backbone: str, methods: list[Regularizer], full: int, inputs: int, forwards: int):
    found = count(backbone, methods)
    assert found.forwards == pytest.approx(3 * full + (2 + found.attention) * inputs + forwards, abs=0.003)


@pytest.mark.parametrize(
    ("method", "forwards"),
    [
        # The norms of two gradients: the smoothness term's, through both of its predictions, and the task's.
        (SMART(), 4 + 2),
        # VAT's penalty has no gradient through the clean prediction.
        (VAT(), 2 + 2),
        (FreeLB(), 0),
        (PGD(), 0),
        (FGM(), 0),
    ],
    ids=lambda value: value.name if isinstance(value, Regularizer) else f"+{value}",
)
def test_what_a_logged_step_adds(backbone: str, method: Regularizer, forwards: int):
    silent, logged = (count(backbone, [method], log_every_n_steps=every).forwards for every in (50, 1))
    assert logged - silent == pytest.approx(forwards, abs=0.05)


def test_a_second_backward_a_pass_would_show(backbone: str):
    """FreeLB with its two gradients taken one after the other: 3·3 + 2·(1 + a) in place of 9."""
    found = count(backbone, [toys.Ascent(passes=3)])
    assert found.forwards == pytest.approx(9 + 2 * (1 + found.attention), abs=0.003)


class Reduced(pl.Callback):
    """The bytes that DDP hands over to be all-reduced, at each step."""

    def __init__(self) -> None:
        self.bytes: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule):
        def hook(_: None, bucket: torch.distributed.GradBucket) -> torch.futures.Future[torch.Tensor]:
            self.bytes[-1] += bucket.buffer().nbytes
            future: torch.futures.Future[torch.Tensor] = torch.futures.Future()
            future.set_result(bucket.buffer())
            return future

        trainer.strategy.model.register_comm_hook(None, hook)  # type: ignore[union-attr]

    def on_train_batch_start(self, *args: Any):
        self.bytes.append(0)


@pytest.mark.parametrize("methods", [[], [FreeLB()], [Mixout(), FGM(), SMART()], [PGD(), VAT()]], ids=described)
def test_every_gradient_is_reduced_once(tmp_path: Path, methods: list[Regularizer]):
    """One rank hands over what each of several would."""
    reduced = Reduced()
    model = FineTuner(checkpoint(tmp_path, "bert"))
    with patch.dict(os.environ):  # Lightning leaves its address there
        try:
            fit("", [*methods, reduced], model=model, strategy="ddp", devices=1, max_steps=3, limit_val_batches=0)
        finally:
            torch.distributed.destroy_process_group()
    assert reduced.bytes == 3 * [sum(p.nbytes for p in model.parameters())]
