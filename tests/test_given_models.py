"""Models that somebody else has built: an engine trains them as they are, with every method, or says why not."""

import copy
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor
from torch.nn.functional import cross_entropy

from ftreg import (
    Engine,
    FreeLB,
    HeadFirst,
    LayerPooling,
    Mixout,
    TwoStage,
    UsageError,
    adamw,
)
from ftreg.testing import CASES
from ftreg.testing.cases import ACTING
from ftreg.testing.encoders import ARCHITECTURES, SIZES, checkpoint
from ftreg.testing.given_models import HEADS, batch, cell, gradient, model, own_loss

TEXTS = ("one label", "several labels", "one number", "three numbers")
"""Heads with one answer for a text."""
KINDS = [*HEADS]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """Checkpoints by architecture, made once."""
    made: dict[str, str] = {}

    def of(architecture: str) -> str:
        if architecture not in made:
            made[architecture] = checkpoint(tmp_path_factory.mktemp("encoder"), architecture)
        return made[architecture]

    return of


def refused(method: str, head: str) -> bool:
    if method == "LayerPooling":
        return head not in TEXTS
    return method in ("MaskedLM", "ReplacedTokens") and head == "choice"


@pytest.mark.parametrize("head", HEADS)
def test_every_method_works_with_every_head_or_is_refused_by_name(folder: Any, head: str) -> None:
    found = {name for name, case in CASES.items() if cell(case, "bert", head, folder("bert"))}
    assert found == {name for name in CASES if refused(name, head)}


@pytest.mark.parametrize("architecture", [name for name in ARCHITECTURES if name != "bert"])
def test_every_method_works_in_every_encoder(folder: Any, architecture: str) -> None:
    for place, (name, case) in enumerate(CASES.items()):
        # Another head for each: all of them would be 700 cells.
        head = KINDS[(place + ARCHITECTURES.index(architecture)) % len(KINDS)]
        if (architecture, head) == ("deberta", "choice"):  # transformers has none
            head = "tokens"
        assert bool(cell(case, architecture, head, folder(architecture))) == refused(name, head), (name, head)


def test_a_method_that_reads_files_is_refused_where_there_are_none() -> None:
    assert "load it from there" in cell(CASES["MaskedLM"], "bert", "one label")


# What a batch may hold


def left(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value.flip(-1) if value.ndim > 1 else value for key, value in inputs.items()}


def bare(inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {key: value for key, value in inputs.items() if key != "attention_mask"}


def agree(make: Callable[[], Any], inputs: Mapping[str, Any], head: str = "one label") -> None:
    """Raise AssertionError if plain fine-tuning through an engine is not the model's own loss."""
    own, (loss, _) = own_loss(make(), inputs), gradient(make(), inputs, None, head)
    assert float(loss.detach()) == pytest.approx(float(own.detach()), rel=1e-12 if own.dtype == torch.float64 else 1e-6)


@pytest.mark.parametrize("change", [left, bare])
@pytest.mark.parametrize("architecture", ["roberta", "mpnet", "modernbert", "deberta-v3"])
def test_padding_on_either_side_and_no_mask_are_as_in_the_model_itself(architecture: str, change: Any) -> None:
    agree(lambda: model(architecture, "one label"), change(batch("one label")))
    agree(lambda: model(architecture, "tokens"), change(batch("tokens")), "tokens")


def test_what_else_the_model_takes_reaches_it() -> None:
    inputs = batch("one label")
    positions, types = torch.arange(8).flip(0).expand(3, 8), torch.ones(3, 8, dtype=torch.long)
    losses = set()
    for more in ({}, {"position_ids": positions}, {"token_type_ids": types}):
        agree(partial(model, "bert", "one label"), {**inputs, **more})
        losses.add(float(own_loss(model("bert", "one label"), {**inputs, **more})))
    assert len(losses) == 3
    for architecture, key in {"bert": "idx", "distilbert": "token_type_ids"}.items():
        with pytest.raises(UsageError, match=f"the model takes no '{key}'"):
            Engine(model(architecture, "one label"))({**inputs, key: types})


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_either_attention(architecture: str, attention: str) -> None:
    agree(partial(model, architecture, "tokens", attn_implementation=attention), near("tokens"), "tokens")


def near(head: str) -> dict[str, Tensor]:
    """A batch with little padding: in the eager attention of ModernBERT, float64 has no number for a window of it."""
    inputs = batch(head)
    return {key: value[:2] for key, value in inputs.items()}


def test_a_window_of_padding_is_refused_where_it_is_nan() -> None:
    given = model("modernbert", "tokens", attn_implementation="eager")
    output = given(**batch("tokens"))
    assert output.logits.isnan().any()
    with pytest.raises(UsageError, match="sees within 4 places is padding; load the model with attn_impl"):
        Engine(given)(batch("tokens"))
    assert Engine(given.float())(batch("tokens")).isfinite()


# Other architectures

SMALL: dict[str, Any] = {"vocab_size": 120, "d_model": 32}
OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "gpt2": (
        "GPT2",
        {"vocab_size": 120, "n_embd": 32, "n_layer": 2, "n_head": 2, "n_positions": 64, "pad_token_id": 1},
    ),
    "longformer": ("Longformer", SIZES | {"attention_window": 4}),
    "fnet": ("FNet", {key: value for key, value in SIZES.items() if "heads" not in key}),
    "big_bird": ("BigBird", SIZES | {"attention_type": "original_full"}),
}
REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "t5": (
        "T5",
        SMALL
        | {"d_kv": 16, "d_ff": 48, "num_layers": 2, "num_heads": 2}
        | {"eos_token_id": 3, "pad_token_id": 1, "decoder_start_token_id": 1},
        "it looks no token up in what its get_input_embeddings",
    ),
    "bart": (
        "Bart",
        SMALL
        | {"encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 2, "decoder_attention_heads": 2}
        | {"encoder_ffn_dim": 48, "decoder_ffn_dim": 48, "max_position_embeddings": 64, "eos_token_id": 3},
        "it looks no token up in what its get_input_embeddings",
    ),
    "xlnet": ("XLNet", SMALL | {"n_layer": 2, "n_head": 2, "d_inner": 48}, "or in another order"),
    "canine": ("Canine", {k: v for k, v in SIZES.items() if k != "vocab_size"}, "cannot run on a few tokens"),
    "big_bird": ("BigBird", SIZES, "call model.set_attention_type"),
}


def other(kind: str, options: Mapping[str, Any]) -> Any:
    config = getattr(transformers, f"{kind}Config")(**options, num_labels=3)
    with torch.random.fork_rng():
        torch.manual_seed(7)
        return getattr(transformers, f"{kind}ForSequenceClassification")(config).double().train()


@pytest.mark.parametrize("name", OTHERS)
def test_other_architectures_are_themselves(name: str) -> None:
    agree(lambda: other(*OTHERS[name]), batch("one label"))


@pytest.mark.parametrize("name", REFUSED)
def test_architectures_that_read_otherwise_are_refused_by_name(name: str) -> None:
    kind, options, line = REFUSED[name]
    given = other(kind, options)
    with pytest.raises(UsageError, match=line) as found:
        Engine(given)
    assert type(given).__name__ in str(found.value)
    assert "\n" not in str(found.value)
    assert len(str(found.value)) < 500


# What a loop's user does to a model


def test_a_model_in_evaluation_mode_is_trained_with_dropout() -> None:
    engine = Engine(model("bert", "one label").eval())
    first, second = engine(batch("one label")), engine(batch("one label"))
    assert engine.training
    assert engine.model.training
    assert first != second
    engine.model.eval()  # the user's own will, from then on
    assert engine(batch("one label")) == engine(batch("one label"))


@pytest.mark.parametrize("name", ["Mixout", "FreeLB", "SMART"])
@pytest.mark.parametrize("architecture", ["bert", "modernbert"])
def test_recomputed_layers_give_the_same_gradient(architecture: str, name: str) -> None:
    plain = gradient(model(architecture, "tokens"), batch("tokens"), CASES[name].card(), "tokens")[1]
    given = model(architecture, "tokens")
    given.gradient_checkpointing_enable()
    found = gradient(given, batch("tokens"), CASES[name].card(), "tokens")[1]
    assert all(torch.allclose(found[key], value, rtol=0, atol=1e-12) for key, value in plain.items())


def reentrant(given: Any) -> None:
    given.gradient_checkpointing_enable({"use_reentrant": True})


def compiled(given: Any) -> None:
    given.compile()


def compiled_within(given: Any) -> None:
    given.bert = torch.compile(given.bert)


def halved(given: Any) -> None:
    given.to(torch.bfloat16)


@pytest.mark.parametrize(
    ("change", "method", "line"),
    [
        (reentrant, Mixout, "BertForSequenceClassification recomputes .*use_reentrant': False"),
        (compiled, FreeLB, "BertForSequenceClassification is compiled with the word embeddings in it"),
        (compiled_within, FreeLB, "^bert is compiled with the word embeddings in it"),
        (halved, ACTING, "^SMART: not with BertForSequenceClassification in bfloat16"),
    ],
)
def test_what_methods_cannot_work_on_is_refused(change: Callable[[Any], None], method: Any, line: str) -> None:
    given = model("bert", "one label")
    engine = Engine(given, [method()])
    change(given)
    with pytest.raises(UsageError, match=line):
        engine(batch("one label"))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_in_half_precision_trains(dtype: torch.dtype) -> None:
    engine = Engine(model("bert", "one label").to(dtype), [Mixout(), FreeLB(), LayerPooling()])
    engine(batch("one label")).backward()
    assert all(p.grad.isfinite().all() for p in engine.parameters() if p.grad is not None)
    assert engine.encoder.head is not None
    assert next(engine.encoder.head.parameters()).dtype == dtype


def test_a_head_that_a_method_has_put_there_answers_for_the_model() -> None:
    given, inputs = model("bert", "one label"), batch("one label")
    engine = Engine(given, [LayerPooling()])
    with pytest.raises(UsageError, match=r"^LayerPooling has put a head of its own .* call engine.predict\(batch\)"):
        given(**inputs)
    inputs.pop("labels")
    logits = engine.predict(inputs)
    assert logits.shape == (3, 3)
    assert not logits.requires_grad
    assert torch.equal(logits, engine.eval().predict(inputs))


@pytest.mark.parametrize("head", HEADS)
def test_predictions_are_the_model_s_in_evaluation(head: str) -> None:
    given, inputs = model("bert", head), batch(head)
    found = Engine(given, [Mixout()], HEADS[head].criterion).predict(
        {k: inputs[k] for k in ("input_ids", "attention_mask")}
    )
    output = given.eval()(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"])
    own = output.logits if "logits" in output else torch.stack([output.start_logits, output.end_logits], -1)
    assert torch.equal(found, own)


def judged(output: Any, inputs: Mapping[str, Tensor]) -> Tensor:
    """A user's loss, of the model's output as it is."""
    return cross_entropy(output.logits, inputs["labels"], reduction="none")


def test_a_function_judges_the_output_of_the_pass_that_it_belongs_to() -> None:
    results = [
        Engine(model("bert", "one label"), [FreeLB(), Mixout()], criterion)(batch("one label"))
        for criterion in (judged, None)
    ]
    assert torch.equal(*results)
    with pytest.raises(UsageError, match="a method makes the logits without it"):
        Engine(model("bert", "one label"), [LayerPooling()], judged)(batch("one label"))


def test_a_function_may_judge_a_span_by_whatever_is_in_the_batch() -> None:
    def weighted(output: Any, inputs: Mapping[str, Tensor]) -> Tensor:
        starts = cross_entropy(output.start_logits, inputs["start_positions"], reduction="none")
        ends = cross_entropy(output.end_logits, inputs["end_positions"], reduction="none")
        return inputs["weight"] * (starts + ends) / 2

    inputs, weight = batch("span"), {"weight": torch.full((3,), 2.0)}
    own = Engine(model("bert", "span"), [FreeLB(epsilon=0)])(inputs)
    found = Engine(model("bert", "span"), [FreeLB(epsilon=0)], weighted)(inputs | weight)
    torch.testing.assert_close(found, 2 * own, rtol=1e-12, atol=0)


def test_features_are_kept_of_models_that_are_run_by_their_tokens() -> None:
    inputs = left(batch("one label")) | {"row_ids": torch.tensor([5, 3, 8])}
    steady = partial(model, "roberta", "one label", hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    engine, plain = (Engine(steady(), [HeadFirst(cache=cache)], total_steps=10) for cache in (True, False))
    for _ in range(2):
        torch.testing.assert_close(engine(inputs), plain(inputs), rtol=1e-12, atol=0)
    engine = Engine(model("bert", "one label"), [HeadFirst(cache=True)], total_steps=10)
    with pytest.raises(UsageError, match="has no row_ids, by which rows are cached"):
        engine(batch("one label"))


def test_shared_layers_are_mixed_once() -> None:
    method = Mixout()
    given = model("albert", "tokens")
    Engine(given, [method])
    linears = {id(part.weight) for part in given.albert.modules() if isinstance(part, torch.nn.Linear)}
    assert len(method._anchors) == len(linears) == 7  # six of the one layer, and the projection of its input


def parted(given: Any) -> tuple[Engine, torch.optim.Optimizer]:
    engine = Engine(given, [Mixout(), FreeLB(), ACTING()], HEADS["tokens"].criterion, total_steps=4)
    return engine, adamw(engine, lr=1e-3)


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("architecture", ["modernbert", "albert"])
def test_a_training_that_is_taken_up_again_ends_in_the_same_bits(architecture: str, attention: str) -> None:
    make = partial(model, architecture, "tokens", attn_implementation=attention)
    engine, optimizer = parted(make())
    for step in range(4):
        if step == 2:
            saved = copy.deepcopy((engine.model.state_dict(), engine.method_state(), optimizer.state_dict()))
        train(engine, optimizer)
    again, other = parted(make())
    again.model.load_state_dict(saved[0])
    again.load_method_state(saved[1])
    other.load_state_dict(saved[2])
    for _ in range(2):
        train(again, other)
    assert all(map(torch.equal, engine.state_dict().values(), again.state_dict().values()))


def train(engine: Engine, optimizer: torch.optim.Optimizer) -> None:
    engine(near("tokens")).backward()
    engine.before_step()
    optimizer.step()
    optimizer.zero_grad()
    engine.after_step()


# Starting from a stage


@pytest.mark.parametrize("way", ["FineTuner", "engine", "model", "weights alone"])
def test_a_stage_may_be_saved_in_any_way(folder: Any, tmp_path: Path, way: str) -> None:
    other = model("bert", "tokens").float()
    state: dict[str, Any] = {
        "FineTuner": {"state_dict": {f"encoder.model.{key}": value for key, value in other.state_dict().items()}},
        "engine": {"state_dict": {f"engine.{key}": value for key, value in Engine(other).state_dict().items()}},
        "model": {"state_dict": other.state_dict()},
        "weights alone": other.state_dict(),
    }[way]
    torch.save(state, tmp_path / "stage.pt")
    given = model(folder("bert"), "one label").float()
    before = given.classifier.weight.clone()
    stage = TwoStage(checkpoint=str(tmp_path / "stage.pt"), pooler="pretrained")
    engine = Engine(given, [stage, Mixout(anchor="pretrained")])
    layer = "encoder.layer.0.output.dense.weight"
    assert torch.equal(given.bert.get_parameter(layer), other.bert.get_parameter(layer))
    assert torch.equal(engine.encoder.start.value(f"model.bert.{layer}"), other.bert.get_parameter(layer))
    assert torch.equal(given.classifier.weight, before)
    with pytest.raises(UsageError, match=r"give TwoStage\.pooler=pretrained"):
        Engine(model("bert", "one label"), [TwoStage(checkpoint=str(tmp_path / "stage.pt"))])


# The recipe's optimizer


def test_adamw_takes_an_engine_and_its_methods_rates() -> None:
    engine = Engine(model("bert", "one label"), [LayerPooling(lr=0.5), Mixout()])
    optimizer = adamw(engine, lr=2e-5)
    names = {id(p): name for name, p in engine.encoder.named_parameters()}
    groups = {names[id(p)]: group for group in optimizer.param_groups for p in group["params"]}
    assert groups.keys() == {name for name, p in engine.encoder.named_parameters() if p.requires_grad}
    for name, group in groups.items():
        assert group["lr"] == (0.5 if name.startswith("head.mix.") else 2e-5)
        matrix = engine.encoder.get_parameter(name).ndim >= 2 and not name.startswith("head.mix.")
        assert group["weight_decay"] == (0.01 if matrix else 0)
    assert adamw(engine.encoder, 1e-5).param_groups[0]["lr"] == 1e-5


@pytest.mark.parametrize(("towards", "rest"), [("anchor", 1.0), ("zero", 0.0)])
def test_adamw_decays_towards_zero_or_the_start(towards: Any, rest: float) -> None:
    engine = Engine(model("bert", "one label"))
    start = {name: p.detach().clone() for name, p in engine.encoder.named_parameters()}
    optimizer = adamw(engine, lr=0.1, weight_decay=0.5, decay_towards=towards)
    for p in engine.parameters():
        p.grad = torch.zeros_like(p)
        p.data += 1
    optimizer.step()
    for name, p in engine.encoder.named_parameters():
        anchor = start[name] * rest if not engine.encoder.in_head(name) else torch.zeros_like(p)
        expected = anchor + 0.95 * (start[name] + 1 - anchor) if p.ndim >= 2 else start[name] + 1
        torch.testing.assert_close(p.detach(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"lr": -1.0}, "adamw.lr"),
        ({"lr": 1e-3, "decay_towards": "start"}, "adamw.decay_towards"),
        ({"lr": 1e-3, "weight_decay": float("nan")}, "adamw.weight_decay"),
    ],
)
def test_adamw_refuses_what_is_out_of_range(options: Any, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        adamw(Engine(model("bert", "one label")), **options)
    with pytest.raises(UsageError, match=r"is no ftreg\.Engine"):
        adamw(model("bert", "one label"), 1e-3)  # type: ignore[arg-type]
