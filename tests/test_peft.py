"""Models that PEFT has wrapped: LoRA is mixed as the weight that it stands for; all else is as without it."""

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import peft
import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from ftreg import Engine, EngineModule, FreeLB, HeadFirst, Mixout, UsageError, adamw
from ftreg.encoder.groups import group
from ftreg.encoder.noise import Noise
from ftreg.run.diagnostics import Diagnostics
from ftreg.testing import CASES
from ftreg.testing.contracts import EFFECT
from ftreg.testing.encoders import checkpoint
from ftreg.testing.given_models import batch, gradient, model, own_loss

LORA: dict[str, Any] = {"r": 4, "lora_alpha": 6, "target_modules": ["query", "value", "dense"], "task_type": "SEQ_CLS"}
TASKS = {"one label": "SEQ_CLS", "tokens": "TOKEN_CLS", "span": "QUESTION_ANS"}
TARGETS = {"modernbert": ["Wqkv", "Wo"], "albert": ["query", "value", "ffn"], "distilbert": ["q_lin", "lin1"]}


def tuned(head: str = "one label", architecture: str = "bert", kind: Any = peft.LoraConfig, **options: Any) -> Any:
    """A tiny model in float64 with adapters that have come away from their start."""
    targets = {"target_modules": TARGETS.get(architecture, LORA["target_modules"]), "task_type": TASKS[head]}
    given = LORA | targets if kind is peft.LoraConfig else targets
    with torch.random.fork_rng():
        torch.manual_seed(3)
        found = peft.get_peft_model(model(architecture, head), kind(**given | options)).double()
        for name, parameter in found.named_parameters():
            if "lora_B" in name or "hada" in name:
                torch.nn.init.normal_(parameter, std=0.1)
    return found.train()


def refusal(given: Any, *methods: Any) -> str:
    with pytest.raises(UsageError) as found:
        Engine(given, methods)(batch("one label"))
    line = str(found.value)
    assert "\n" not in line
    assert len(line) < 500
    return line


# Mixout


def by_hand(given: Any, p: float, step: int) -> tuple[Tensor, dict[str, Tensor]]:
    """The loss with merged weights that are mixed as the paper says, and the gradients of A and B by the chain rule."""
    scale, mixed = LORA["lora_alpha"] / LORA["r"], {}
    pairs = {}
    for name, layer in given.base_model.model.named_modules():
        if hasattr(layer, "lora_A"):
            weight = layer.base_layer.weight
            mask = Noise(0, "Mixout", step).mask(f"model.{name}.base_layer.weight", weight[0], p)
            merged = weight + scale * layer.lora_B.default.weight @ layer.lora_A.default.weight
            mixed[f"{name}.base_layer.weight"] = (weight + mask / (1 - p) * (merged - weight)).detach().requires_grad_()
            pairs[name] = (layer, mask / (1 - p))
    inner = given.base_model.model
    with given.disable_adapter():
        loss = torch.func.functional_call(inner, mixed, kwargs=batch("one label")).loss
    slopes = dict(zip(mixed, torch.autograd.grad(loss, [*mixed.values()]), strict=True))
    found = {}
    for name, (layer, kept) in pairs.items():
        slope = slopes[f"{name}.base_layer.weight"] * kept * scale
        a, b = layer.lora_A.default.weight, layer.lora_B.default.weight
        found[f"{name}.lora_A.default.weight"] = b.T @ slope
        found[f"{name}.lora_B.default.weight"] = slope @ a.T
    return loss, found


@pytest.mark.parametrize("rank_stabilised", [False, True])
def test_mixing_a_mixes_the_merged_weight(monkeypatch: pytest.MonkeyPatch, rank_stabilised: bool) -> None:
    given = tuned(use_rslora=rank_stabilised)
    if rank_stabilised:
        monkeypatch.setitem(LORA, "lora_alpha", LORA["lora_alpha"] * LORA["r"] ** 0.5)
    engine = Engine(given, [Mixout(p=0.6)]).train()
    engine.model.eval()  # without dropout
    loss = engine(batch("one label"))
    loss.backward()
    expected, slopes = by_hand(given, 0.6, 0)
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=0)
    own = dict(given.base_model.model.named_parameters())
    assert slopes
    for name, slope in slopes.items():
        gradient = own[name].grad
        assert gradient is not None
        torch.testing.assert_close(gradient, slope, rtol=1e-10, atol=1e-13)
    with given.disable_adapter():
        engine.model.eval()
        assert not torch.allclose(expected, given(**batch("one label")).loss)


def test_adapters_that_transformers_has_put_in_are_mixed_alike() -> None:
    given = model("bert", "one label")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        given.add_adapter(peft.LoraConfig(**LORA | {"task_type": None}))
    method = Mixout()
    Engine(given, [method])
    assert method._anchors.keys() == {
        f"model.{name}" for name, p in given.named_parameters() if "lora_A" in name and p.requires_grad
    }
    assert not any(anchor.any() for anchor in method._anchors.values())


def test_all_mixed_is_the_pretrained_model() -> None:
    given = tuned()
    engine = Engine(given, [Mixout(p=1.0)]).train()
    engine.model.eval()
    loss = engine(batch("one label"))
    with given.disable_adapter():
        plain = given(**batch("one label")).loss
    # PEFT's disabling takes its own copy of the head away as well: both are the same at the start.
    torch.testing.assert_close(loss, plain, rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"granularity": "weight"}, "^Mixout.granularity=weight: not with .*BertForSequence.*; give unit$"),
        ({"anchor": "zero"}, "^Mixout.anchor=zero: not with .*; give pretrained$"),
        ({"gradient": "reference"}, "^Mixout.gradient=reference: not with .*; give exact$"),
    ],
)
def test_options_of_mixout_that_have_no_meaning_for_a_product(options: Any, line: str) -> None:
    with pytest.raises(UsageError, match=line):
        Engine(tuned(), [Mixout(**options)])


def several() -> Any:
    given = tuned(task_type=None)
    given.add_adapter("second", peft.LoraConfig(**LORA | {"task_type": None}))
    given.base_model.set_adapter(["default", "second"])
    return given


def merged() -> Any:
    given = tuned()
    given.merge_adapter()
    return given


def olora() -> Any:
    return peft.get_peft_model(model("bert", "one label").float(), peft.LoraConfig(**LORA, init_lora_weights="olora"))


ON_TABLES = {"target_modules": ["word_embeddings"]}
UNMIXED: dict[str, tuple[Any, str]] = {
    "DoRA": (partial(tuned, use_dora=True), "not linear in A"),
    "OLoRA": (olora, "takes a part out of the pre-trained weight"),
    "several": (several, "has 2 active adapters (default, second)"),
    "merged": (merged, "is merged or disabled"),
    "a parameter": (partial(tuned, target_modules=[], target_parameters=["query.weight"]), "no Linear layer"),
    "embeddings": (partial(tuned, **ON_TABLES), "no trainable Linear"),
    "LoHa": (partial(tuned, kind=peft.LoHaConfig), "is adapted by LOHA"),
    "IA3": (
        partial(tuned, kind=peft.IA3Config, target_modules=["key", "value"], feedforward_modules=[]),
        "is adapted by IA3",
    ),
}


@pytest.mark.parametrize("name", UNMIXED)
def test_adapters_that_cannot_be_mixed_are_refused_and_train_otherwise(name: str) -> None:
    make, reason = UNMIXED[name]
    line = refusal(make(), Mixout())
    assert line.startswith("Mixout: ")
    assert reason in line
    if name not in ("merged", "OLoRA"):
        loss, _ = gradient(make(), batch("one label"), None, "one label")
        torch.testing.assert_close(loss, own_loss(make(), batch("one label")).detach(), rtol=1e-12, atol=0)


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (partial(peft.PromptTuningConfig, num_virtual_tokens=2), "puts tokens of its own before the text"),
        (partial(peft.PrefixTuningConfig, num_virtual_tokens=2), "puts tokens of its own before the text"),
        (partial(peft.AdaLoraConfig, target_modules=["query"], total_step=9), "AdaLoraModel does more in a pass"),
    ],
)
def test_what_changes_more_than_layers_is_refused(kind: Any, line: str) -> None:
    given = peft.get_peft_model(model("bert", "one label"), kind(task_type="SEQ_CLS"))
    assert line in refusal(given, FreeLB())


def test_a_head_that_does_not_train_cannot_go_first() -> None:
    line = refusal(tuned(task_type=None), HeadFirst())
    assert line.startswith("HeadFirst: not with BertForSequenceClassification: no part of its head")


# Every other method


@pytest.mark.parametrize("architecture", ["bert", "albert", "modernbert", "distilbert"])
def test_every_method_trains_adapters(architecture: str) -> None:
    for place, (name, case) in enumerate(CASES.items()):
        if name in ("MaskedLM", "ReplacedTokens", "TwoStage"):  # of a backbone's files
            continue
        head = "one label" if name == "LayerPooling" or architecture == "modernbert" else [*TASKS][place % len(TASKS)]
        make = partial(tuned, head, architecture, lora_dropout=0.1)
        plain_loss, plain = gradient(make(), batch(head), None, head)
        torch.testing.assert_close(plain_loss, own_loss(make(), batch(head)).detach(), rtol=1e-12, atol=0)
        found = gradient(make(), batch(head), case.card(), head)[1]
        shared = plain.keys() & found.keys()
        change = norm([found[key] - plain[key] for key in shared]) / norm([*plain.values()])
        assert change >= EFFECT, name
        if case.null is not None:
            null = gradient(make(), batch(head), case.null(), head)[1]
            assert all(torch.equal(value, plain[key]) for key, value in null.items()), name


def norm(values: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(values))


def test_a_teacher_follows_what_trains() -> None:
    engine = Engine(tuned(), [CASES["SMART"].card()])
    (method,) = engine.methods
    trains = {name for name, p in engine.encoder.named_parameters() if p.requires_grad}
    assert method.state_dict()["teacher"].keys() == trains
    assert any("lora_A" in name for name in trains)


# Around the training


def step(engine: Engine, optimizer: torch.optim.Optimizer) -> None:
    engine(batch("one label")).backward()
    engine.before_step()
    optimizer.step()
    optimizer.zero_grad()
    engine.after_step()


def test_it_is_saved_and_loaded_as_peft_does(tmp_path: Path) -> None:
    folder = checkpoint(tmp_path / "encoder", "bert")
    with torch.random.fork_rng():
        torch.manual_seed(3)
        given = peft.get_peft_model(model(folder, "one label"), peft.LoraConfig(**LORA))
    engine = Engine(given, [Mixout(), FreeLB()])
    optimizer = adamw(engine, lr=1e-2)
    for _ in range(3):
        step(engine, optimizer)
    engine.model.save_pretrained(tmp_path / "adapter")
    again = peft.PeftModel.from_pretrained(model(folder, "one label"), str(tmp_path / "adapter")).eval()
    inputs = {key: value for key, value in batch("one label").items() if key != "labels"}
    before = model(folder, "one label").eval()(**inputs).logits
    assert torch.equal(engine.eval().predict(inputs), again(**inputs).logits)
    assert not torch.allclose(again(**inputs).logits, before, atol=1e-2)
    resumed = Engine(
        peft.PeftModel.from_pretrained(model(folder, "one label"), str(tmp_path / "adapter"), is_trainable=True),
        [Mixout(), FreeLB()],
    )
    resumed.load_method_state(engine.method_state())
    assert torch.equal(resumed(batch("one label")), engine.train()(batch("one label")))


@pytest.mark.parametrize("towards", ["zero", "anchor"])
def test_adamw_pulls_what_trains(towards: Any) -> None:
    engine = Engine(tuned())
    start = {name: p.detach().clone() for name, p in engine.encoder.named_parameters()}
    optimizer = adamw(engine, lr=0.1, weight_decay=0.5, decay_towards=towards)
    for p in engine.parameters():
        if p.requires_grad:
            p.grad, p.data = torch.zeros_like(p), p.data + 1
    optimizer.step()
    for name, p in engine.encoder.named_parameters():
        if "lora_" in name:
            anchor = start[name] if towards == "anchor" else torch.zeros_like(p)
            torch.testing.assert_close(p.detach(), anchor + 0.95 * (start[name] + 1 - anchor), rtol=0, atol=1e-12)
        elif not p.requires_grad:
            assert torch.equal(p, start[name])


class Classifier(EngineModule):
    """A module of a user's own."""

    def __init__(self) -> None:
        super().__init__()
        self.engine = Engine(tuned(), [Mixout()])

    def training_step(self, inputs: Mapping[str, Tensor], batch_idx: int) -> Tensor:
        return self.engine(inputs)

    def configure_optimizers(self) -> Any:
        return adamw(self.engine, lr=1e-2)


class Kept(pl.loggers.CSVLogger):
    """Keeps what was logged."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.rows: dict[str, float] = {}

    def log_metrics(self, metrics: Any, step: int | None = None) -> None:
        self.rows |= metrics


def test_diagnostics_measure_what_trains(tmp_path: Path) -> None:
    module, logger = Classifier(), Kept(tmp_path)
    encoder = module.engine.encoder
    start = {name: p.detach().clone() for name, p in encoder.named_parameters()}
    trainer = pl.Trainer(
        accelerator="cpu", max_epochs=1, logger=logger, callbacks=[Diagnostics()], log_every_n_steps=1,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(module, torch.utils.data.DataLoader([batch("one label")] * 2, batch_size=None))
    moved = {name: p.detach() - start[name] for name, p in encoder.named_parameters() if p.requires_grad}
    lora = [name for name in moved if "lora_" in name]
    assert all(bool(moved[name].any()) for name in lora)
    first = [moved[name].flatten() for name in lora if ".layer.0." in name]
    assert logger.rows["distance/layer_00"] == pytest.approx(float(torch.cat(first).norm()), rel=1e-6)
    below = [name for name in moved if not encoder.in_head(name)]
    length = torch.cat([start[name].flatten() for name in below]).norm()
    relative = torch.cat([moved[name].flatten() for name in below]).norm() / length
    assert logger.rows["distance/relative"] == pytest.approx(float(relative), rel=1e-6)
    assert logger.rows["grad_norm/layer_00"] > 0
    assert "grad_norm/embeddings" not in logger.rows


def test_parts_that_are_called_as_no_module_are_in_their_layer() -> None:
    encoder = Engine(tuned(kind=peft.IA3Config, target_modules=["key", "value"], feedforward_modules=[])).encoder
    own = [name for name, _ in encoder.named_parameters() if "ia3" in name]
    assert own
    assert all(group(encoder, name) == f"layer_0{name.split('.layer.')[1][0]}" for name in own)
