"""What a model is made of is found by watching it, whatever its parts are called."""

from copy import deepcopy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import nn

from ftreg import LayerPooling, Mixout, ReplacedTokens, UsageError
from ftreg.encoder.architecture import Architecture, example, observe
from ftreg.encoder.encoder import Encoder
from ftreg.testing.encoders import ARCHITECTURES, configuration
from tests.models import batch, checkpoint

LABELS = ("a", "b")


def model_of(architecture: str, **changes: Any) -> Any:
    build = transformers.FunnelConfig if architecture == "funnel" else partial(configuration, architecture)
    return transformers.AutoModelForSequenceClassification.from_config(build(**changes))


def paths(model: nn.Module, parts: tuple[nn.Module, ...]) -> list[str]:
    names = {id(module): path for path, module in model.base_model.named_modules()}
    return [names[id(part)] for part in parts]


PARTS = {
    "bert": ("encoder.layer.0", "embeddings"),
    "roberta": ("encoder.layer.0", "embeddings"),
    "distilbert": ("transformer.layer.0", "embeddings"),
    "electra": ("encoder.layer.0", "embeddings_project"),
    "albert": ("encoder.albert_layer_groups.0", "encoder.embedding_hidden_mapping_in"),
    "mpnet": ("encoder.layer.0", "embeddings"),
    "modernbert": ("layers.0", "embeddings"),
    "deberta": ("encoder.layer.0", "embeddings"),
    "deberta-v2": ("encoder.layer.0", "embeddings"),
    "deberta-v3": ("encoder.layer.0", "embeddings"),
    "eurobert": ("layers.0", ""),  # its word embeddings go straight into the layers
}


@pytest.mark.parametrize("architecture", PARTS)
def test_the_parts_are_found_and_nothing_is_changed(architecture: str):
    model = model_of(architecture)
    model.train()
    model.base_model.get_submodule(PARTS[architecture][0]).eval()
    modes = [module.training for module in model.modules()]
    random = torch.get_rng_state()
    found = observe(model, "here")
    assert paths(model, (found.layers[0], found.entrance)) == [*PARTS[architecture]]
    assert len(found.layers) == 2
    assert (found.layers[0] is found.layers[1]) == (architecture == "albert")
    assert (found.width, found.unknown) == (32, "")
    assert modes == [module.training for module in model.modules()]
    assert torch.equal(random, torch.get_rng_state())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_hidden_states_are_one_more_than_layers_and_end_as_the_plain_head_reads_them(tmp_path: Path, architecture: str):
    encoder = Encoder(checkpoint(tmp_path, architecture), LABELS).eval()
    inputs = encoder._inputs(*example(encoder.model).values(), None, None)
    states = encoder._hidden_states(inputs, (1, 4))
    assert len(states) == len(encoder.architecture.layers) + 1
    assert torch.equal(states[-1], encoder.model.base_model(**inputs).last_hidden_state)
    assert torch.equal(encoder.read_states(*example(encoder.model).values())[0], states[-1])


@pytest.mark.parametrize("architecture", ["bert", "albert", "big_bird"])
def test_a_pooler_is_its_linear_and_its_activation(architecture: str):
    model = model_of(architecture).eval()
    output, pooling = model.base_model(**example(model)), observe(model).pooling
    assert pooling is not None
    assert torch.equal(pooling(output.last_hidden_state), output.pooler_output)


@pytest.mark.parametrize(
    ("architecture", "reason"),
    [
        ("xlm", "it has 4 lists of layers side by side (attentions, layer_norm1, ffns, layer_norm2)"),
        ("xlnet", "it has no list of layers that take and give [batch, tokens, width]"),
        ("funnel", "its last hidden states are not one for each token"),
        ("t5", "it cannot run on word embeddings alone (ValueError: You must specify exactly one of"),
        ("bart", "it cannot run on word embeddings alone (ValueError: If no `decoder_input_ids`"),
        ("longformer", "it has no list of layers"),
    ],
)
def test_an_architecture_without_layers_says_why_in_a_line(architecture: str, reason: str):
    more = {
        "funnel": {"d_model": 32, "n_head": 2, "d_head": 16, "d_inner": 48, "block_sizes": [1, 1], "vocab_size": 120},
        "t5": {"d_model": 32, "num_layers": 2, "num_heads": 2, "d_ff": 48, "d_kv": 16, "vocab_size": 120},
        "bart": {"d_model": 32, "vocab_size": 120, "encoder_layers": 1, "decoder_layers": 1, "pad_token_id": 1},
        "longformer": {"attention_window": 8},
    }
    found = observe(model_of(architecture, **more.get(architecture, {})), "here")
    with pytest.raises(UsageError) as refusal:
        found.layered("LayerPooling")
    line = str(refusal.value)
    assert line.startswith("LayerPooling: not with backbone here (")
    assert reason in line
    assert "\n" not in line
    assert len(line) < 500


def test_an_entrance_that_is_no_module_is_refused():
    found = observe(model_of("opt"), "here")
    assert found.layers
    with pytest.raises(UsageError, match=r"^SMART: not with backbone here \(OPT.*\): what its first layer takes is no"):
        found.entered("SMART")
    assert isinstance(found.layered("SMART"), Architecture)


@pytest.mark.parametrize("architecture", ["albert", "modernbert", "electra", "deberta-v3"])
@pytest.mark.parametrize("layers", [[0], [1], [2]])
def test_what_a_head_does_not_reach_is_frozen(tmp_path: Path, architecture: str, layers: list[int]):
    """And nothing else is: ALBERT's one layer trains when only its first run is read."""
    encoder = Encoder(checkpoint(tmp_path, architecture), LABELS)
    LayerPooling(layers=layers).attach(encoder)
    inputs = batch([5, 3])
    encoder(encoder.embed(inputs["input_ids"]), inputs["attention_mask"]).sum().backward()
    for name, parameter in encoder.named_parameters():
        assert parameter.requires_grad == (parameter.grad is not None), name


def test_a_head_of_another_method_is_not_taken_for_ones_own(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), LABELS)
    encoder.head = nn.Identity()
    with pytest.raises(UsageError, match=r"^LayerPooling: another method has put a head of its own on the network"):
        LayerPooling().attach(encoder)


@pytest.mark.parametrize("architecture", ["albert", "mpnet"])
def test_layers_recompute_themselves_where_the_architecture_cannot(tmp_path: Path, architecture: str):
    path = checkpoint(tmp_path, architecture)
    calls: list[int] = []

    def run(encoder: Encoder) -> list[torch.Tensor]:
        first = next(m for m in encoder.architecture.layers[0].modules() if isinstance(m, nn.Linear))
        handle = first.register_forward_hook(lambda *_: calls.append(1))
        inputs = batch([5, 3])
        torch.manual_seed(0)
        logits = encoder(encoder.embed(inputs["input_ids"]), inputs["attention_mask"])
        found = torch.autograd.grad(logits.sum(), [*encoder.parameters()])
        handle.remove()
        return [logits, *found]

    plain = run(Encoder(path, LABELS).train())
    kept, calls[:] = len(calls), []
    encoder = Encoder(path, LABELS, gradient_checkpointing=True).train()
    for again in (run(encoder), run(deepcopy(encoder))):
        assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert len(calls) == 2 * 2 * kept


def test_a_generator_whose_layers_share_otherwise_is_refused(tmp_path: Path):
    """Of four ALBERT layers in two groups the lowest two share one; built alone they would have one each."""
    encoder = Encoder(checkpoint(tmp_path, "albert", num_hidden_layers=4, num_hidden_groups=2), LABELS)
    with pytest.raises(UsageError, match=r"^ReplacedTokens: not with .*: its lowest 2 layers alone do not make an enc"):
        ReplacedTokens(generator_layers=2).attach(encoder)
    ReplacedTokens(generator_layers=4).attach(encoder)


@pytest.mark.parametrize("architecture", ["modernbert", "eurobert"])
def test_a_dropout_that_is_no_module_is_replaced_too(tmp_path: Path, architecture: str):
    path = checkpoint(tmp_path, architecture, attention_dropout=0.5)
    encoder = Encoder(path, LABELS).train()
    method = Mixout(replace_dropout="all")
    method.remember(encoder)
    assert encoder.architecture.layers[0].modules()
    rates = [vars(m)["attention_dropout"] for m in encoder.modules() if "attention_dropout" in vars(m)]
    assert set(rates) == {0.5}


def test_a_dropout_that_is_not_found_is_refused(tmp_path: Path):
    encoder = Encoder(checkpoint(tmp_path, "bert"), LABELS).train()
    encoder.model.bert.embeddings.register_forward_hook(lambda module, args, output: output + torch.rand(()))
    with pytest.raises(UsageError, match=r"^Mixout.replace_dropout=all: not with .*: some of its dropouts cannot be f"):
        Mixout(replace_dropout="all").remember(encoder)


def test_attention_that_an_architecture_lacks(tmp_path: Path):
    path = checkpoint(tmp_path, "deberta-v2")
    assert Encoder(path, LABELS, attention=("sdpa", "eager")).model.config._attn_implementation == "eager"
    with pytest.raises(UsageError, match=r"^model.attention is sdpa: not with backbone .*; give eager or auto$"):
        Encoder(path, LABELS, attention="sdpa")


def test_eager_attention_that_makes_nan_of_padding_is_not_taken(tmp_path: Path):
    path = checkpoint(tmp_path, "modernbert")
    torch.set_default_dtype(torch.float64)
    try:
        encoder = Encoder(path, LABELS)
        with pytest.raises(UsageError, match="in float64 its softmax is NaN"):
            Encoder(path, LABELS, attention="eager")
    finally:
        torch.set_default_dtype(torch.float32)
    embeds, mask = encoder.embed(batch([40, 3])["input_ids"]), batch([40, 3])["attention_mask"]
    states = encoder._hidden_states(encoder._inputs(embeds, mask, None, None), (2, 40))
    assert all(state.isfinite().all() for state in states)


def test_the_new_heads_dropout_is_the_plain_heads(tmp_path: Path):
    path = checkpoint(tmp_path, "albert", hidden_dropout_prob=0.0, classifier_dropout_prob=0.25)
    encoder = Encoder(path, LABELS)
    LayerPooling().attach(encoder)
    assert encoder.head is not None
    assert encoder.head.dropout.p == 0.25


@pytest.mark.parametrize("architecture", ["t5", "bart", "longformer"])
def test_what_cannot_be_fine_tuned_is_refused_at_load(tmp_path: Path, architecture: str):
    build = {
        "t5": partial(transformers.T5Config, d_model=32, num_layers=1, num_heads=2, d_ff=48, d_kv=16),
        "bart": partial(transformers.BartConfig, d_model=32, encoder_layers=1, decoder_layers=1, bos_token_id=2),
        "longformer": partial(configuration, "longformer", attention_window=8),
    }[architecture]
    model = transformers.AutoModel.from_config(build(vocab_size=120, pad_token_id=1, eos_token_id=3))
    model.save_pretrained(tmp_path)
    with pytest.raises(UsageError, match=r"cannot run on word embeddings and a mask alone") as found:
        Encoder(str(tmp_path), LABELS)
    assert str(found.value).startswith(f"backbone {tmp_path}: ")
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500


def test_what_the_plain_model_does_not_use_is_frozen(tmp_path: Path):
    """BigBird's head has no use for the pooler that the model makes."""
    encoder = Encoder(checkpoint(tmp_path, "big_bird"), LABELS)
    frozen = {name for name, p in encoder.named_parameters() if not p.requires_grad}
    assert frozen == {"model.bert.pooler.weight", "model.bert.pooler.bias"}
