"""LayerPooling in a fit: its options, its parameters' learning rate, its checkpoints, and beside other methods."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from ftreg import FineTuner, Mixout, Regularizer, UsageError
from ftreg.methods import SMART, VAT, FreeLB, LayerPooling
from ftreg.methods.layer_pooling import Mix
from ftreg.testing.encoders import STEADY
from tests.models import ARCHITECTURES, batch, checkpoint
from tests.pipeline import difference, every_step, fit, state
from tests.pooled import DEPTH, LENGTHS, MIXES, head_of, pooling


@pytest.fixture(scope="module")
def shallow(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of two layers, with dropout."""
    return checkpoint(tmp_path_factory.mktemp("shallow"), "bert")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same without dropout."""
    return checkpoint(tmp_path_factory.mktemp("steady"), "bert", **STEADY)


@pytest.mark.parametrize(
    ("layers", "numbers"),
    [
        (None, [1, 2, 3, 4, 5]), (1, [5]), (3, [3, 4, 5]), (5, [1, 2, 3, 4, 5]), ([2], [2]), ([0], [0]),
        ([-1, 0, 2], [0, 2, 5]), ([5, 1], [1, 5]), ([-5, -4], [1, 2]),
    ],
)  # fmt: skip
def test_layers_are_numbered_from_both_ends(layers: Any, numbers: list[int]):
    assert LayerPooling(layers=layers).numbers(DEPTH) == numbers


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"layers": 0}, "layers is 0; the encoder has 5"), ({"layers": 6}, "layers is 6"), ({"layers": -1}, "is -1"),
        ({"layers": []}, "has no number"), ({"layers": [1, 6]}, "has 6"), ({"layers": [-6]}, "has -6"),
        ({"layers": [2, 2]}, "names a layer twice"), ({"layers": [5, -1]}, "names a layer twice"),
        ({"mix": "second_to_last", "layers": 1}, "needs two layers"),
        ({"mix": "third"}, "mix is 'third'"), ({"tokens": "sep"}, "tokens is 'sep'"), ({"hidden": 0}, "hidden is 0"),
        ({"layer_dropout": 1.5}, "layer_dropout is 1.5"), ({"lr": -1.0}, "lr is -1"),
    ],
)  # fmt: skip
def test_impossible_options_are_refused_in_a_line(options: dict[str, Any], words: str):
    with pytest.raises(UsageError, match=words) as found:
        LayerPooling(**options).numbers(DEPTH)
    assert str(found.value).startswith("LayerPooling.")
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("mix", ["scalar", "attention", "lstm", "squeeze", "hire"])
def test_what_the_mix_learns_has_its_own_rate_and_does_not_decay(shallow: str, mix: Mix):
    model = fit(shallow, [LayerPooling(mix=mix, tokens="attention")], options={"lr": 2e-5, "weight_decay": 0.1})
    optimizer: Any = model.optimizers()
    group_of = {p: group for group in optimizer.optimizer.param_groups for p in group["params"]}
    names = {name: group_of.get(p) for name, p in model.encoder.named_parameters()}
    added = {name for name in names if name.startswith(("head.mix.", "head.tokens."))}
    assert added
    assert "head.tokens.query" in added
    for name, group in names.items():
        if name in added:
            assert (group["initial_lr"], group["weight_decay"]) == (1e-3, 0.0)
        elif group is not None:
            assert group["initial_lr"] == 2e-5
    assert names["head.classifier.weight"]["weight_decay"] == 0.1
    frozen = {name for name, group in names.items() if group is None}
    assert frozen == {n for n in names if n.startswith(("model.classifier.", "model.bert.pooler."))}


def test_the_rate_lets_scalar_weights_leave_uniform(shallow: str):
    def spread(**options: Any) -> float:
        model = fit(shallow, [LayerPooling(**options)], options={"lr": 2e-5})
        w = head_of(model.encoder).mix.w
        return float((w - w.mean()).abs().max().detach())

    assert spread() > 20 * spread(lr=2e-5) > 0


@pytest.mark.parametrize("mix", MIXES)
def test_a_checkpoint_needs_no_trainer(shallow: str, tmp_path: Path, mix: Mix):
    method = LayerPooling(mix=mix, tokens="mean", layers=[0, -1, 1], hidden=5)
    model = fit(shallow, [method, Mixout(p=0.3)], precision="32-true", max_steps=2)
    path = str(tmp_path / "run.ckpt")
    model.trainer.save_checkpoint(path)
    again = FineTuner.load_from_checkpoint(path, weights_only=True)
    assert difference(dict(model.state_dict()), dict(again.state_dict())) == 0
    inputs = batch(LENGTHS)
    assert torch.equal(model.eval()(inputs), again.eval()(inputs))


@pytest.mark.parametrize("depth", [1, 2, 5])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_and_depth(tmp_path: Path, architecture: str, depth: int):
    layers = {"n_layers" if architecture == "distilbert" else "num_hidden_layers": depth}
    folder = checkpoint(tmp_path, architecture, **layers)
    for mix in MIXES if depth == 2 else ("second_to_last", "scalar", "squeeze", "hire"):
        method = LayerPooling(mix=mix, tokens="attention", hidden=5)
        if mix == "second_to_last" and depth == 1:
            with pytest.raises(UsageError, match="needs two layers"):
                fit(folder, [method], max_steps=1)
            continue
        model = fit(folder, [method], max_steps=1, limit_val_batches=0)
        assert all(p.isfinite().all() for p in model.parameters())
        assert all(p.grad is not None for p in head_of(model.encoder).parameters())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_missing_pooler_is_refused_in_a_line(tmp_path: Path, architecture: str):
    """DeBERTa has one, but a new one: it is a part of its head."""
    method, folder = LayerPooling(tokens="pooler"), checkpoint(tmp_path, architecture)
    if architecture in ("bert", "albert"):
        fit(folder, [method], max_steps=1)
    else:
        with pytest.raises(UsageError, match="has no pre-trained one") as found:
            fit(folder, [method], max_steps=1)
        assert "\n" not in str(found.value)


COMPANIONS: dict[str, Callable[[], Regularizer]] = {
    "FreeLB": FreeLB,
    "SMART": partial(SMART, noise="shared", epsilon=1e-2, step_size=1.0, sigma=1e-3),
    "SMART below": partial(SMART, noise="shared", epsilon=1e-2, step_size=1.0, sigma=1e-3, perturb="embedding_output"),
    "VAT": VAT,
    "Mixout": partial(Mixout, p=0.5),
}


@pytest.mark.parametrize(
    ("mix", "companion"), [("scalar", "FreeLB"), ("lstm", "VAT"), *(("hire", c) for c in COMPANIONS)]
)
def test_beside_other_methods(steady: str, mix: Mix, companion: str):
    """Each acts, with the network packed or not, and recomputed or not."""

    def ends(*methods: Regularizer, **options: Any) -> dict[str, Tensor]:
        return state(fit(steady, methods, options=options, max_steps=3, limit_val_batches=0))

    def pool() -> LayerPooling:
        return LayerPooling(mix=mix, tokens="mean", layers=[0, 1, 2], hidden=5)

    other = COMPANIONS[companion]
    alone, found = ends(pool()), ends(pool(), other())
    weights = {name: t for name, t in found.items() if name in alone}
    assert difference(weights, alone) > 1e-6
    for changed in (ends(pool(), other(), packing=False), ends(pool(), other(), gradient_checkpointing=True)):
        assert difference(changed, found) < 1e-9


@pytest.mark.parametrize("mix", MIXES)
def test_recomputed_layers_change_nothing(shallow: str, mix: Mix):
    """With dropout on, that of layers too."""
    found = [
        state(fit(shallow, [LayerPooling(mix=mix, layer_dropout=0.3)], options={"gradient_checkpointing": recomputed}))
        for recomputed in (False, True)
    ]
    assert difference(*found) == 0


@pytest.mark.parametrize("mix", ["squeeze", "hire"])
def test_mixout_leaves_the_new_head_alone(steady: str, mix: Mix):
    encoder = pooling(steady, mix=mix)
    for method, head in ((Mixout(), 0), (Mixout(include_head=True), len([*head_of(encoder).modules()]))):
        method.remember(encoder)
        mixed = {name for name in method._anchors if not name.startswith("model.bert.encoder.layer.")}
        assert all(name.startswith("head.") for name in mixed)
        assert bool(mixed) == bool(head)


def test_a_second_fit_goes_on_with_the_head(shallow: str):
    model = fit(shallow, [LayerPooling()])
    head, w = model.encoder.head, head_of(model.encoder).mix.w.clone()
    seen: list[Tensor] = []

    class Watch(pl.Callback):
        def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append(head_of(pl_module.encoder).mix.w.clone())  # type: ignore[arg-type]

    fit(shallow, [LayerPooling(), Watch()], model=model)
    assert model.encoder.head is head
    assert torch.equal(seen[0], w)
    assert not torch.equal(head_of(model.encoder).mix.w, w)


@pytest.mark.parametrize("mix", MIXES)
def test_layer_weights_are_logged(shallow: str, mix: Mix):
    model = fit(shallow, [LayerPooling(mix=mix, layers=[0, 2], layer_dropout=0.5)], log_every_n_steps=1)
    metrics = {n: float(v) for n, v in model.trainer.callback_metrics.items() if n.startswith("layer_weight/")}
    if mix in ("scalar", "attention", "hire", "squeeze", "squeeze_last"):
        assert metrics.keys() == {"layer_weight/00", "layer_weight/02"}
        assert all(0 <= value <= 1 for value in metrics.values())
        assert mix.startswith("squeeze") or sum(metrics.values()) == pytest.approx(1, abs=1e-6)
    else:
        assert not metrics


@pytest.mark.parametrize("accumulated", [1, 2])
def test_layer_weights_are_remembered_once_a_step(steady: str, tmp_path: Path, accumulated: int):
    """However the batch is sharded; a resumed fit remembers those before it, another fit does not."""
    options: dict[str, Any] = {"log_every_n_steps": 2, "accumulate_grad_batches": accumulated}
    method = LayerPooling(lr=0.1)
    kept = fit(steady, [method, every_step(tmp_path)], enable_checkpointing=True, **options)
    whole = method.state_dict()["history"]
    assert [*whole] == [2, 4, 6]
    reference = LayerPooling(lr=0.1)
    fit(steady, [reference], log_every_n_steps=2)
    for step, weights in reference.state_dict()["history"].items():
        assert weights == pytest.approx(whole[step], abs=1e-6)
    assert whole[2] != whole[4]
    resumed = fit(steady, [LayerPooling(lr=0.1)], resume=str(tmp_path / "step=3.ckpt"), **options)
    assert difference(state(resumed), state(kept)) == 0
    fit(steady, [method], max_steps=2, **options)
    assert [*method.state_dict()["history"]] == [2]
