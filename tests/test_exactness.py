"""One step is one algorithm however the batch is sharded, and a resumed run is the uninterrupted one."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ftreg import FineTuner, Mixout
from tests import sharded, toys
from tests.models import checkpoint
from tests.pipeline import difference, fit, state

STEADY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What one process and two ranks end with, in every case."""
    folder = tmp_path_factory.mktemp("sharded")
    checkpoint(Path(sharded.steady(folder)), "bert", **STEADY)
    checkpoint(Path(sharded.noisy(folder)), "bert")
    launch = [sys.executable, "-m", "torch.distributed.run", "--nproc_per_node", "2", "--master_port", "0"]
    ranks = subprocess.Popen(
        [
            *launch,
            "--rdzv_backend",
            "c10d",
            "--rdzv_endpoint",
            "localhost:0",
            "-m",
            "tests.sharded",
            str(folder),
        ],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        cwd=Path(__file__).parent.parent,
    )
    sharded.shard(folder, 1, 0)
    sharded.resume(folder, 1, 0)
    output, _ = ranks.communicate()
    assert ranks.returncode == 0, output[-3000:]
    return folder


@pytest.mark.parametrize("sharding", ["1x2", "2x1", "2x2"])
@pytest.mark.parametrize("case", sharded.CASES)
def test_sharding_changes_nothing(folder: Path, case: str, sharding: str):
    whole = torch.load(folder / f"{case}-1x1-0.pt", weights_only=True)
    for rank in range(int(sharding[0])):
        part = torch.load(folder / f"{case}-{sharding}-{rank}.pt", weights_only=True)
        assert difference(whole, part) < 1e-9
        one, other = (
            torch.load(folder / f"{case}-{name}-predictions.pt", weights_only=True)
            for name in ("1x1-0", f"{sharding}-{rank}")
        )
        assert one["row_ids"].tolist() == list(range(11))
        assert difference(one, other) < 1e-9


@pytest.mark.parametrize("case", [name for name in sharded.CASES if name != "plain"])
def test_every_case_differs_from_plain(folder: Path, case: str):
    plain, other = (torch.load(folder / f"{name}-1x1-0.pt", weights_only=True) for name in ("plain", case))
    shared = {name for name in other if name.startswith("weights")}
    assert difference({n: plain[n] for n in shared}, {n: other[n] for n in shared}) > 1e-5


@pytest.mark.parametrize("world", [1, 2])
def test_resuming_from_every_step_is_exact(folder: Path, world: int):
    for rank in range(world):
        gaps = json.loads((folder / f"resume-{world}-{rank}.json").read_text())
        assert len(gaps) == 2 * 7
        assert set(gaps.values()) == {0.0}, gaps


@pytest.fixture
def noisy(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "encoder", "bert")


def test_the_same_configuration_gives_the_same_weights(noisy: str):
    first, second = (state(fit(noisy, [Mixout(p=0.5)])) for _ in range(2))
    assert difference(first, second) == 0
    other = state(fit(noisy, [Mixout(p=0.5)], options={"init_seed": 1}))
    assert difference(first, other) > 1e-5


def test_null_mixout_is_plain_bit_for_bit(noisy: str):
    plain, null = fit(noisy), fit(noisy, [Mixout(p=0.0)])
    assert difference(state(plain), state(null)) == 0
    assert [*plain.state_dict()] == [*null.state_dict()]


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

        def mix(self, params, noise):
            mixed = super().mix(params, noise)
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
