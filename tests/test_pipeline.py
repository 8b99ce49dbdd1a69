"""The one training step that carries every kind of method."""

import math
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.strategies import FSDPStrategy
from torch import nn
from torch.utils.data import DataLoader

from ftreg import ConflictError, FineTuner, Mixout, Noise, Slot, UsageError, deposit
from ftreg.core.method import check_claims
from ftreg.core.optimizer import AdamW
from tests import toys
from tests.models import ARCHITECTURES, batch, checkpoint
from tests.pipeline import RandomRows, difference, fit, quiet, state
from tests.reference import plain

STEADY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}


@pytest.fixture
def steady(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "steady", "bert", **STEADY)


@pytest.fixture
def noisy(tmp_path: Path) -> str:
    return checkpoint(tmp_path / "noisy", "bert")


def test_plain_is_a_bare_loop(steady: str):
    """The whole recipe, packed and through Lightning, against the loop written out."""
    import transformers

    quiet()
    data = RandomRows()
    model = FineTuner(steady, lr=1e-2, weight_decay=0.1)
    trainer = pl.Trainer(
        max_epochs=2, accelerator="cpu", precision="64-true", logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    start = FineTuner(steady, lr=1e-2)
    torch.set_default_dtype(torch.float64)
    start.configure_model()
    torch.set_default_dtype(torch.float32)
    trainer.fit(model, data)

    own = transformers.AutoModelForSequenceClassification.from_pretrained(steady, dtype=torch.float64)
    own.load_state_dict({k.removeprefix("encoder.model."): v.double() for k, v in start.state_dict().items()})
    own.train()
    steps = []
    for epoch in range(2):
        loader = data.train_dataloader()
        loader.sampler.set_epoch(epoch)
        for part in loader:
            inputs = {"input_ids": part["input_ids"], "attention_mask": part["attention_mask"]}
            steps.append(lambda inputs=inputs, labels=part["labels"]: [(inputs, labels)])
    plain.train(own, steps, lr=1e-2, decay=0.1)
    theirs = {f"encoder.model.{name}": tensor for name, tensor in own.state_dict().items()}
    assert difference(dict(model.state_dict()), theirs) < 1e-10


def test_the_real_parameters_are_back_after_a_fit(steady: str):
    model = fit(steady, [Mixout(p=0.9)], max_steps=1, options={"warmup": 0.0})
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())


def test_deposit_equals_keeping_every_graph(noisy: str):
    kept = fit(noisy, [toys.TwoBackwards(), Mixout(p=0.5)])
    given = fit(noisy, [toys.Ascent(), Mixout(p=0.5)])
    assert difference(state(kept), state(given)) < 1e-9


def test_deposit_adds_to_the_gradient_and_keeps_the_value():
    x, y = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    loss = deposit((x**2).sum(), [x, y], [torch.tensor([10.0, 20.0]), None])
    assert loss.item() == 5
    (3 * loss).backward()
    assert x.grad.tolist() == [3 * 12, 3 * 24]
    assert y.grad is None


def test_penalties_share_the_clean_forward(steady: str):
    passes = []

    class Count(pl.Callback):
        def on_train_start(self, trainer, module):
            module.encoder.register_forward_hook(lambda *args: passes.append(1))

        def on_train_batch_end(self, trainer, module, *args):
            if trainer.global_step == 1:
                assert len(passes) == 3  # one clean pass, and one of each penalty
            trainer.should_stop = True

    fit(steady, [toys.Jitter(), toys.Jitter2(), Count()], max_steps=1)
    assert len(passes) >= 3


def test_shared_noise_replays_dropout_and_fresh_noise_does_not(noisy: str):
    seen = {}

    class Look(toys.Regularizer):
        def penalty(self, step):
            zero = torch.zeros_like(step.embeds())
            seen["clean"], seen["shared"] = step.logits(), step.logits(zero)
            seen["fresh"], seen["next"] = step.logits(dropout="fresh"), step.logits(dropout="fresh")

    fit(noisy, [Look()], max_steps=1)
    assert torch.equal(seen["clean"], seen["shared"])
    assert not torch.equal(seen["clean"], seen["fresh"])
    assert not torch.equal(seen["fresh"], seen["next"])


def test_two_owners_of_a_slot_are_refused(steady: str):
    class Other(toys.Ascent):
        pass

    with pytest.raises(ConflictError, match="Ascent and Other both own OBJECTIVE") as found:
        fit(steady, [toys.Ascent(), Other()])
    assert "\n" not in str(found.value)
    check_claims([toys.Ascent(), toys.MeanHead()])


def test_an_objective_without_a_body_says_so():
    class Empty(toys.Regularizer):
        claims = frozenset({Slot.OBJECTIVE})

    with pytest.raises(NotImplementedError, match="Empty"):
        Empty().objective(None)


def test_sharded_strategies_are_refused(steady: str):
    model = FineTuner(steady)
    trainer = pl.Trainer(accelerator="cpu", logger=False, callbacks=[Mixout()])
    model.trainer = trainer
    trainer._accelerator_connector.strategy = FSDPStrategy.__new__(FSDPStrategy)
    with pytest.raises(UsageError, match=r"Mixout: not under FSDPStrategy.*strategy=ddp"):
        model.setup("fit")


@pytest.mark.parametrize("where", ["training_step", "backward"])
def test_a_failing_step_leaves_the_real_weights_and_dropout(noisy: str, where: str):
    model = FineTuner(noisy)

    class Fail(toys.Regularizer):
        def penalty(self, step):
            loss = step.loss()
            if where == "training_step":
                raise RuntimeError("on purpose")
            loss.register_hook(lambda gradient: (_ for _ in ()).throw(RuntimeError("on purpose")))
            return loss

    with pytest.raises(RuntimeError, match="on purpose"):
        fit(noisy, [Mixout(p=0.5, replace_dropout="all"), Fail()], model=model)
    assert all(isinstance(p, nn.Parameter) for p in model.parameters())
    assert all(m.p == 0.1 for m in model.modules() if isinstance(m, nn.Dropout))


def test_structure_is_rebuilt_from_a_checkpoint_without_a_trainer(steady: str, tmp_path: Path):
    model = fit(steady, [toys.MeanHead(), Mixout(p=0.3)], precision="32-true")
    path = str(tmp_path / "run.ckpt")
    model.trainer.save_checkpoint(path)
    torch.load(path, weights_only=True)
    again = FineTuner.load_from_checkpoint(path, weights_only=True)
    assert again.encoder.head is not None
    assert difference(dict(model.state_dict()), dict(again.state_dict())) == 0


def test_a_checkpoint_of_another_task_is_refused(steady: str, tmp_path: Path):
    path = str(tmp_path / "run.ckpt")
    fit(steady).trainer.save_checkpoint(path)
    with pytest.raises(UsageError, match="of another task: its labels are") as found:
        fit(steady, options={"labels": ("no", "yes")}, resume=path)
    assert "\n" not in str(found.value)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("labels", [(), ("a", "b")])
def test_every_architecture_trains_with_mixout(tmp_path: Path, architecture: str, labels):
    """From a plain loader of Hugging Face batches, with none of our optional entries."""
    quiet()
    parts = [{k: batch([9, 4, 7], seed=s)[k] for k in ("input_ids", "attention_mask", "labels")} for s in range(4)]
    method = Mixout(p=0.5)
    model = FineTuner(checkpoint(tmp_path, architecture), labels, lr=1e-3, warmup=0.0)
    trainer = pl.Trainer(
        max_epochs=1, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, callbacks=[method], num_sanity_val_steps=0,
    )  # fmt: skip
    trainer.fit(model, DataLoader(parts, batch_size=None), DataLoader(parts[:1], batch_size=None))
    name, anchor = next(iter(method._anchors.items()))
    assert not torch.equal(model.encoder.get_parameter(name), anchor)
    assert model.predictions["split0"].classes().shape == (3,)
    assert math.isfinite(trainer.callback_metrics["split0/loss"])


def test_streams_are_named():
    noise = Noise(seed=0, method="Mixout", step=3)

    def draw(*name, of=noise):
        return torch.rand(4, generator=of.generator(*name))

    assert torch.equal(draw("w"), draw("w"))
    others = [Noise(1, "Mixout", 3), Noise(0, "Other", 3), Noise(0, "Mixout", 4)]
    assert not any(torch.equal(draw("w"), draw("w", of=other)) for other in others)
    assert not torch.equal(draw("w"), draw("v"))
    assert not torch.equal(draw(12), draw(1, 2))
    # The same numbers on every machine, for good: a published run must stay repeatable.
    assert noise.generator("w").initial_seed() == 2106941242776277713


@pytest.mark.parametrize("fused", [True, False])
def test_decay_towards_zero_is_torchs_adamw(fused: bool):
    matrix, bias = (torch.randn(*shape, dtype=torch.float64) for shape in ((3, 4), (4,)))
    mine = [matrix.clone().requires_grad_(), bias.clone().requires_grad_()]
    theirs = [matrix.clone().requires_grad_(), bias.clone().requires_grad_()]
    ours = AdamW({"w": mine[0], "b": mine[1]}, {}, lr=0.1, weight_decay=0.3, fused=fused)
    stock = torch.optim.AdamW(
        [{"params": theirs[:1], "weight_decay": 0.3}, {"params": theirs[1:], "weight_decay": 0.0}], lr=0.1
    )
    for number in range(5):
        for group, optimizer in ((mine, ours), (theirs, stock)):
            for p in group:
                p.grad = torch.full_like(p, number - 1.5)
            optimizer.step()
    for p, q in zip(mine, theirs, strict=True):
        torch.testing.assert_close(p, q, rtol=0, atol=1e-12)


def test_decay_towards_an_anchor():
    """Without gradient, θ − θ₀ shrinks by 1 − ηw a step; what has no anchor shrinks towards zero; biases stay."""
    start = {"w": torch.full((2, 2), 3.0), "head": torch.full((2, 2), 3.0), "b": torch.full((2,), 3.0)}
    params = {name: value.clone().requires_grad_() for name, value in start.items()}
    optimizer = AdamW(params, {"w": torch.ones(2, 2), "b": torch.ones(2)}, lr=0.1, weight_decay=0.5)
    for _ in range(3):
        for p in params.values():
            p.grad = torch.zeros_like(p)
        optimizer.step()
    torch.testing.assert_close(params["w"].detach(), torch.full((2, 2), 1 + 2 * 0.95**3))
    torch.testing.assert_close(params["head"].detach(), torch.full((2, 2), 3 * 0.95**3))
    assert torch.equal(params["b"].detach(), start["b"])


def test_clipping_is_the_recipes_unless_the_trainer_has_its_own(steady: str):
    norms = {}

    class Norm(pl.Callback):
        def on_before_zero_grad(self, trainer, module, optimizer):
            total = [p.grad.norm() for p in module.parameters() if p.grad is not None]
            if total:
                norms[self.tag] = torch.stack(total).norm().item()

    for tag, options, trainer in (
        ("recipe", {"max_grad_norm": 1e-3}, {}),
        ("trainer", {"max_grad_norm": 1e-3}, {"gradient_clip_val": 1e-4}),
        ("off", {"max_grad_norm": 0.0}, {}),
    ):
        watch = Norm()
        watch.tag = tag
        fit(steady, [watch], options=options, **trainer)
    assert norms["recipe"] == pytest.approx(1e-3, rel=1e-3)
    assert norms["trainer"] == pytest.approx(1e-4, rel=1e-2)
    assert norms["off"] > 1e-2


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"lr": -1.0}, r"model\.lr is -1\.0"),
        ({"weight_decay": -1.0}, r"model\.weight_decay"),
        ({"warmup": 10.0}, r"model\.warmup is 10\.0; it is a fraction"),
        ({"labels": ("one",)}, r"model\.labels is \['one'\]"),
    ],
)
def test_options_are_checked(options, line: str):
    with pytest.raises(UsageError, match=line):
        FineTuner("demo", **options)


@pytest.mark.parametrize("kind", ["normal", "uniform"])
def test_noise_belongs_to_examples(noisy: str, kind):
    """The same rows in another order, with other padding, get the same noise; padding gets none."""
    quiet()
    seen = []

    class Look(toys.Regularizer):
        def penalty(self, step):
            seen.append((step.row_ids.tolist(), step.mask, step.noise("a", kind), step.noise("b", kind)))

    whole = batch([9, 4, 7, 12])
    part = {k: v[1:3] for k, v in whole.items()}
    part = {k: v[:, :7].flip(0) if torch.is_tensor(v) and v.ndim == 2 else v for k, v in part.items()}
    part |= {k: part[k].flip(0) for k in ("labels", "row_ids")} | {"lengths": [7, 4]}
    for parts in ([whole], [part]):
        trainer = pl.Trainer(
            max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False, callbacks=[Look()],
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(FineTuner(noisy), DataLoader(parts, batch_size=None))
    (_, mask, first, other), (rows, _, again, _) = seen
    assert rows == [2, 1]
    assert torch.equal(first[2, :7], again[0])
    assert torch.equal(first[1, :7], again[1])
    assert not torch.equal(first, other)
    assert not first[mask == 0].any()
    assert (first.abs().max() <= 1) == (kind == "uniform")


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
@pytest.mark.parametrize("precision", ["bf16-mixed", "bf16-true"])
def test_lower_precision_stays_near(steady: str, precision: str, attention: str):
    """Every kind of pass runs, and predicts what float32 does up to bf16's rounding (2⁻⁸ of numbers around 1)."""
    methods = [Mixout(p=0.5), toys.Ascent(), toys.Jitter()]
    full = fit(steady, methods, precision="32-true", options={"lr": 1e-4})
    low = fit(steady, methods, precision=precision, options={"lr": 1e-4, "attention": attention})
    moved = difference(dict(full.state_dict()), {n: t.float() for n, t in low.state_dict().items()})
    assert 0 < moved < 0.02
    torch.testing.assert_close(
        low.predictions["dev"].logits.float(), full.predictions["dev"].logits, rtol=0, atol=0.001
    )
    assert full.predictions["dev"].logits.std() > 0.003


def test_anchors_are_taken_once_every_structure_is_in_place(steady: str):
    """A method listed later that sets the start moves Mixout's anchor with it."""

    class Start(toys.Regularizer):
        def attach(self, encoder):
            if not encoder.start.passed:
                with torch.no_grad():
                    encoder.get_parameter(name).fill_(0.25)

    name = "model.bert.encoder.layer.0.output.dense.weight"
    method = Mixout(p=0.5)
    fit(steady, [method, Start()], max_steps=1)
    assert torch.equal(method._anchors[name], torch.full_like(method._anchors[name], 0.25))
