"""Poolings of tokens and mixes of layers: against independent ports and the plain model, without a trainer."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ftreg.encoder.encoder import Encoder
from ftreg.encoder.pooling import HIRE, LSTM, LayerAttention, ScalarMix, SqueezeExcitation, TokenPooling, Tokens
from ftreg.encoder.weights import Weights
from ftreg.methods import LayerPooling
from ftreg.methods.layer_pooling import Mix
from ftreg.testing.encoders import STEADY
from tests.models import batch, checkpoint
from tests.pooled import DEPTH, LABELS, LENGTHS, MIXES, TOKENS, head_of, logits, pooling
from tests.reference import pooling as port
from tests.steps import encoder_of, take

EXACT: dict[str, float] = {"rtol": 0, "atol": 1e-12}


@pytest.fixture(scope="module")
def deep(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A BERT of five layers, with dropout."""
    return checkpoint(tmp_path_factory.mktemp("deep"), "bert", num_hidden_layers=DEPTH)


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The same without dropout."""
    return checkpoint(tmp_path_factory.mktemp("steady"), "bert", **STEADY)


def layers_of(encoder: Encoder, inputs: dict[str, Any]) -> Tensor:
    """Hugging Face's own hidden states, embeddings first, [layers + 1, batch, tokens, dim]."""
    if encoder.packing:
        encoder.packing.layout = None
    options = {"attention_mask": inputs["attention_mask"], "output_hidden_states": True}
    return torch.stack(encoder.model.base_model(input_ids=inputs["input_ids"], **options).hidden_states)


def pooled_by_port(head: Any, encoder: Encoder, states: Tensor, mask: Tensor) -> Tensor:
    if head.tokens.kind == "pooler":
        dense = encoder.model.bert.pooler.dense
        return torch.stack([(h[:, 0] @ dense.weight.T + dense.bias).tanh() for h in states])
    pools: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
        "cls": port.cls,
        "mean": port.mean,
        "max": port.largest,
        "attention": partial(port.attended, query=head.tokens.query),
    }
    return torch.stack([pools[head.tokens.kind](h, mask) for h in states])


def both(linear: Any) -> tuple[Tensor, Tensor]:
    return linear.weight, linear.bias


def recurrent(module: Any, suffix: str = "") -> port.RNN:
    ih, hh, b_ih, b_hh = (getattr(module, f"{n}_l0{suffix}") for n in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"))
    return ih, hh, b_ih, b_hh


def mixed_by_port(name: str, mix: Any, vectors: Tensor, states: Tensor, mask: Tensor) -> Tensor:
    match name:
        case "scalar":
            return port.scalar_mix(vectors, mix.w, mix.gamma)
        case "attention":
            return port.layer_attention(vectors, mix.q, mix.W)
        case "lstm":
            return port.lstm(vectors, recurrent(mix.lstm))
        case "squeeze" | "squeeze_last":
            s = port.excitation(states, mask, *both(mix.down), *both(mix.up))
            return port.gated(vectors, s, released=name == "squeeze_last")
        case "hire":
            ways = recurrent(mix.gru), recurrent(mix.gru, "_reverse")
            alpha = port.importance(states, mask, *ways, *both(mix.score))
            return port.hire(vectors, alpha, vectors[-1], both(mix.fuse[0]), both(mix.fuse[2]), both(mix.gate))
        case "concat":
            return torch.cat([*vectors], dim=-1)
        case "sum" | "mean":
            return sum(vectors) / (len(vectors) if name == "mean" else 1)
    return vectors[-1] if name == "last" else vectors[-2]


@pytest.mark.parametrize("tokens", TOKENS)
@pytest.mark.parametrize("mix", MIXES)
def test_the_logits_are_the_ports(deep: str, mix: Mix, tokens: Tokens):
    encoder, inputs = pooling(deep, mix=mix, tokens=tokens, layers=[0, 2, -2, -1]), batch(LENGTHS, 3)
    head, mask = head_of(encoder), inputs["attention_mask"]
    assert head.numbers == (0, 2, 4, 5)
    found = logits(encoder, inputs)
    states = layers_of(encoder, inputs)[[0, 2, 4, 5]]
    vector = mixed_by_port(mix, head.mix, pooled_by_port(head, encoder, states, mask), states, mask)
    torch.testing.assert_close(found, vector @ head.classifier.weight.T + head.classifier.bias, **EXACT)


def drawn(layers: int = 6, dim: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    mask = batch(LENGTHS)["attention_mask"]
    return torch.randn(layers, *mask.shape, dim, generator=generator, dtype=torch.float64) + 0.5, mask


@pytest.mark.parametrize(("kind", "pool"), [("cls", port.cls), ("mean", port.mean), ("max", port.largest)])
def test_a_normalised_scalar_mix_is_the_port(kind: Tokens, pool: Callable[[Tensor, Tensor], Tensor]):
    states, mask = drawn()
    mix = ScalarMix(6, 8, layer_norm=True).double()
    nn.init.normal_(mix.w)
    nn.init.constant_(mix.gamma, 1.7)
    tokens = TokenPooling(kind, 8)
    found = mix(torch.stack([tokens(h, mask) for h in states], 1), [*states], mask)
    normal = torch.stack([pool(port.layer_norm(h, mask), mask) for h in states])
    torch.testing.assert_close(found, port.scalar_mix(normal, mix.w, mix.gamma), **EXACT)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_layer_dropout_is_the_port_in_training_only(p: float):
    states, mask = drawn()
    vectors = states[:, :, 0]
    mix = ScalarMix(6, 8, layer_dropout=p).double()
    nn.init.normal_(mix.w)
    seen = set()
    for seed in range(20):
        torch.manual_seed(seed)
        found = mix(vectors.transpose(0, 1), [*states], mask)
        torch.manual_seed(seed)
        dropped = torch.rand(6) < p
        seen.add(tuple(dropped.tolist()))
        torch.testing.assert_close(found, port.scalar_mix(vectors, mix.w, mix.gamma, dropped), **EXACT)
    everything = torch.ones(6, dtype=torch.bool)
    unmixed = port.scalar_mix(vectors, mix.w, mix.gamma, everything)
    # where every layer would be left out, none is
    assert (len(seen) == 1 and torch.allclose(found, unmixed)) if p == 1 else len(seen) > 10
    mix.eval()
    torch.testing.assert_close(mix(vectors.transpose(0, 1), [*states], mask), unmixed, **EXACT)


def test_extreme_weights_are_one_layer(deep: str):
    inputs = batch(LENGTHS, 3)
    mixed = pooling(deep, mix="scalar", layers=[0, 1, 2, 3, 4, 5])
    nn.init.ones_(head_of(mixed).mix.gamma)
    for number in range(DEPTH + 1):
        single = pooling(deep, mix="last", layers=[number])
        single.load_state_dict(mixed.state_dict(), strict=False)
        with torch.no_grad():
            head_of(mixed).mix.w.fill_(-1e4)[number] = 1e4
        torch.testing.assert_close(logits(mixed, inputs), logits(single, inputs), **EXACT)


@pytest.mark.parametrize("mix", MIXES)
@pytest.mark.parametrize("tokens", TOKENS)
def test_padding_and_packing_change_nothing(deep: str, mix: Mix, tokens: Tokens):
    encoder = pooling(
        deep,
        mix=mix,
        tokens=tokens,
        layer_norm=mix == "scalar" and tokens not in ("attention", "pooler"),
        layer_dropout=0.5,
    )
    inputs = batch(LENGTHS, 3)
    wider = dict(inputs)
    for key, value in (("input_ids", 1), ("attention_mask", 0)):
        wider[key] = nn.functional.pad(inputs[key], (0, 9), value=value)
    found = [logits(encoder, each, packed) for each in (inputs, wider) for packed in (False, True)]
    for other in found[1:]:
        torch.testing.assert_close(other, found[0], **EXACT)
    # nor do an example's neighbours, and packing has been at work
    alone = {**inputs, **{k: inputs[k][:2, :9] for k in ("input_ids", "attention_mask")}, "lengths": LENGTHS[:2]}
    torch.testing.assert_close(logits(encoder, alone), found[0][:2], **EXACT)
    logits(encoder, inputs)
    assert encoder.packing is not None
    assert encoder.packing.layout is not None


@pytest.mark.parametrize("mix", MIXES)
def test_evaluation_is_deterministic(deep: str, mix: Mix):
    encoder, inputs = pooling(deep, mix=mix, tokens="attention", layer_dropout=0.5), batch(LENGTHS, 3)
    for module in encoder.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    assert torch.equal(logits(encoder, inputs), logits(encoder, inputs))
    encoder.train()
    torch.manual_seed(0)
    differs = any(not torch.equal(logits(encoder, inputs), logits(encoder, inputs)) for _ in range(4))
    assert differs == (mix == "scalar")


@pytest.mark.parametrize("training", [False, True])
def test_last_and_pooler_are_the_plain_model(deep: str, training: bool):
    plain, inputs = encoder_of(deep, LABELS, torch.float64), batch(LENGTHS, 3)
    encoder = pooling(deep, mix="last", tokens="pooler")
    plain.model.load_state_dict(encoder.model.state_dict())
    head_of(encoder).classifier.load_state_dict(plain.model.classifier.state_dict())
    found = []
    for each in (plain, encoder):
        torch.manual_seed(0)
        found.append(logits(each.train(training), inputs))
    assert torch.equal(*found)
    found[1].sum().backward()
    assert all(p.grad is not None for n, p in encoder.named_parameters() if "pooler" in n or n.startswith("head."))
    assert not encoder.model.classifier.weight.requires_grad


def test_sizes():
    sizes = [(n, tuple(p.shape)) for n, p in LayerAttention(6, 256).named_parameters()]
    assert sizes == [("q", (6,)), ("W", (6, 256))]
    assert dict(LSTM(6, 9).lstm.named_parameters())["weight_ih_l0"].shape == (36, 6)
    assert HIRE(6, 4).gru.weight_hh_l0_reverse.shape == (12, 4)
    assert [SqueezeExcitation(n, 6).down.out_features for n in (1, 2, 6, 12)] == [1, 1, 2, 4]
    assert (SqueezeExcitation(12, 6).up.bias == 0.8).all()


@pytest.mark.parametrize(("mix", "size"), [("lstm", 7), ("attention", 7), ("concat", 96), ("hire", 32), ("scalar", 32)])
def test_the_classifier_fits_the_mix(deep: str, mix: Mix, size: int):
    assert head_of(pooling(deep, mix=mix, layers=3)).classifier.in_features == size


@pytest.mark.parametrize("mix", MIXES)
def test_swapped_weights_reach_the_head(steady: str, mix: Mix):
    """Of a teacher, or mixed; the recurrent modules keep lists of their own."""
    encoder, inputs = pooling(steady, mix=mix, tokens="attention"), batch(LENGTHS, 3)
    other = pooling(steady, mix=mix, tokens="attention", scatter=0.9)
    weights, before = Weights(encoder), logits(encoder, inputs)
    swapped = {name: 1.0 * p for name, p in other.named_parameters()}
    weights.put(swapped)
    found = logits(encoder, inputs)
    assert torch.equal(found, logits(other, inputs))
    torch.autograd.grad(found.sum(), [*head_of(other).parameters()])  # each is used, or this raises
    weights.restore()
    assert torch.equal(logits(encoder, inputs), before)
    assert not torch.equal(found, before)


def test_a_perturbation_reaches_the_lowest_layer(steady: str):
    """The embeddings' output that the head reads is the perturbed one."""
    encoder, inputs = pooling(steady, mix="last", layers=[0]), batch(LENGTHS, 2)
    step = take(encoder.train(), inputs, LayerPooling())
    delta = step.noise("delta", at="embedding_output").requires_grad_()
    moved = step.logits(delta, at="embedding_output")
    assert not torch.allclose(moved, step.logits())
    (slope,) = torch.autograd.grad(moved.sum(), delta)
    assert slope[:, 0].abs().min() > 0
    assert slope[:, 1:].abs().max() == 0


def saved_bytes(encoder: Encoder, inputs: dict[str, Any], packed: bool) -> int:
    """Of all distinct storages that a training pass keeps for its backward, but for the parameters'."""
    parameters = {p.untyped_storage().data_ptr() for p in encoder.parameters()}
    kept: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: Tensor) -> Tensor:
        # held, or a later tensor could have its address
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage
        return tensor

    torch.manual_seed(0)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        logits(encoder.train(), inputs, packed).sum()
    return sum(storage.nbytes() for address, storage in kept.items() if address not in parameters)


@pytest.fixture(scope="module")
def minilm(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Random weights in MiniLM's shape."""
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    return checkpoint(tmp_path_factory.mktemp("minilm"), "bert", **sizes)


@pytest.mark.parametrize("packed", [False, True])
def test_a_scalar_mix_of_first_tokens_keeps_next_to_nothing(minilm: str, packed: bool):
    lengths: Sequence[int] = [64, 40, 33, 25, 20, 14, 9, 6]
    found = {}
    for mix in ("last", "scalar"):
        encoder = Encoder(minilm, LABELS)
        LayerPooling(mix=mix).attach(encoder)
        found[mix] = saved_bytes(encoder, batch([*lengths], 3), packed)
    assert found["last"] > 2**24
    assert 0 < found["scalar"] - found["last"] <= 0.2 * 2**20
