"""HeadFirst and GradualUnfreezing: what is frozen when, what that costs, and that nothing else changes."""

from itertools import pairwise
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.flop_counter import FlopCounterMode

from ftreg import SMART, ConflictError, FreeLB, UsageError
from ftreg.core.method import check_claims
from ftreg.core.method_registry import subclasses
from ftreg.encoder.groups import group
from ftreg.methods.gradual_unfreezing import GradualUnfreezing
from ftreg.methods.head_first import HeadFirst
from tests.models import ARCHITECTURES, checkpoint
from tests.pipeline import difference, fit, state

PARTS = ["embeddings", "layer_00", "layer_01", "layer_02", "pooler", "head"]


class Moved(pl.Callback):
    """Which parts of the network change at each optimizer step."""

    def __init__(self) -> None:
        self.steps: list[set[str]] = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self._before = {name: p.detach().clone() for name, p in module.encoder.named_parameters()}

    def on_train_batch_end(self, trainer, module, *args):
        now = dict(module.encoder.named_parameters())
        names = [name for name, p in self._before.items() if not torch.equal(p, now[name])]
        self.steps.append({group(module.encoder, name) for name in names})


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("noisy"), "bert", num_hidden_layers=3)


def test_the_head_alone_trains_first(noisy: str):
    moved = Moved()
    fit(noisy, [HeadFirst(share=0.5), moved], options={"warmup": 0.0})
    assert moved.steps == [{"head"}] * 3 + [set(PARTS)] * 3


def test_the_pooler_may_train_with_it(noisy: str):
    moved = Moved()
    fit(noisy, [HeadFirst(share=1.0, pooler=True), moved], max_steps=1, options={"warmup": 0.0})
    assert moved.steps == [{"head", "pooler"}]


def test_layers_join_from_the_top(noisy: str):
    """Four parts below the pooler and six steps: a part every step and a half."""
    moved = Moved()
    fit(noisy, [GradualUnfreezing(share=1.0), moved], options={"warmup": 0.0})
    top = {"pooler", "head"}
    assert moved.steps == [
        top,
        top,
        top | {"layer_02"},
        top | {"layer_02", "layer_01"},
        top | {"layer_02", "layer_01"},
        top | {"layer_02", "layer_01", "layer_00"},
    ]


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_all_train_in_the_end_and_parts_only_join(share: float):
    method = GradualUnfreezing(share=share)
    frozen = [set(method.frozen(PARTS, number / 100)) for number in range(100)]
    assert all(later <= earlier for earlier, later in pairwise(frozen))
    assert frozen[0] == set(PARTS[:-2])
    assert not any(frozen[int(100 * share) :])
    assert {len(parts) for parts in frozen} >= {1, 2, 3, 4}


@pytest.mark.parametrize("method", [HeadFirst(share=0.0), GradualUnfreezing(share=0.0)])
def test_nothing_frozen_is_plain_bit_for_bit(noisy: str, method):
    assert difference(state(fit(noisy)), state(fit(noisy, [method]))) == 0


def test_frozen_weights_neither_decay_nor_count_steps(noisy: str):
    model = fit(noisy, [HeadFirst(share=0.5)], options={"warmup": 0.0, "weight_decay": 0.5})
    optimizer = model.optimizers().optimizer
    steps = {n: int(optimizer.state[p]["step"]) for n, p in model.encoder.named_parameters()}
    assert {group(model.encoder, name): step for name, step in steps.items()} == dict.fromkeys(PARTS, 3) | {"head": 6}


def test_a_frozen_encoder_costs_its_forward(noisy: str):
    found = {}

    class Count(pl.Callback):
        def on_train_batch_start(self, trainer, module, batch, index):
            self.counter = FlopCounterMode(display=False)
            self.counter.__enter__()

        def on_train_batch_end(self, *args):
            self.counter.__exit__(None, None, None)

    for name, methods in (("plain", []), ("frozen", [HeadFirst(share=1.0)])):
        count = Count()
        fit(noisy, [*methods, count], max_steps=1, limit_val_batches=0)
        found[name] = count.counter.get_total_flops()
    assert found["frozen"] / found["plain"] == pytest.approx(1 / 3, abs=0.005)


def test_an_ascent_still_climbs_through_frozen_layers(noisy: str):
    methods = [HeadFirst(share=1.0), FreeLB(), SMART(mu=0.0, noise="shared", epsilon=1e-2, step_size=1.0, sigma=1e-3)]
    logged = fit(noisy, methods, max_steps=1, log_every_n_steps=1).trainer.callback_metrics
    assert logged["train/FreeLB/loss_rise"] > 0
    assert logged["train/SMART/delta_max"] == pytest.approx(1e-2)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture(tmp_path: Path, architecture: str):
    moved = Moved()
    fit(checkpoint(tmp_path, architecture), [HeadFirst(share=1.0), moved], max_steps=1, options={"warmup": 0.0})
    assert moved.steps == [{"head"}]


def test_one_of_them_decides():
    with pytest.raises(ConflictError, match="HeadFirst and GradualUnfreezing both own TRAINABLE"):
        check_claims([HeadFirst(), GradualUnfreezing()])


@pytest.mark.parametrize("method", [HeadFirst, GradualUnfreezing])
def test_the_share_is_checked(method: type):
    with pytest.raises(UsageError, match=rf"{method.__name__}\.share is 1\.5; it must lie between 0 and 1"):
        method(share=1.5)


def test_what_they_share_is_no_method_to_choose():
    names = {cls.__name__ for cls in subclasses()}
    assert {"HeadFirst", "GradualUnfreezing"} <= names
    assert "Freezing" not in names
