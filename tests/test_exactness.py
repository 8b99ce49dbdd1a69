"""One step is one algorithm however the batch is sharded, and a resumed run is the uninterrupted one."""

from pathlib import Path

import pytest
import torch

from ftreg import FineTuner, Mixout
from ftreg.testing import ranks
from ftreg.testing.encoders import STEADY
from tests import sharded, toys
from tests.models import checkpoint
from tests.pipeline import difference, fit, state


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two ranks end with, in every run."""
    folder = tmp_path_factory.mktemp("sharded")
    ranks.run(sharded.RUNS | sharded.BROKEN, folder)
    return folder


@pytest.mark.parametrize("name", sharded.RUNS)
def test_sharding_changes_nothing(folder: Path, name: str):
    ranks.shards(folder, name)


@pytest.mark.parametrize("name", [name for name, run in sharded.RUNS.items() if run.resumed])
def test_resuming_from_every_step_is_exact(folder: Path, name: str):
    ranks.resumes(folder, name)


@pytest.mark.parametrize("name", sharded.BROKEN)
def test_a_careless_method_is_found(folder: Path, name: str):
    with pytest.raises(AssertionError, match=f"{name}: rank 0 of ranks × accumulation 1x2 ends .* away"):
        ranks.shards(folder, name)
    with pytest.raises(AssertionError, match=f"{name}: rank 0 of 1, resumed, ends away from the whole run"):
        ranks.resumes(folder, name)


def weights(folder: Path, name: str) -> dict[str, torch.Tensor]:
    found = torch.load(folder / f"{name}-1x1-0.pt", weights_only=True)
    return {key: tensor for key, tensor in found.items() if key.startswith("weights")}


@pytest.mark.parametrize("name", [name for name in sharded.RUNS if name != "plain"])
def test_every_run_differs_from_plain(folder: Path, name: str):
    plain, found = weights(folder, "plain"), weights(folder, name)
    shared = plain.keys() & found.keys()  # a head of its own has others
    assert difference({key: plain[key] for key in shared}, {key: found[key] for key in shared}) > 1e-5


def test_the_order_of_the_callbacks_changes_nothing(folder: Path):
    """Of three at once; of every method beside one of each other kind, see the contract `permutation`."""
    assert difference(weights(folder, "Mixout+FreeLB+SMART"), weights(folder, "permuted")) < 1e-12


def test_clipping_acts(folder: Path):
    assert difference(weights(folder, "Mixout+FreeLB+SMART"), weights(folder, "clipped")) > 1e-5


@pytest.fixture
def noisy(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "encoder", "bert")


def test_the_same_configuration_gives_the_same_weights(noisy: str):
    first, second = (state(fit(noisy, [Mixout(p=0.5)])) for _ in range(2))
    assert difference(first, second) == 0
    other = state(fit(noisy, [Mixout(p=0.5)], options={"init_seed": 1}))
    assert difference(first, other) > 1e-5


def test_keys_are_the_plain_encoders(noisy: str):
    import transformers

    own = transformers.AutoModelForSequenceClassification.from_pretrained(noisy)
    model = fit(noisy, [Mixout(p=0.7, replace_dropout="all"), toys.Shrink()])
    assert [name.removeprefix("encoder.model.") for name in model.state_dict()] == [*own.state_dict()]
    assert all(p.is_leaf for p in model.parameters())


def test_doing_nothing_shifts_no_stream(noisy: str):
    methods = [Mixout(p=0.5), toys.Jitter()]
    alone = state(fit(noisy, methods))
    first = state(fit(noisy, [toys.DoNothing(), Mixout(p=0.5), toys.Jitter()]))
    last = state(fit(noisy, [Mixout(p=0.5), toys.Jitter(), toys.DoNothing()]))
    assert difference(alone, first) == difference(alone, last) == 0


def test_adding_a_method_leaves_the_others_noise(noisy: str):
    seen: dict[str, list[torch.Tensor]] = {}

    class Watch(Mixout):
        name = "Mixout"

        def map_weights(self, params, noise):
            mixed = super().map_weights(params, noise)
            key = next(iter(mixed))
            seen.setdefault(self.tag, []).append(torch.isclose(mixed[key], self._anchors[key]).detach())
            return mixed

    for tag, more in (("alone", []), ("with", [toys.Ascent(), toys.Jitter(), toys.ReinitTop()])):
        method = Watch(p=0.5)
        method.tag = tag
        fit(noisy, [*more, method])
    # Ascent and Jitter make more passes a step; the mask of a step is one.
    assert len(seen["alone"]) == 6
    per_step = len(seen["with"]) // 6
    for number, mask in enumerate(seen["alone"]):
        for other in seen["with"][number * per_step : (number + 1) * per_step]:
            assert torch.equal(mask, other)


@pytest.mark.parametrize("methods", [[Mixout(p=0.6)], [Mixout(p=0.6), toys.Ascent(), toys.Jitter(), toys.Shrink()]])
def test_gradient_checkpointing_changes_nothing(noisy: str, methods):
    plain = state(fit(noisy, methods))
    recomputed = state(fit(noisy, methods, options={"gradient_checkpointing": True}))
    assert difference(plain, recomputed) < 1e-9


def test_packing_changes_nothing(tmp_path: Path):
    steady = checkpoint(tmp_path / "encoder", "bert", **STEADY)
    methods = [Mixout(p=0.6), toys.Ascent(), toys.Jitter(), toys.MeanHead()]
    packed, padded = (state(fit(steady, methods, options={"packing": on})) for on in (True, False))
    assert difference(packed, padded) < 1e-9


def test_a_trained_model_keeps_its_anchor(noisy: str):
    """A second fit pulls towards the pre-trained weights, not towards where the first one ended."""
    model = fit(noisy)
    method = Mixout(p=1.0)
    start = FineTuner(noisy, lr=1e-3)
    start.configure_model()
    fit(noisy, [method], model=model)
    name = "model.bert.encoder.layer.0.output.dense.weight"
    torch.testing.assert_close(method._anchors[name].float(), start.encoder.get_parameter(name).detach().float())
