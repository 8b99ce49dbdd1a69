"""Hugging Face's Trainer drives an engine: its losses, accumulation, precisions, checkpoints and refusals."""

from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch.nn.functional as F
import transformers
from torch import Tensor

from ftreg import Engine, HeadFirst, UsageError
from ftreg.huggingface import Trainer
from tests.trainers import (
    HALVES,
    HEADS,
    STEPS,
    Widened,
    gap,
    methods,
    model,
    named,
    rows,
    summed,
    trained,
    weights,
)

# The loss of transformers' own Trainer


@pytest.mark.parametrize("kind", HEADS)
def test_without_methods_it_is_transformers_trainer(kind: str, tmp_path: Path) -> None:
    stock, ours = trained(transformers.Trainer, kind, tmp_path), trained(Trainer, kind, tmp_path)
    assert gap(stock, ours) < 1e-12
    assert [log.get("loss") for log in stock.state.log_history] == [log.get("loss") for log in ours.state.log_history]
    assert stock.model.config.problem_type == ours.model.config.problem_type
    accumulated = trained(Trainer, kind, tmp_path, HALVES)
    assert gap(stock, accumulated) < 1e-10  # not so with transformers' own, which has BERT's sums of means


def test_accumulated_tokens_as_transformers_where_it_counts_them(tmp_path: Path) -> None:
    steady = {"embedding_dropout": 0.0, "attention_dropout": 0.0, "mlp_dropout": 0.0}
    stock, ours = (
        trained(kind, "masked", tmp_path, HALVES, model=model("masked", "modernbert", **steady))
        for kind in (transformers.Trainer, Trainer)
    )
    assert gap(stock, ours) < 1e-6  # it computes this loss in float32


@pytest.mark.parametrize("kind", ["single", "tokens", "choice"])
def test_label_smoothing(kind: str, tmp_path: Path) -> None:
    smooth = {"label_smoothing_factor": 0.2}
    stock, ours = trained(transformers.Trainer, kind, tmp_path, smooth), trained(Trainer, kind, tmp_path, smooth)
    assert gap(stock, ours) < 1e-7  # it sums in float32
    assert gap(ours, trained(Trainer, kind, tmp_path)) > 1e-5  # and does something


@pytest.mark.parametrize("kind", ["single", "span"])
def test_an_unlabelled_row_does_not_count(kind: str, tmp_path: Path) -> None:
    none = {"single": {"labels": -100}, "span": {"end_positions": 8}}[kind]
    data = [{**row, **(none if number % 3 else {})} for number, row in enumerate(rows(kind))]
    stock, ours = (trained(t, kind, tmp_path, train_dataset=data) for t in (transformers.Trainer, Trainer))
    assert gap(stock, ours) < 1e-12


def averaged(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    return F.cross_entropy(outputs.logits.flatten(0, -2), labels.flatten(), label_smoothing=0.3)


@pytest.mark.parametrize(("kind", "function"), [("single", averaged), ("tokens", summed), ("tokens", averaged)])
def test_compute_loss_func(kind: str, function: Any, tmp_path: Path) -> None:
    stock, ours = (
        trained(t, kind, tmp_path, compute_loss_func=function, eval_dataset=rows(kind))
        for t in (transformers.Trainer, Trainer)
    )
    assert gap(stock, ours) < 1e-10
    assert stock.evaluate()["eval_loss"] == pytest.approx(ours.evaluate()["eval_loss"], abs=1e-7)
    assert gap(stock, trained(Trainer, kind, tmp_path, HALVES, compute_loss_func=function)) < 1e-10
    assert gap(ours, trained(Trainer, kind, tmp_path, compute_loss_func=function, methods=methods())) > 1e-5


def test_a_compute_loss_func_that_mixes_examples_is_refused(tmp_path: Path) -> None:
    def contrastive(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
        return (outputs.logits - outputs.logits.mean(0)).square().mean()

    with pytest.raises(UsageError, match=r"compute_loss_func gives .* one by one"):
        trained(Trainer, "single", tmp_path, compute_loss_func=contrastive)


# The step of the engine


@pytest.mark.parametrize("kind", ["tokens", "span"])
def test_it_ends_where_a_plain_loop_does(kind: str, tmp_path: Path) -> None:
    order: list[Any] = []

    class Noted(Trainer):
        def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
            found = super().get_batch_samples(*args, **kwargs)
            order.append(found[0])
            return found

    data = named(rows(kind))
    # With what goes by the head in both: an example counts as one, whatever the number of its labels.
    with mock.patch.dict("tests.trainers.COUNTED", clear=True):
        ours = trained(Noted, kind, tmp_path, HALVES, methods=methods(), train_dataset=data)
        otherwise = [trained(Trainer, kind, tmp_path, methods=m, train_dataset=data) for m in (methods(), [])]
    engine = Engine(model(kind), methods(), seed=ours.args.seed)
    optimizer = torch.optim.AdamW(engine.parameters(), lr=1e-3, weight_decay=0.0)
    for number, window in enumerate(order):
        for batch in window:
            items = sum(len(part["input_ids"]) for part in window)
            engine({**batch, "scale": 1 / items}).backward()
        engine.before_step()
        torch.nn.utils.clip_grad_norm_(engine.parameters(), 1.0)
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 - number / STEPS)
        optimizer.step()
        optimizer.zero_grad()
        engine.after_step()
    theirs = torch.cat([p.detach().flatten() for p in engine.model.parameters()])
    assert float((weights(ours) - theirs).abs().max()) < 1e-9
    # However a step is dealt out, for its rows are named.
    assert gap(ours, otherwise[0]) < 1e-9
    assert gap(ours, otherwise[1]) > 1e-5


def test_logs_have_the_terms_and_diagnostics(tmp_path: Path) -> None:
    ours = trained(Trainer, "single", tmp_path, {**HALVES, "logging_steps": 2}, methods=methods())
    log, *others = [log for log in ours.state.log_history if "loss" in log]
    assert log["step"] == 2
    assert not others
    assert {"train/FreeLB", "train/SMART/smoothness", "train/FreeLB/loss_rise", "train/loss"} <= log.keys()
    every = trained(Trainer, "single", tmp_path, {"logging_steps": 1}, methods=methods())
    assert every.state.log_history[0]["train/loss"] == pytest.approx(every.state.log_history[0]["loss"], rel=1e-6)


def test_parameters_of_methods_train_at_their_rates(tmp_path: Path) -> None:
    trainer = trained(Trainer, "masked", tmp_path, {"weight_decay": 0.1}, methods=[Widened()])
    groups = trainer.optimizer.param_groups
    assert [group["weight_decay"] for group in groups] == [0.1, 0.0, 0.0]
    assert groups[-1]["initial_lr"] == 0.5
    assert float(trainer.engine.encoder.parts["Widened"].weight.detach()) != 1


def test_phases_know_the_number_of_steps(tmp_path: Path) -> None:
    start = model("single").state_dict()
    trainer = trained(Trainer, "single", tmp_path, {"max_steps": 2}, methods=[HeadFirst(share=1.0)])
    assert trainer.engine.total_steps == 2
    moved = {name for name, tensor in trainer.model.state_dict().items() if not torch.equal(tensor, start[name])}
    assert moved
    assert all(name.startswith("classifier") for name in moved)
