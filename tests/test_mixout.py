"""Mixout against its equation, an independent port, and its properties."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from ftreg._base.errors import UsageError
from ftreg.encoder.adapters import linears
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Noise
from ftreg.encoder.weights import Weights
from ftreg.functional.mixout import draw_mask, mixout
from ftreg.methods.mixout import Mixout
from tests.models import ARCHITECTURES, batch, checkpoint
from tests.reference.mixout import MixLinear, PublishedMixout, mixed_by_hand


def draw(p: float, granularity: str = "unit"):
    generator = torch.Generator().manual_seed(4)
    weight = torch.randn(5, 7, generator=generator, dtype=torch.float64).requires_grad_()
    anchor = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    return weight, anchor, draw_mask(weight, p, granularity, generator), generator


@pytest.mark.parametrize("granularity", ["unit", "weight"])
@pytest.mark.parametrize("p", [0.1, 0.5, 0.7, 0.9])
def test_value_and_gradient_are_the_equation(p: float, granularity: str):
    weight, anchor, keep, generator = draw(p, granularity)
    assert keep.shape == ((7,) if granularity == "unit" else (5, 7))
    found = mixout(weight, anchor, keep, p)
    by_hand = mixed_by_hand(*(t.detach().numpy() for t in (weight, anchor, keep)), p)
    np.testing.assert_allclose(found.detach().numpy(), by_hand, rtol=0, atol=1e-13)
    upstream = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    (exact,) = torch.autograd.grad(found, weight, upstream)
    torch.testing.assert_close(exact, keep / (1 - p) * upstream, rtol=0, atol=1e-13)
    assert torch.autograd.gradcheck(lambda w: mixout(w, anchor, keep, p), weight)


@pytest.mark.parametrize("p", [0.1, 0.9])
def test_reference_gradient_lacks_the_published_factor(p: float):
    weight, anchor, keep, generator = draw(p)
    upstream = torch.randn(5, 7, generator=generator, dtype=torch.float64)
    published = PublishedMixout.apply(weight, anchor, keep, p)
    ours = mixout(weight, anchor, keep, p, gradient="reference")
    torch.testing.assert_close(ours, published, rtol=0, atol=1e-12)
    (theirs,) = torch.autograd.grad(published, weight, upstream)
    (reference,) = torch.autograd.grad(ours, weight, upstream)
    (exact,) = torch.autograd.grad(mixout(weight, anchor, keep, p), weight, upstream)
    torch.testing.assert_close(reference, theirs, rtol=0, atol=1e-13)
    torch.testing.assert_close(exact * (1 - p), theirs, rtol=0, atol=1e-13)


def test_the_ends():
    weight, anchor, keep, _ = draw(0.5)
    assert torch.equal(mixout(weight, anchor, torch.ones(7, dtype=torch.float64), 0.0), weight)
    at_one = mixout(weight, anchor, draw_mask(weight, 1.0, "unit", torch.Generator()), 1.0)
    assert torch.equal(at_one, anchor)
    assert torch.equal(torch.autograd.grad(at_one.sum(), weight)[0], torch.zeros(5, 7, dtype=torch.float64))
    assert torch.equal(mixout(anchor, anchor, keep, 0.5), anchor)


def test_the_mean_over_masks_is_the_weight():
    weight, anchor, _, generator = draw(0.7)
    masks = [draw_mask(weight, 0.7, "unit", generator) for _ in range(20_000)]
    mean = torch.stack([mixout(weight, anchor, mask, 0.7).detach() for mask in masks]).mean(0)
    standard_error = ((weight - anchor).abs() * (0.7 / 0.3) ** 0.5 / 20_000**0.5).detach()
    assert ((mean - weight).abs() < 5 * standard_error).all()


@pytest.mark.parametrize("published", [False, True])
def test_a_whole_network_equals_mixing_linears(tmp_path: Path, published: bool):
    torch.set_default_dtype(torch.float64)
    try:
        folder = checkpoint(tmp_path, "bert", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
        encoder, theirs = Encoder(folder, ("a", "b")), Encoder(folder, ("a", "b"))
    finally:
        torch.set_default_dtype(torch.float32)
    inputs = batch([9, 4, 7, 12])
    method = Mixout(p=0.6, gradient="reference" if published else "exact")
    method.remember(encoder)
    with torch.no_grad():
        for mine, other in zip(encoder.parameters(), theirs.parameters(), strict=True):
            mine.add_(0.05 * torch.randn(mine.shape, dtype=mine.dtype))
            other.copy_(mine)
    noise = Noise(0, "Mixout", 3)
    mixed = 0
    for name, linear in linears(theirs):
        if not theirs.in_head(name):
            linear.__class__ = MixLinear
            linear.target = encoder.start.value(name)
            linear.kept = draw_mask(linear.weight, 0.6, "unit", noise.generator(name))
            linear.p, linear.published = 0.6, published
            mixed += 1
    assert mixed == 13  # six in each of two layers, and the pooler
    weights = Weights(encoder)
    weights.put(method.map_weights(weights.real, noise))
    losses, gradients = [], []
    for model, params in ((encoder, [*weights.real.values()]), (theirs, [*theirs.parameters()])):
        logits = model(model.embed(inputs["input_ids"]), inputs["attention_mask"], None, inputs["lengths"])
        losses.append(nn.functional.cross_entropy(logits, inputs["labels"]))
        gradients.append(torch.autograd.grad(losses[-1], params))
    weights.restore()
    torch.testing.assert_close(*losses, rtol=0, atol=1e-12)
    for mine, other in zip(*gradients, strict=True):
        torch.testing.assert_close(mine, other, rtol=0, atol=1e-12)


def test_masks_follow_seed_step_and_name_only(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))
    real = dict(encoder.named_parameters())
    method = Mixout(p=0.5, anchor="zero")
    method.remember(encoder)

    def mixed(seed: int, step: int):
        return method.map_weights(real, Noise(seed, method.name, step))

    first, again = mixed(0, 0), mixed(0, 0)
    name, other = [*first][:2]
    assert torch.equal(first[name], again[name])
    assert not torch.equal(first[name], mixed(0, 1)[name])
    assert not torch.equal(first[name], mixed(1, 0)[name])
    assert not torch.equal(first[name] == 0, first[other] == 0)


def test_tied_weights_are_mixed_in_every_place():
    class Tied(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embedding = nn.Embedding(6, 4)
            self.decoder = nn.Linear(4, 6)
            self.decoder.weight = self.embedding.weight

        def forward(self, ids):
            return self.decoder(self.embedding(ids))

    net = Tied()
    keys = list(net.state_dict())
    weights = Weights(net)
    assert [*weights.real] == ["embedding.weight", "decoder.bias"]
    new = mixout(net.embedding.weight, torch.zeros(6, 4), torch.tensor([1.0, 0, 1, 0]), 0.5)
    ids = torch.arange(6)
    expected = nn.functional.linear(nn.functional.embedding(ids, new), new, net.decoder.bias)
    weights.put({"embedding.weight": new})
    assert torch.equal(net(ids), expected)
    assert net.decoder.weight is net.embedding.weight is new
    weights.restore()
    assert isinstance(net.decoder.weight, nn.Parameter)
    assert net.decoder.weight is net.embedding.weight
    assert list(net.state_dict()) == keys


def started(method: Mixout, encoder: Encoder) -> Mixout:
    method.remember(encoder)
    method.begin(encoder, 0, None)
    return method


def test_only_trainable_pre_trained_linears_are_mixed(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))
    encoder.model.bert.encoder.layer[0].requires_grad_(False)
    method = Mixout(p=0.5)
    method.remember(encoder)
    encoder.reinitialise(encoder.model.bert.encoder.layer[1].output)  # by a method listed later
    started(method, encoder)
    names = {*method.map_weights(dict(encoder.named_parameters()), Noise(0, "Mixout", 0))}
    layer = "model.bert.encoder.layer.1."
    assert names == {
        *(f"{layer}attention.self.{part}.weight" for part in ("query", "key", "value")),
        f"{layer}attention.output.dense.weight",
        f"{layer}intermediate.dense.weight",
        "model.bert.pooler.dense.weight",
    }


def test_the_head_is_mixed_only_on_request(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))
    start = encoder.model.classifier.weight.detach().clone()
    method = started(Mixout(p=1.0, include_head=True), encoder)
    with torch.no_grad():
        encoder.model.classifier.weight.add_(1)
    mixed = method.map_weights(dict(encoder.named_parameters()), Noise(0, "Mixout", 0))
    assert torch.equal(mixed["model.classifier.weight"], start)
    assert "model.classifier.weight" not in Mixout()._anchors


@pytest.mark.parametrize("wrapped", [False, True])
def test_nothing_to_mix_is_refused(tmp_path: Path, wrapped: bool):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))
    if wrapped:  # as adapter libraries do: the pre-trained Linear goes inside another module, frozen

        class Adapted(nn.Module):
            def __init__(self, base: nn.Linear) -> None:
                super().__init__()
                self.base_layer = base.requires_grad_(False)
                self.lora_A = nn.Linear(base.in_features, 2, bias=False)

        for layer in encoder.model.bert.encoder.layer:
            layer.output.dense = Adapted(layer.output.dense)
    encoder.model.bert.requires_grad_(False)
    if wrapped:
        for name, parameter in encoder.named_parameters():
            parameter.requires_grad_("lora_A" in name)
    with pytest.raises(UsageError, match="no trainable Linear"):
        Mixout().remember(encoder)


def test_another_anchor(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path / "a", "bert"), ("a", "b"))
    other = Encoder(checkpoint(tmp_path / "b", "bert"), ("a", "b"))
    name = "model.bert.encoder.layer.0.attention.self.query.weight"
    with torch.no_grad():
        other.get_parameter(name).add_(1)
    other.model.save_pretrained(tmp_path / "c")
    method = started(Mixout(p=1.0, anchor=str(tmp_path / "c")), encoder)
    mixed = method.map_weights(dict(encoder.named_parameters()), Noise(0, "Mixout", 0))
    assert torch.equal(mixed[name], other.get_parameter(name))
    with pytest.raises(UsageError, match="of shape"):
        Mixout(anchor=checkpoint(tmp_path / "d", "bert", intermediate_size=24)).remember(encoder)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_replaced_dropouts(tmp_path: Path, architecture: str):
    encoder = Encoder(checkpoint(tmp_path, architecture), ("a", "b")).train()
    before = {path: m.p for path, m in encoder.named_modules() if isinstance(m, nn.Dropout)}
    method = started(Mixout(replace_dropout="all", include_head=True), encoder)
    inputs = batch([9, 4, 7, 12])
    with method.during(encoder, inputs):
        first, second = (encoder(encoder.embed(inputs["input_ids"]), inputs["attention_mask"]) for _ in range(2))
    assert torch.equal(first, second)
    assert before == {path: m.p for path, m in encoder.named_modules() if isinstance(m, nn.Dropout)}


def test_which_dropouts_are_replaced(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))

    def off(**options):
        method = started(Mixout(**options), encoder)
        with method.during(encoder, {}):
            return {path for path, m in encoder.named_modules() if isinstance(m, nn.Dropout) and m.p == 0}

    everywhere = {path for path, m in encoder.named_modules() if isinstance(m, nn.Dropout)}
    assert off() == set()
    assert off(replace_dropout="all") == everywhere - {"model.dropout"}
    assert off(replace_dropout="all", include_head=True) == everywhere
    encoder.model.bert.encoder.layer[1].intermediate.requires_grad_(False)
    gone = "model.bert.encoder.layer.1.attention.output.dropout"
    assert off(replace_dropout="preceding") == everywhere - {"model.dropout", gone}


@pytest.mark.parametrize("p", [-0.1, 1.5, float("nan")])
def test_p_is_a_probability(p: float):
    with pytest.raises(UsageError, match=r"Mixout\.p is"):
        Mixout(p=p)


@pytest.mark.parametrize("option", ["granularity", "replace_dropout", "gradient"])
def test_options_are_checked(option: str):
    with pytest.raises(UsageError, match=f"Mixout.{option} is 'x'; valid: "):
        Mixout(**{option: "x"})


def test_the_function_needs_torch_alone():
    code = (
        "import sys; sys.modules.update(pytorch_lightning=None, transformers=None, datasets=None, torchmetrics=None)\n"
        "from ftreg import mixout; from ftreg.functional import draw_mask; import torch\n"
        "w = torch.ones(2, 3); print(mixout(w, torch.zeros(2, 3), torch.tensor([1.0, 0, 1]), 0.5).tolist())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[[2.0, 0.0, 2.0], [2.0, 0.0, 2.0]]"
