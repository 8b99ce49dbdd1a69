"""What further pre-training learns: what the losses are, where the heads come from, what is left alone."""

import json
import warnings
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from torch import Tensor

from ftreg import Encoder, MaskedLM, ReplacedTokens, UsageError
from ftreg.core.method import Regularizer
from ftreg.core.step import Step
from ftreg.functional import task_losses
from ftreg.methods.pretraining.masking import mask_tokens
from ftreg.methods.pretraining.replaced_tokens import sample
from ftreg.testing.encoders import TOKENS
from tests.models import ARCHITECTURES, batch, checkpoint
from tests.pipeline import fit
from tests.reference import masked_lm as port
from tests.steps import encoder_of, take

LENGTHS = [9, 4, 7, 12]
MASK, UNK = TOKENS.index("[MASK]"), TOKENS.index("[UNK]")
OBJECTIVES = [MaskedLM, ReplacedTokens]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("encoder"), "bert", initializer_range=0.3)


def attached(folder: str, method: Regularizer, **options: Any) -> Encoder:
    """In float64, without dropout."""
    encoder = encoder_of(folder, ("a", "b"), torch.float64, **options)
    torch.set_default_dtype(torch.float64)
    try:
        method.attach(encoder)
        method.start(encoder)
    finally:
        torch.set_default_dtype(torch.float32)
    return encoder.eval()


def read(step: Step, method: Regularizer) -> tuple[Tensor, Tensor]:
    """The objective's value, and the tokens that the encoder saw."""
    seen, original = [], step.read
    step.read = lambda ids: seen.append(ids) or original(ids)  # type: ignore[func-returns-value,method-assign]
    return method.objective(step), seen[0]


@pytest.mark.parametrize("method", OBJECTIVES)
def test_a_row_is_corrupted_alike_in_any_company(folder: str, method: type):
    own = method(rate=0.3)
    encoder, whole = attached(folder, own), batch(LENGTHS)
    together = read(take(encoder, whole, own), own)[1]
    for row in range(4):
        alone = {"labels": whole["labels"][row : row + 1], "row_ids": torch.tensor([row]), "lengths": [LENGTHS[row]]}
        alone |= {key: whole[key][row : row + 1, : LENGTHS[row]] for key in ("input_ids", "attention_mask")}
        assert torch.equal(read(take(encoder, alone, own), own)[1][0], together[row, : LENGTHS[row]])


def test_masks_are_dynamic_or_static(folder: str):
    for dynamic in (True, False):
        own = MaskedLM(rate=0.3, dynamic=dynamic)
        encoder = attached(folder, own)
        first, other = (read(take(encoder, batch(LENGTHS), own, number), own)[1] for number in (3, 4))
        assert torch.equal(first, other) is not dynamic
    swapped = batch(LENGTHS) | {"row_ids": torch.tensor([1, 0, 2, 3])}
    assert not torch.equal(read(take(encoder, swapped, own), own)[1], first)


def test_unk_in_place_of_mask(folder: str):
    own = MaskedLM(rate=1.0, replacement="unk", random_share=0.2)
    inputs = batch(LENGTHS)
    ids = read(take(attached(folder, own), inputs, own), own)[1][inputs["attention_mask"].bool()]
    assert (ids == UNK).any()
    assert not (ids == MASK).any()


KINDS: list[tuple[str, dict[str, Any]]] = [(name, {}) for name in ARCHITECTURES]
KINDS += [("deberta-v2", {"legacy": False}), ("bert", {"tie_word_embeddings": False})]


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize(("architecture", "changes"), KINDS)
def test_the_checkpoints_own_head(tmp_path: Path, architecture: str, changes: dict[str, Any], packing: bool):
    """The value is that of the architecture's masked language model, which decodes every place."""
    path = checkpoint(tmp_path, architecture, initializer_range=0.3, **changes)
    torch.manual_seed(3)
    model = transformers.AutoModelForMaskedLM.from_pretrained(path)
    for p in model.parameters():
        torch.nn.init.normal_(p, std=0.2)
    model.save_pretrained(path)
    whole = model.double().eval()
    if architecture == "modernbert":
        whole.set_attn_implementation("sdpa")  # whose eager one takes its softmax in float32
    own = MaskedLM(rate=0.3, unit="word")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder = attached(path, own, packing=packing)
    inputs = batch(LENGTHS)
    value, ids = read(take(encoder, inputs, own), own)
    with torch.no_grad():
        logits = whole(input_ids=ids, attention_mask=inputs["attention_mask"]).logits
        hidden = whole.base_model(input_ids=ids, attention_mask=inputs["attention_mask"]).last_hidden_state
    torch.testing.assert_close(own._part(hidden[1]), logits[1], rtol=0, atol=1e-10)
    found = mask_tokens(
        inputs["input_ids"],
        inputs["attention_mask"],
        own._vocabulary,
        own._masking,
        take(encoder, inputs, own).generators("corruption"),
    )
    assert torch.equal(found.ids, ids)
    chosen = [found.columns[found.rows == row].tolist() for row in range(4)]
    torch.testing.assert_close(value, port.loss(logits, inputs["input_ids"], chosen), rtol=0, atol=1e-10)


@pytest.mark.parametrize("method", OBJECTIVES)
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_fresh_head_says_so_and_all_that_trains_is_reached(tmp_path: Path, architecture: str, method: type):
    own, path = method(rate=0.3), checkpoint(tmp_path, architecture)
    with pytest.warns(UserWarning, match=rf"^{own.name}: .* has no head for masked tokens") as found:
        encoder = attached(path, own)
    own.attach(encoder)
    assert len(found) == 1
    inputs = batch(LENGTHS) | {"labels": torch.full((4,), -1)}  # which nobody may read
    own.objective(take(encoder, inputs, own)).backward()
    assert {n for n, p in encoder.named_parameters() if p.requires_grad} == {
        n for n, p in encoder.named_parameters() if p.grad is not None
    }
    heads = {n.split(".")[1] for n, p in encoder.named_parameters() if not p.requires_grad and "pooler" not in n}
    assert heads <= {"classifier", "pre_classifier", "head"}
    assert heads


@pytest.mark.parametrize("architecture", ["bert", "data2vec-text"])
def test_nothing_of_a_fresh_head_is_left_undrawn(tmp_path: Path, architecture: str):
    """What memory holds is made NaN, where nothing is written into it."""
    path = checkpoint(tmp_path, architecture)
    torch.use_deterministic_algorithms(True)
    try:
        encoder = Encoder(path, ("a", "b"))
        MaskedLM().attach(encoder)
    finally:
        torch.use_deterministic_algorithms(False)
    assert all(p.isfinite().all() for p in encoder.parameters())


@pytest.mark.parametrize("method", OBJECTIVES)
def test_the_tie_holds(folder: str, method: type):
    encoder = fit(folder, [method()], max_steps=2).encoder
    words = encoder.model.get_input_embeddings().weight
    inside = [m.weight for m in encoder.parts.modules() if isinstance(getattr(m, "weight", None), Tensor)]
    assert sum(weight is words for weight in inside) == (1 if method is MaskedLM else 2)
    assert not torch.equal(words, Encoder(folder, ("0", "1")).model.get_input_embeddings().weight)


@pytest.mark.parametrize("method", OBJECTIVES)
def test_the_task_may_be_learnt_meanwhile(folder: str, method: type):
    alone, beside = method(rate=0.3), method(rate=0.3, task_weight=0.5)
    step, other = (take(attached(folder, own), batch(LENGTHS), own) for own in (alone, beside))
    (plain, ids), (value, _) = read(step, alone), read(other, beside)
    assert all(p.requires_grad for p in other._encoder.model.parameters())
    task = step.mean(task_losses(step.read(ids)[1], step.labels))
    torch.testing.assert_close(value, plain + 0.5 * task, rtol=0, atol=1e-12)


@pytest.mark.parametrize("method", OBJECTIVES)
def test_rows_without_a_word_count_for_nothing(folder: str, method: type):
    own = method(rate=0.3)
    inputs = batch(LENGTHS) | {"input_ids": torch.full((4, 12), UNK)}
    encoder = attached(folder, own)
    value = own.objective(take(encoder, inputs, own, logs=True))
    value.backward()
    assert value.isfinite()
    assert method is ReplacedTokens or value == 0
    assert all(p.grad.isfinite().all() for p in encoder.parameters() if p.requires_grad)


def detection(scores: Tensor, replaced: Tensor, mask: Tensor) -> Tensor:
    rows = []
    for score, label, real in zip(scores, replaced, mask, strict=True):
        terms = [-(s if y else -s).sigmoid().log() for s, y, m in zip(score, label, real, strict=True) if m]
        rows.append(torch.stack(terms).mean())
    return torch.stack(rows).mean()


def test_replaced_tokens(folder: str):
    own = ReplacedTokens(rate=0.4, weight=3.0, generator_layers=1)
    encoder, inputs = attached(folder, own, packing=False), batch(LENGTHS)
    step = take(encoder, inputs, own, logs=True)
    value, ids = read(step, own)
    part: Any = encoder.parts["ReplacedTokens"]
    found = mask_tokens(step.input_ids, step.mask, own._vocabulary, own._masking, step.generators("corruption"))
    assert (found.pick(found.ids) == MASK).all()
    made = part["generator"](input_ids=found.ids, attention_mask=step.mask).last_hidden_state
    # The generator is the encoder up to its first layer.
    below = encoder.model.bert(input_ids=found.ids, attention_mask=step.mask, output_hidden_states=True).hidden_states
    torch.testing.assert_close(made[step.mask.bool()], below[1][step.mask.bool()], rtol=0, atol=1e-12)
    chosen = [found.columns[found.rows == row].tolist() for row in range(4)]
    masked = port.loss(torch.stack([part["decoder"](row) for row in made]), step.input_ids, chosen)
    replaced = ids != step.input_ids
    told = detection(part["detector"](step.read(ids)[0]), replaced, step.mask)
    torch.testing.assert_close(value, masked + 3 * told, rtol=0, atol=1e-10)
    assert not replaced[found.ids == step.input_ids].any()
    assert step.log.tally.values()["ReplacedTokens/corrupted"] == pytest.approx(float(replaced.sum() / step.mask.sum()))


def test_no_gradient_passes_through_the_sampling(folder: str):
    found = []
    for weight in (0.0, 50.0):
        own = ReplacedTokens(rate=0.4, weight=weight, generator_layers=1)
        encoder = attached(folder, own)
        own.objective(take(encoder, batch(LENGTHS), own)).backward()
        found.append([p.grad for n, p in encoder.named_parameters() if ".generator." in n])
    assert found[0]
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-14)


def test_samples_follow_the_softmax():
    logits = torch.tensor([2.0, -1.0, float("-inf"), 1.0])
    draws = sample(
        logits.expand(40_000, 4), torch.rand(40_000, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    )
    torch.testing.assert_close(torch.bincount(draws, minlength=4) / 40_000, logits.softmax(0), rtol=0, atol=0.01)
    ends = torch.tensor([0.0, 1 - 1e-12], dtype=torch.float64)
    assert sample(logits.double().expand(2, 4), ends).tolist() == [0, 3]
    assert sample(logits[[2, 0]][None], ends[:1]).tolist() == [1]  # never one of probability 0


@pytest.mark.parametrize("method", OBJECTIVES)
def test_diagnostics_leave_filler_out(folder: str, method: type):
    own = method(rate=0.3)
    encoder, inputs = attached(folder, own), batch(LENGTHS)
    step = take(encoder, inputs | {"valid": torch.tensor([True, False, True, True])}, own, logs=True)
    _, ids = read(step, own)
    share = (ids != step.input_ids)[[0, 2, 3]].sum() / step.mask[[0, 2, 3]].sum()
    assert float(step.log.tally.values()[f"{own.name}/corrupted"]) == pytest.approx(float(share))
    assert 0 <= step.log.tally.values()[f"{own.name}/accuracy"] <= 1
    silent = take(encoder, inputs, own)
    own.objective(silent)
    assert silent.log.tally.values() == {}


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (partial(MaskedLM, rate=1.5), r"MaskedLM\.rate is 1\.5; it must lie between 0 and 1"),
        (partial(MaskedLM, span_max=0), r"MaskedLM\.span_max is 0; it must be 1 or more"),
        (partial(MaskedLM, mask_share=0.95), r"MaskedLM\.mask_share and MaskedLM\.random_share are shares of one"),
        (partial(MaskedLM, unit="piece"), r"MaskedLM\.unit is 'piece'; valid: token, word, span"),
        (partial(MaskedLM, replacement="pad"), r"MaskedLM\.replacement is 'pad'; valid: mask, unk"),
        (partial(MaskedLM, rate=0.0), r"MaskedLM\.rate and MaskedLM\.task_weight are 0"),
        (partial(ReplacedTokens, weight=-1.0), r"ReplacedTokens\.weight is -1\.0; it must be 0 or more"),
        (partial(ReplacedTokens, generator_layers=0), r"ReplacedTokens\.generator_layers is 0"),
    ],
)
def test_options_are_checked(make: partial[Regularizer], line: str):
    with pytest.raises(UsageError, match=line):
        make()


def test_what_a_backbone_must_have(tmp_path: Path):
    def line(method: Regularizer) -> str:
        with pytest.raises(UsageError) as error:
            method.attach(Encoder(path, ("a", "b")))
        assert "\n" not in str(error.value)
        return str(error.value)

    path = checkpoint(tmp_path, "bert")
    assert "backbone" in line(ReplacedTokens(generator_layers=3))
    settings = json.loads((tmp_path / "tokenizer_config.json").read_text())
    (tmp_path / "tokenizer_config.json").write_text(
        json.dumps({k: v for k, v in settings.items() if k != "mask_token"})
    )
    assert line(MaskedLM()).startswith("MaskedLM.replacement is mask: the tokenizer of backbone")
    saved = (tmp_path / "tokenizer.json").read_text()
    (tmp_path / "tokenizer.json").write_text(
        saved.replace('"continuing_subword_prefix": "##"', '"continuing_subword_prefix": ""')
    )
    assert "does not mark where words start; give token" in line(MaskedLM(unit="word", replacement="unk"))
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (tmp_path / name).unlink()
    assert "tokenizer" in line(MaskedLM())
