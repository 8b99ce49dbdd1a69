"""The engine: one result in every loop, none without its calls, and no method that does nothing without a word."""

import copy
import pickle
from collections.abc import Mapping
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
import transformers
from torch import Tensor

import ftreg
from ftreg import SMART, Engine, EngineModule, FreeLB, HeadFirst, LayerPooling, Mixout, UsageError
from ftreg.testing import CASES
from ftreg.testing.encoders import configuration
from tests.models import checkpoint

HEADS = {
    "ForSequenceClassification": {"num_labels": 3},
    "ForTokenClassification": {"num_labels": 3},
    "ForQuestionAnswering": {},
    "ForMultipleChoice": {},
    "ForMaskedLM": {},
}


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("encoder"), "bert")


def model_with(head: str, architecture: str = "bert", **changes: Any) -> Any:
    """A tiny model in float64 with that head."""
    config = configuration(architecture, **changes)
    with torch.random.fork_rng():
        torch.manual_seed(3)
        return getattr(transformers, f"AutoModel{head}").from_config(config).double().train()


def batch_for(head: str, seed: int = 0) -> dict[str, Tensor]:
    random = torch.Generator().manual_seed(seed)
    shape = (4, 2, 9) if head == "ForMultipleChoice" else (4, 9)
    lengths = torch.randint(4, 10, shape[:-1], generator=random)
    mask = (torch.arange(9) < lengths[..., None]).long()
    ids = torch.randint(5, 120, shape, generator=random) * mask
    batch = {"input_ids": ids, "attention_mask": mask}
    if head in ("ForTokenClassification", "ForMaskedLM"):
        return {**batch, "labels": torch.where(mask.bool(), ids % 3, -100)}
    if head == "ForQuestionAnswering":
        return {**batch, "start_positions": torch.tensor([0, 1, 2, 0]), "end_positions": torch.tensor([1, 3, 3, 9])}
    return {**batch, "labels": torch.tensor([0, 1, 1, 0])}


def train(engine: Engine, optimizer: Any, batch: Mapping[str, Any]) -> float:
    loss = engine(batch)
    loss.backward()
    engine.before_step()
    optimizer.step()
    optimizer.zero_grad()
    engine.after_step()
    return float(loss)


@pytest.mark.parametrize("head", [*HEADS])
def test_plain_is_the_models_own_loss(head: str) -> None:
    model, batch = model_with(head, **HEADS[head]).eval(), batch_for(head)
    criterion = {"ForTokenClassification": "TokenClassification", "ForMaskedLM": "MaskedLanguageModel"}.get(head)
    by_batch = None if criterion is None else getattr(ftreg.core.criteria, criterion)(reduction="batch")
    engine = Engine(model, criterion=by_batch)
    if head == "ForQuestionAnswering":  # transformers averages over the positions that are in the text
        batch["end_positions"][3] = 3
    expected = model(**batch).loss
    assert torch.allclose(engine.eval()(batch), expected, rtol=0, atol=1e-12)
    engine.train()
    model.eval()
    assert torch.allclose(engine(batch), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("head", [*HEADS])
def test_methods_train_any_head(head: str) -> None:
    model = model_with(head, **HEADS[head])
    keys = [*model.state_dict()]
    engine = Engine(model, [Mixout(p=0.5), FreeLB(), SMART()], total_steps=40)
    optimizer = torch.optim.AdamW(engine.parameters(), lr=5e-3)
    losses = [train(engine, optimizer, batch_for(head, seed=step % 2)) for step in range(24)]
    assert sum(losses[-4:]) < sum(losses[:4])
    assert [*engine.model.state_dict()] == keys
    assert set(engine.terms(batch_for(head))) == {"FreeLB", "SMART/smoothness", "SMART/bregman"}


def test_a_loop_that_leaves_a_call_out_is_told() -> None:
    def started() -> tuple[Engine, Any]:
        engine = Engine(model_with("ForSequenceClassification"), [Mixout(p=0.5)])
        engine(batch_for("ForSequenceClassification")).backward()
        return engine, torch.optim.SGD(engine.parameters(), lr=1e-3)

    engine, optimizer = started()
    with pytest.raises(UsageError, match=r"without engine\.before_step\(\)"):
        optimizer.step()
    engine, optimizer = started()
    engine.before_step()
    optimizer.step()
    with pytest.raises(UsageError, match=r"engine\.after_step\(\) was left out"):
        engine(batch_for("ForSequenceClassification"))
    engine, optimizer = started()
    with pytest.raises(UsageError, match=r"after_step\(\) without engine\.before_step"):
        engine.after_step()
    with pytest.raises(UsageError, match=r"without a forward of the engine"):
        Engine(model_with("ForSequenceClassification")).before_step()


def test_an_engine_that_is_never_asked_is_told() -> None:
    model = model_with("ForSequenceClassification")
    engine = Engine(model, [FreeLB(), Mixout()])
    optimizer = torch.optim.SGD(engine.parameters(), lr=1e-3)
    model(**batch_for("ForSequenceClassification")).loss.backward()
    with pytest.raises(UsageError, match="FreeLB, Mixout took no part: the loss is not engine"):
        optimizer.step()


def test_an_engine_that_is_left_over_does_not_complain() -> None:
    model = model_with("ForSequenceClassification")
    old = Engine(model, [FreeLB()])
    old(batch_for("ForSequenceClassification"))  # and then the loop was stopped
    new = Engine(model, [Mixout(p=0.5)])
    train(new, torch.optim.SGD(new.parameters(), lr=1e-3), batch_for("ForSequenceClassification"))
    assert new.number == 1


def test_a_copy_follows_its_own_loop() -> None:
    engine = copy.deepcopy(Engine(model_with("ForSequenceClassification"), [SMART()], total_steps=9))
    optimizer = torch.optim.SGD(engine.parameters(), lr=1e-3)
    train(engine, optimizer, batch_for("ForSequenceClassification"))
    assert engine.number == 1
    engine(batch_for("ForSequenceClassification")).backward()
    with pytest.raises(UsageError, match=r"without engine\.before_step\(\)"):
        optimizer.step()


def test_what_is_given_to_an_engine_is_checked() -> None:
    model: Any = model_with("ForSequenceClassification")
    for options, line in (
        ({"methods": FreeLB()}, "give a list"),
        ({"methods": [FreeLB]}, r"give instances of ftreg\.Regularizer"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"total_steps": 0}, "total_steps"),
        ({"criterion": "ce"}, "criterion"),
    ):
        with pytest.raises(UsageError, match=line):
            Engine(model, **options)
    with pytest.raises(UsageError, match="gradients, and they are off"), torch.no_grad():
        Engine(model, [FreeLB()])(batch_for("ForSequenceClassification"))
    with pytest.raises(UsageError, match="no parameter of the model is trainable"):
        Engine(model.requires_grad_(False))(batch_for("ForSequenceClassification"))


def test_a_step_that_is_none_is_not_counted() -> None:
    engine = Engine(model_with("ForSequenceClassification"), [SMART()], total_steps=9)
    optimizer = torch.optim.SGD(engine.parameters(), lr=1e-3)
    train(engine, optimizer, batch_for("ForSequenceClassification"))
    engine(batch_for("ForSequenceClassification")).backward()
    engine.before_step()
    engine.after_step()  # as where gradients have overflowed
    assert engine.number == 1
    for _ in range(2):  # an optimizer that is none of torch's
        engine(batch_for("ForSequenceClassification")).backward()
        engine.before_step()
        optimizer.step()
        optimizer.zero_grad()
        engine.after_step()
    assert engine.number == 3


def test_steps_by_hand_are_counted() -> None:
    engine = Engine(model_with("ForSequenceClassification"), [Mixout(p=0.5)])
    for number in range(2):
        assert engine.number == number
        engine(batch_for("ForSequenceClassification")).backward()
        engine.before_step()
        with torch.no_grad():
            for parameter in engine.parameters():
                if parameter.grad is not None:
                    parameter -= 1e-3 * parameter.grad
                    parameter.grad = None
        engine.after_step()


def test_what_a_method_adds_must_be_in_the_optimizer(backbone: str) -> None:
    model = model_with("ForSequenceClassification")
    engine = Engine(model, [LayerPooling()])
    with pytest.raises(UsageError, match=r"head\..* is in no optimizer and would not train"):
        train(engine, torch.optim.SGD(model.parameters(), lr=1e-3), batch_for("ForSequenceClassification"))


def test_weights_are_real_outside_of_passes() -> None:
    model = model_with("ForSequenceClassification")
    before = dict(model.named_parameters())
    engine = Engine(model, [Mixout(p=0.5)])
    loss = engine(batch_for("ForSequenceClassification"))
    assert all(p is before[name] for name, p in model.named_parameters())
    loss.backward()
    assert all(p is before[name] for name, p in model.named_parameters())
    state = torch.random.get_rng_state()
    engine(batch_for("ForSequenceClassification"))
    assert torch.equal(torch.random.get_rng_state(), state), "the loop's own random numbers go on"


@pytest.mark.parametrize("broken", [torch.zeros(4, 9), None])
def test_a_batch_that_does_not_fit_is_refused(broken: Any) -> None:
    engine = Engine(model_with("ForSequenceClassification", num_labels=3))
    batch: dict[str, Any] = batch_for("ForSequenceClassification")
    for change, line in (
        ({"idx": torch.arange(4)}, "takes no 'idx'"),
        ({"labels": None}, "no tensor 'labels'"),
        ({"labels": torch.rand(4, 3)}, r"labels has shape \[4, 3\]"),
        ({"input_ids": None}, "needs input_ids"),
        ({"row_ids": torch.rand(4)}, "row_ids must be 4 whole numbers"),
    ):
        with pytest.raises(UsageError, match=line):
            engine({**batch, **change})


def test_a_share_of_steps_needs_their_number() -> None:
    engine = Engine(model_with("ForSequenceClassification"), [HeadFirst(share=0.5)])
    with pytest.raises(UsageError, match=r"HeadFirst\.share .* give Engine\(total_steps"):
        engine(batch_for("ForSequenceClassification"))


class Foreign(pl.LightningModule):
    """A module that knows nothing of engines."""

    def __init__(self) -> None:
        super().__init__()
        self.model = model_with("ForSequenceClassification").float()

    def training_step(self, batch: Any, index: int) -> Tensor:
        loss: Tensor = self.model(**batch).loss
        return loss

    def configure_optimizers(self) -> Any:
        return torch.optim.SGD(self.parameters(), lr=0.1)


@pytest.mark.parametrize("name", [*CASES])
def test_a_module_without_an_engine_is_refused(name: str) -> None:
    module = Foreign()
    before = copy.deepcopy(module.state_dict())
    trainer = pl.Trainer(
        accelerator="cpu", max_steps=1, callbacks=[CASES[name].card()], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(UsageError, match=rf"{name} would do nothing: Foreign drives no engine") as found:
        trainer.fit(module, torch.utils.data.DataLoader([batch_for("ForSequenceClassification")], batch_size=None))
    assert len(str(found.value)) < 500
    assert all(torch.equal(value, before[key]) for key, value in module.state_dict().items())


def test_an_engine_that_a_module_has_but_never_asks_is_told() -> None:
    class Beside(EngineModule, Foreign):
        def __init__(self) -> None:
            super().__init__()
            self.engine = Engine(self.model, [FreeLB()])

    trainer = pl.Trainer(
        accelerator="cpu", max_steps=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    with pytest.raises(UsageError, match="without a forward of the engine: the methods took no part"):
        trainer.fit(Beside(), torch.utils.data.DataLoader([batch_for("ForSequenceClassification")], batch_size=None))


def test_draws_are_injected_in_one_place() -> None:
    seen: list[tuple[str, str]] = []

    class Replayed(ftreg.Noise):
        def mask(self, parameter: str, like: Tensor, drop: float) -> Tensor:
            seen.append((self.method, parameter))
            return torch.zeros_like(like)

        def perturbation(self, draw: str, row_ids: Any, places: Any, out: Tensor, kind: Any) -> Tensor:
            seen.append((self.method, draw))
            return out

    model = model_with("ForSequenceClassification")
    plain = Engine(copy.deepcopy(model))(batch_for("ForSequenceClassification"))
    engine = Engine(model, [Mixout(p=0.5), FreeLB(steps=1)], noise=Replayed)
    # Every weight falls back to where it started, and the only pass is the clean one.
    assert torch.allclose(engine(batch_for("ForSequenceClassification")), plain, rtol=0, atol=1e-12)
    assert ("FreeLB", "delta") in seen
    assert ("Mixout", "model.bert.encoder.layer.0.attention.self.query.weight") in seen


def test_row_ids_are_counted_where_there_are_none() -> None:
    def losses(named: bool) -> list[float]:
        engine = Engine(model_with("ForSequenceClassification"), [FreeLB()])
        rows = [{"row_ids": torch.arange(4) + 4 * n} if named else {} for n in range(2)]
        return [float(engine(batch_for("ForSequenceClassification") | row)) for row in rows]

    assert losses(True) == losses(False)
    assert losses(False)[0] != losses(False)[1]


def test_an_engine_can_be_pickled() -> None:
    engine = Engine(model_with("ForSequenceClassification"), [Mixout(p=0.5), SMART()], total_steps=9)
    again = pickle.loads(pickle.dumps(engine))
    ends = [
        train(e, torch.optim.SGD(e.parameters(), lr=1e-2), batch_for("ForSequenceClassification"))
        for e in (engine, again)
    ]
    assert ends[0] == ends[1]
    assert (engine.number, again.number) == (1, 1)


def test_methods_are_of_one_engine_alone() -> None:
    methods = [Mixout(p=0.5)]
    first = Engine(model_with("ForSequenceClassification"), methods)
    Engine(model_with("ForSequenceClassification"), methods)
    with pytest.raises(UsageError, match="Mixout was given to another engine since"):
        first(batch_for("ForSequenceClassification"))


def test_a_state_that_does_not_fit_is_refused() -> None:
    def built(*methods: Any, moved: float = 0.0) -> Engine:
        model = model_with("ForSequenceClassification")
        with torch.no_grad():
            for parameter in model.parameters():
                parameter += moved
        return Engine(model, methods, total_steps=9)

    for saved, other, line in (
        (built(Mixout(p=0.5)), built(FreeLB()), "the state is of Mixout, and the engine has FreeLB"),
        (built(Mixout(p=0.5)), built(Mixout(p=0.5), moved=0.1), "started from another model"),
        (built(LayerPooling()), built(LayerPooling(mix="concat")), "does not fit the methods: head"),
        (built(SMART(mu=0.0)), built(SMART(mu=1.0)), "SMART: the saved teacher is of other parameters"),
    ):
        with pytest.raises(UsageError, match=line):
            other.load_method_state(saved.method_state())
    with pytest.raises(UsageError, match="no state of an engine"):
        built().load_method_state({})


def test_a_skipped_step_does_not_disarm_the_next() -> None:
    seen = []

    class Look(ftreg.Regularizer):
        def before_step(self, encoder: Any, number: int) -> None:
            seen.append(number)

    engine = Engine(model_with("ForSequenceClassification"), [Look()])
    optimizer = torch.optim.SGD(engine.parameters(), lr=1e-3)
    train(engine, optimizer, batch_for("ForSequenceClassification"))
    engine(batch_for("ForSequenceClassification")).backward()
    engine.before_step()  # and the loop goes on without a step, as its gradient was not finite
    optimizer.zero_grad()
    train(engine, optimizer, batch_for("ForSequenceClassification"))
    assert seen == [0, 1, 1]


def test_a_total_that_was_given_stays_and_a_second_fit_counts_anew() -> None:
    class Own(EngineModule):
        def __init__(self, total: int | None) -> None:
            super().__init__()
            self.engine = Engine(model_with("ForSequenceClassification"), [HeadFirst(share=0.5)], total_steps=total)

        def training_step(self, batch: Any, index: int) -> Tensor:
            loss: Tensor = self.engine(batch)
            return loss

        def configure_optimizers(self) -> Any:
            return torch.optim.SGD(self.parameters(), lr=0.1)

    for total, expected in ((None, 2), (8, 8)):
        module, data = Own(total), [batch_for("ForSequenceClassification")] * 2
        for _ in range(2):
            trainer = pl.Trainer(
                accelerator="cpu", max_steps=2, logger=False, enable_checkpointing=False, enable_progress_bar=False,
                enable_model_summary=False,
            )  # fmt: skip
            trainer.fit(module, torch.utils.data.DataLoader(data, batch_size=None))
            assert (module.engine.total_steps, module.engine.number) == (expected, 2)
