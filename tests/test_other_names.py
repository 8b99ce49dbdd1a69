"""Whole fits of architectures whose parts have other names than BERT's: resumed, compiled, cached, counted."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from ftreg import FineTuner, HeadFirst, LayerPooling, MaskedLM, Regularizer, ReplacedTokens
from ftreg.encoder.adapters import linears
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.features import Features
from ftreg.run.diagnostics import Diagnostics
from ftreg.testing import CASES
from ftreg.testing.fits import difference, every_step, fit, state
from tests.models import checkpoint

NAMES = ("albert", "modernbert")


@pytest.fixture(scope="module", params=NAMES)
def backbone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("encoder"), request.param)


def together() -> list[Regularizer]:
    return [CASES[name].card() for name in ("Mixout", "FreeLB", "SMART", "LayerPooling")]


@pytest.mark.parametrize("methods", [together, lambda: [ReplacedTokens(generator_layers=1)]], ids=["all", "replaced"])
def test_a_resumed_fit_is_the_whole_one(backbone: str, tmp_path: Path, methods: Any):
    """Bit for bit, with dropout on and decay towards the anchor."""
    options = {"decay_towards": "anchor", "weight_decay": 0.1}
    whole = fit(backbone, [*methods(), every_step(tmp_path)], options=options, max_steps=4, enable_checkpointing=True)
    resumed = fit(backbone, methods(), options=options, max_steps=4, resume=str(tmp_path / "step=2.ckpt"))
    assert difference(state(whole), state(resumed)) == 0


def test_each_layer_is_compiled_once(backbone: str, monkeypatch: pytest.MonkeyPatch):
    """What compiling does to a layer is tested with BERT's."""
    compiled: list[nn.Module] = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: compiled.append(module))
    model = FineTuner(backbone, compile=True)
    model.configure_model()
    assert compiled == [*dict.fromkeys(model.encoder.architecture.layers)]
    assert len(compiled) == len(set(compiled)) > 0


@pytest.mark.parametrize("pooler", [False, True])
def test_cached_features_are_those_of_the_frozen_encoder(backbone: str, pooler: bool):
    model = FineTuner(backbone)
    model.configure_model()
    encoder = model.encoder.eval()
    batch = {
        "input_ids": torch.tensor([[7, 8, 9, 10], [11, 12, 13, 1]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1], [1, 1, 1, 0]]),
        "row_ids": torch.arange(2),
    }
    for name, parameter in encoder.named_parameters():
        parameter.requires_grad_(encoder.in_head(name) or (pooler and ".pooler." in name))
    features = Features(encoder, "HeadFirst.cache", pooler)
    for _ in range(2):
        made = features(batch)
        assert made is not None
        torch.testing.assert_close(made, model(batch), rtol=0, atol=1e-6)


def test_a_cached_head_trains_as_one_that_is_not(backbone: str):
    cached, plain = (
        fit(backbone, [HeadFirst(share=1.0, cache=on)], max_steps=2, options={"warmup": 0.0}, limit_val_batches=0)
        for on in (True, False)
    )
    start = Encoder(backbone, ("0", "1"))
    moved = {n for n, p in cached.encoder.named_parameters() if not torch.equal(p.float(), start.get_parameter(n))}
    assert moved
    assert all(cached.encoder.in_head(name) for name in moved)
    assert moved == {
        n for n, p in plain.encoder.named_parameters() if not torch.equal(p.float(), start.get_parameter(n))
    }


def test_every_part_is_measured(backbone: str):
    logged = fit(backbone, [Diagnostics()], max_steps=1, log_every_n_steps=1).trainer.callback_metrics
    layers = {"layer_00"} if "albert" in Path(backbone, "config.json").read_text() else {"layer_00", "layer_01"}
    pooler = {"pooler"} if len(layers) == 1 else set()
    assert {name.removeprefix("grad_norm/") for name in logged if name.startswith("grad_norm/")} == {
        "embeddings",
        *layers,
        *pooler,
        "head",
    }


def test_shared_layers_are_mixed_once(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "albert", num_hidden_layers=6), ("a", "b"))
    method = CASES["Mixout"].card()
    method.remember(encoder)
    names = [name for name, _ in linears(encoder) if encoder.anchored(name)]
    assert len(names) == len(set(names)) == 6 + 1 + 1  # a layer's, the projection's and the pooler's
    assert set(method._anchors) == set(names)


def test_objectives_beside_a_head_of_ones_own(backbone: str):
    model = fit(backbone, [MaskedLM(task_weight=0.5), LayerPooling(mix="attention")], max_steps=1)
    assert all(p.isfinite().all() for p in model.parameters())
