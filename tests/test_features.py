"""HeadFirst(cache=True): the same fit at the head's cost, each row through the encoder once, and no trace of it."""

from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

import ftreg.encoder.features
from ftreg import SMART, FreeLB, LayerPooling, Mixout, UsageError
from ftreg.core.method import Regularizer
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.features import Features
from ftreg.methods.head_first import HeadFirst
from ftreg.testing import Case, clean, reloading
from ftreg.testing.encoders import STEADY
from ftreg.testing.fits import ROWS
from tests.models import batch, checkpoint
from tests.pipeline import difference, every_step, fit, state
from tests.steps import encoder_of, take

EPOCH = [8, 8, 8, 8, ROWS - 32]
"""Rows of each optimizer step."""
THREE: dict[str, Any] = {"max_steps": 3 * len(EPOCH), "limit_val_batches": 0}
CALM: dict[str, dict[str, float]] = {
    "bert": STEADY | {"classifier_dropout": 0.2},
    "roberta": STEADY | {"classifier_dropout": 0.2},
    "deberta-v2": STEADY | {"pooler_dropout": 0.2},
    "albert": STEADY | {"classifier_dropout_prob": 0.2},
    "distilbert": {"dropout": 0.0, "attention_dropout": 0.0},
}
"""No dropout in the encoder, some in the head."""
cached = partial(HeadFirst, share=1.0, cache=True)
uncached = partial(HeadFirst, share=1.0)


class Rows(pl.Callback):
    """How many rows go through the encoder in each optimizer step."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any):
        pl_module.encoder.model.base_model.register_forward_pre_hook(self._count, with_kwargs=True)

    def on_train_batch_start(self, *args: Any):
        self.steps.append(0)

    def _count(self, base: nn.Module, args: Any, kwargs: dict[str, Any]):
        self.steps[-1] += len(kwargs["inputs_embeds"])


class Flops(pl.Callback):
    """Of each optimizer step, from its batch to the updated weights."""

    def __init__(self) -> None:
        self.steps: list[int] = []

    def on_train_batch_start(self, *args: Any):
        self._counter = FlopCounterMode(display=False)
        self._counter.__enter__()

    def on_train_batch_end(self, *args: Any):
        self._counter.__exit__(None, None, None)
        self.steps.append(self._counter.get_total_flops())


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Without any dropout."""
    return checkpoint(tmp_path_factory.mktemp("steady"), "bert", **STEADY)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("noisy"), "bert")


@pytest.mark.parametrize(("architecture", "pooler"), [*((name, False) for name in CALM), ("bert", True)])
def test_it_is_the_same_fit_and_each_row_is_encoded_once(tmp_path: Path, architecture: str, pooler: bool):
    """The head's dropout included: it draws what it draws without a cache."""
    backbone, rows = checkpoint(tmp_path, architecture, **CALM[architecture]), Rows()
    whole = fit(backbone, [uncached(pooler=pooler)], **THREE)
    found = fit(backbone, [cached(pooler=pooler), rows], **THREE)
    assert difference(state(whole), state(found)) < 1e-10
    assert rows.steps == EPOCH + [0] * 10


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"mix": "scalar", "tokens": "mean", "layers": [0, 2], "layer_dropout": 0.5},
        {"mix": "lstm", "tokens": "max", "hidden": 6},
        {"mix": "attention", "hidden": 6},
        {"mix": "second_to_last", "tokens": "mean"},
    ],
    ids=str,
)
def test_a_head_on_several_layers(tmp_path: Path, options: dict[str, Any]):
    backbone, rows = checkpoint(tmp_path, "bert", **CALM["bert"]), Rows()
    whole = fit(backbone, [LayerPooling(**options), uncached()], **THREE)
    found = fit(backbone, [cached(), LayerPooling(**options), rows], **THREE)
    assert difference(state(whole), state(found)) < 1e-10
    assert rows.steps == EPOCH + [0] * 10


def test_dropout_is_off_below_the_head_and_on_in_it(tmp_path: Path, noisy: str, steady: str):
    calm = checkpoint(tmp_path, "bert", **STEADY, classifier_dropout=0.1)
    ends = [state(fit(backbone, [cached()], **THREE)) for backbone in (noisy, calm, steady)]
    assert difference(ends[0], ends[1]) < 1e-10
    assert difference(ends[0], ends[2]) > 1e-4
    assert difference(ends[0], state(fit(noisy, [uncached()], **THREE))) > 1e-4


@pytest.mark.parametrize("architecture", ["bert", "roberta"])
def test_a_seen_row_costs_the_head(tmp_path: Path, architecture: str):
    backbone = checkpoint(tmp_path, architecture)
    found = {}
    for name, methods in (("plain", []), ("cached", [cached()])):
        flops = Flops()
        fit(backbone, [*methods, flops], **THREE)
        found[name] = flops.steps
    ratios = [mine / plain for mine, plain in zip(found["cached"], found["plain"], strict=True)]
    assert max(ratios[:5]) < 0.4
    assert 0 < max(ratios[5:]) < 0.02


def test_the_phase_ends(steady: str):
    """At 0.7 of 15 steps: after 11."""
    rows = Rows()
    whole = fit(steady, [HeadFirst(share=0.7)], **THREE)
    found = fit(steady, [HeadFirst(share=0.7, cache=True), rows], **THREE)
    assert difference(state(whole), state(found)) < 1e-10
    assert rows.steps == EPOCH + [0] * 6 + EPOCH[1:]
    assert found.encoder.features is None


def test_without_a_phase_it_is_plain_bit_for_bit(noisy: str):
    assert difference(state(fit(noisy)), state(fit(noisy, [HeadFirst(share=0.0, cache=True)]))) == 0


def test_a_fit_that_ends_or_fails_keeps_nothing(noisy: str):
    class Fail(pl.Callback):
        def on_train_batch_end(self, trainer, module, *args):
            self.module = module
            assert module.encoder.features is not None
            raise RuntimeError("on purpose")

    assert fit(noisy, [cached()], max_steps=1).encoder.features is None
    fail = Fail()
    with pytest.raises(RuntimeError, match="on purpose"):
        fit(noisy, [cached(), fail], max_steps=2)
    assert fail.module.encoder.features is None


@pytest.mark.parametrize("contract", [clean, reloading])
def test_contracts(tmp_path: Path, contract):
    contract(Case(cached), tmp_path)


def test_a_head_that_fails_leaves_the_encoder_in_its_place(noisy: str):
    encoder = frozen(noisy)
    base, features = encoder.model.bert, Features(encoder, "HeadFirst.cache")
    features(batch([9, 4]))

    def fail(*args: Any):
        raise RuntimeError("on purpose")

    encoder.model.classifier.forward = fail
    with pytest.raises(RuntimeError, match="on purpose"):
        features(batch([9, 4]))
    assert encoder.model.bert is base
    assert [*encoder.model._modules] == ["bert", "dropout", "classifier"]


def test_accumulation_changes_nothing(steady: str):
    """The last batch of an epoch is odd: a micro-batch of three rows, and one of two."""
    ends = [state(fit(steady, [cached()], accumulate_grad_batches=count, **THREE)) for count in (1, 2)]
    assert difference(*ends) < 1e-9


def test_a_resumed_fit_agrees_up_to_rounding(tmp_path: Path, noisy: str):
    def ends(*callbacks: pl.Callback, **options: Any):
        return state(fit(noisy, [HeadFirst(share=0.7, cache=True), *callbacks], **THREE, **options))

    whole = ends(every_step(tmp_path), enable_checkpointing=True)
    for number in (3, 7, 11, 13):
        assert difference(whole, ends(resume=str(tmp_path / f"step={number}.ckpt"))) < 1e-12


def test_the_head_trains_under_autocast(noisy: str):
    start = fit(noisy, [cached()], precision="bf16-mixed", max_steps=1, options={"lr": 0.0}).state_dict()
    moved = fit(noisy, [cached()], precision="bf16-mixed", max_steps=1, options={"warmup": 0.0}).state_dict()
    names = {name for name, value in moved.items() if not torch.equal(value, start[name])}
    assert names == {"encoder.model.classifier.weight", "encoder.model.classifier.bias"}


def test_only_clean_passes_are_served(noisy: str):
    encoder, inputs = frozen(noisy), batch([9, 4, 7, 12])
    method, embeds = Mean(), encoder.embed(inputs["input_ids"]).detach()
    others: list[dict[str, Any]] = [{"delta": torch.zeros_like(embeds)}, {"embeds": embeds}, {"params": {}}]
    others += [{"dropout": "none"}, {"dropout": "fresh"}]
    expected = [take(encoder, inputs, method).logits(**other) for other in others]
    asked: list[int] = []
    encoder.features = lambda rows: asked.append(len(rows["row_ids"])) or torch.ones(4, 2)
    for other, whole in zip(others, expected, strict=True):
        assert torch.equal(take(encoder, inputs, method).logits(**other), whole)
    with torch.no_grad():
        take(encoder, inputs, method).logits()
    assert asked == []
    step = take(encoder, inputs, method)
    assert torch.equal(step.logits() + step.logits(), 2 * torch.ones(4, 2))
    assert asked == [4]


class Mean(Regularizer):
    """The plain head's place taken by one that reads all tokens."""

    def attach(self, encoder: Encoder) -> None:
        head = encoder.model.classifier
        head.forward = lambda hidden: head.out_proj(head.dropout(hidden.mean(1)))


def test_a_head_that_reads_other_tokens_is_left_uncached(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    said: list[str] = []
    monkeypatch.setattr(ftreg.encoder.features, "rank_zero_warn", said.append)
    backbone = checkpoint(tmp_path, "roberta")
    found = fit(backbone, [Mean(), cached()], limit_val_batches=0)
    assert said == [
        "HeadFirst.cache: RobertaForSequenceClassification's head takes more than the first token; nothing is cached"
    ]
    assert difference(state(found), state(fit(backbone, [Mean(), uncached()], limit_val_batches=0))) == 0


@pytest.mark.parametrize(("other", "part"), [(Mixout(), "map_weights"), (FreeLB(), "objective"), (SMART(), "penalty")])
@pytest.mark.parametrize("first", [True, False])
def test_methods_that_need_more_are_refused(noisy: str, other: Regularizer, part: str, first: bool):
    methods = [cached(), other] if first else [other, cached()]
    with pytest.raises(UsageError, match=f"^HeadFirst.cache .*, and {other.name} has a {part} .*; give cache=false$"):
        fit(noisy, methods)


@pytest.mark.parametrize(
    "options",
    [{"tokens": "attention"}, {"tokens": "pooler"}, {"mix": "squeeze"}, {"mix": "hire"}, {"layer_norm": True}],
)
def test_heads_that_read_more_than_a_vector_a_layer_are_refused(noisy: str, options: dict[str, Any]):
    with pytest.raises(UsageError, match=r"^HeadFirst.cache keeps a vector a layer, and this head reads more: .*$"):
        fit(noisy, [LayerPooling(**options), cached()])


def frozen(backbone: str) -> Encoder:
    """All but the head, without a trainer."""
    encoder = encoder_of(backbone, ("a", "b"), torch.float64)
    encoder.model.bert.requires_grad_(False)
    return encoder


def test_rows_without_an_id_are_refused(noisy: str):
    inputs = {name: value for name, value in batch([9, 4]).items() if name != "row_ids"}
    with pytest.raises(UsageError, match=r"^HeadFirst.cache needs row_ids .*$"):
        Features(frozen(noisy), "HeadFirst.cache")(inputs)


def test_what_trains_below_the_head_is_refused(noisy: str):
    encoder = frozen(noisy)
    encoder.model.bert.encoder.layer[0].output.dense.bias.requires_grad_(True)
    with pytest.raises(UsageError, match=r"^HeadFirst.cache: something below the head trains, .*$"):
        Features(encoder, "HeadFirst.cache")(batch([9, 4]))


def test_known_and_new_rows_of_several_tasks_in_one_batch(noisy: str):
    encoder = frozen(noisy).eval()
    features = Features(encoder, "HeadFirst.cache")
    inputs = batch([9, 4, 7, 12]) | {"token_type_ids": torch.ones(4, 12, dtype=torch.long)}
    inputs["token_type_ids"][:, :3] = 0

    def whole() -> Tensor:
        embeds = encoder.embed(inputs["input_ids"])
        return encoder(embeds, inputs["attention_mask"], inputs["token_type_ids"], inputs["lengths"])

    part = {k: v[1:3] for k, v in inputs.items()}
    torch.testing.assert_close(features(part), whole()[1:3], rtol=0, atol=1e-12)
    torch.testing.assert_close(features(inputs), whole(), rtol=0, atol=1e-12)
    inputs |= batch([9, 4, 7, 12], seed=1) | {"task": "another"}
    torch.testing.assert_close(features(inputs), whole(), rtol=0, atol=1e-12)


def test_a_row_keeps_no_more_than_it_says(noisy: str):
    features = Features(frozen(noisy), "HeadFirst.cache")
    features(batch([9, 4, 7, 12]))
    storages = {t.untyped_storage().data_ptr(): t.untyped_storage() for row in features._kept.values() for t in row}
    assert sum(storage.nbytes() for storage in storages.values()) == 4 * 2 * 32 * 8
