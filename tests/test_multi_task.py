"""MultiTask: heads of several tasks on one encoder, against a loop by hand; and what it leaves as it was.

How it is sharded, resumed and ordered is in `tests/test_exactness.py`.
"""

import copy
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import nn
from transformers import get_linear_schedule_with_warmup

from ftreg import FineTuner, LayerPooling, Mixout, UsageError
from ftreg.core.method import Regularizer
from ftreg.core.step import Step
from ftreg.functional import task_losses
from ftreg.methods.multi_task import MultiTask
from ftreg.testing import Case, clean, exported, null, reloading
from ftreg.testing.cases import ACTING
from ftreg.testing.encoders import STEADY
from tests.mixed import HEADS, MixedRows, fit
from tests.models import ARCHITECTURES, checkpoint
from tests.pipeline import difference, state
from tests.pipeline import fit as plain_fit

MAIN = "rte"
PARTS = {"other": "parts.MultiTask.other_head.", "score": "parts.MultiTask.score_head.", MAIN: "model.classifier."}


class Moved(pl.Callback):
    """Of each optimizer step, its task and whose heads change, `encoder` for what all share."""

    def __init__(self) -> None:
        self.steps: list[tuple[str, set[str]]] = []

    def on_train_batch_start(self, trainer, module, batch, index):
        self._before = {name: p.detach().clone() for name, p in module.encoder.named_parameters()}

    def on_train_batch_end(self, trainer, module, outputs, batch, index):
        now = dict(module.encoder.named_parameters())
        names = [name for name, p in self._before.items() if not torch.equal(p, now[name])]
        owners = {next((task for task, start in PARTS.items() if n.startswith(start)), "encoder") for n in names}
        self.steps.append((batch["task"], owners))


class Small(Regularizer):
    """R: gives every parameter a gradient, whatever the task."""

    def penalty(self, step: Step) -> torch.Tensor:
        return 0.01 * torch.stack([p.square().sum() for p in step.params.values()]).sum()


def several() -> list[Any]:
    return [Mixout(p=0.6, include_head=True), MultiTask(HEADS), ACTING()]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("noisy"), "bert")


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("steady"), "bert", **STEADY)


def test_only_the_head_in_use_moves(noisy: str):
    moved = Moved()
    model = fit(noisy, [MultiTask(HEADS), moved], options={"warmup": 0.0, "weight_decay": 0.5})
    tasks = [task for task, _ in moved.steps]
    assert set(tasks) == {MAIN, "other", "score"}
    assert moved.steps == [(task, {"encoder", task}) for task in tasks]
    optimizer = model.optimizers().optimizer
    for name, parameter in model.encoder.named_parameters():
        task = next((task for task, start in PARTS.items() if name.startswith(start)), None)
        assert optimizer.state[parameter]["step"] == (6 if task is None else tasks.count(task))


def test_an_idle_head_does_not_move_under_penalties(noisy: str):
    moved = Moved()
    fit(noisy, [*several(), Small(), moved], options={"warmup": 0.0})
    assert moved.steps == [(task, {"encoder", task}) for task, _ in moved.steps]


def test_it_is_the_loop_by_hand(steady: str):
    class Copy(pl.Callback):
        def on_train_start(self, trainer, module):
            self.encoder = copy.deepcopy(module.encoder)

    start = Copy()
    found = fit(steady, [MultiTask(HEADS), start])
    encoder = start.encoder
    heads = {task: encoder.get_submodule(f"{PARTS[task]}classifier") for task in HEADS}
    heads[MAIN] = encoder.model.classifier
    params = [*encoder.parameters()]
    decayed = [[p for p in params if (p.ndim >= 2) == matrix] for matrix in (True, False)]
    groups = [{"params": part, "weight_decay": decay} for part, decay in zip(decayed, (0.01, 0.0), strict=True)]
    optimizer = torch.optim.AdamW(groups, lr=1e-3)
    schedule = get_linear_schedule_with_warmup(optimizer, 1, 6)
    loader = MixedRows().train_dataloader()
    batches = []
    for epoch in range(2):
        loader.sampler.set_epoch(epoch)
        batches += list(loader)
    for batch in batches[:6]:
        base = encoder.model.bert(batch["input_ids"], batch["attention_mask"])
        task_losses(heads[batch["task"]](base.pooler_output), batch["labels"]).mean().backward()
        nn.utils.clip_grad_norm_(params, 1.0)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
    by_hand = {f"encoder.{name}": tensor for name, tensor in encoder.state_dict().items()}
    assert difference(found.state_dict(), by_hand) < 1e-9


@pytest.mark.parametrize("options", [{"gradient_checkpointing": True}, {"packing": False}], ids=str)
def test_recomputing_and_padding_change_nothing(steady: str, options: dict[str, bool]):
    assert difference(state(fit(steady, several())), state(fit(steady, several(), options=options))) < 1e-9


def test_smart_acts_beside_it(noisy: str):
    logged = fit(noisy, [MultiTask(HEADS), ACTING()], max_steps=3, log_every_n_steps=1).trainer.callback_metrics
    assert logged["train/SMART/delta_max"] == pytest.approx(1e-2)
    assert logged["train/SMART/smoothness"] > 0


def test_evaluation_uses_the_plain_head(steady: str):
    class Watch(pl.Callback):
        def __init__(self):
            self.gaps = []

        def on_train_start(self, trainer, module):
            self.head = module.encoder.model.classifier

        def on_validation_start(self, *args):
            self.logits = []

        def on_validation_batch_end(self, trainer, module, outputs, batch, index, dataloader_idx=0):
            pooled = module.encoder.model.bert(batch["input_ids"], batch["attention_mask"]).pooler_output
            self.logits.append(self.head(pooled))

        def on_validation_end(self, trainer, module):
            found, by_hand = module.predictions["dev"].logits, torch.cat(self.logits)
            self.gaps.append(difference({"logits": found}, {"logits": by_hand}))

    watch = Watch()
    fit(steady, [MultiTask(HEADS), watch], max_steps=4, val_check_interval=1)
    assert len(watch.gaps) == 4
    assert max(watch.gaps) < 1e-12


def test_no_task_beside_it_is_plain_bit_for_bit(tmp_path: Path):
    null(Case(partial(MultiTask, HEADS), null=partial(MultiTask, {})), tmp_path)


def test_batches_without_a_task_are_plain_but_for_the_new_heads(noisy: str):
    plain, found = state(plain_fit(noisy)), state(plain_fit(noisy, [MultiTask(HEADS)]))
    weights = {name: tensor for name, tensor in plain.items() if name.startswith("weights/")}
    assert difference(weights, {name: found[name] for name in weights}) == 0


def test_it_leaves_the_network_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    first = next(iter(MixedRows().train_dataloader()))
    assert first["task"] in HEADS  # in the only step that the contract takes
    monkeypatch.setattr("ftreg.testing.contracts.fit", fit)
    clean(Case(partial(MultiTask, HEADS), null=partial(MultiTask, {})), tmp_path)


def test_it_is_rebuilt_from_a_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("ftreg.testing.contracts.fit", fit)
    reloading(Case(partial(MultiTask, HEADS), null=partial(MultiTask, {})), tmp_path)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_heads_are_of_the_architectures_kind(tmp_path: Path, architecture: str):
    backbone = checkpoint(tmp_path, architecture)

    def attached(heads: dict[str, list[str]], seed: int = 0) -> FineTuner:
        model = FineTuner(backbone, init_seed=seed)
        model.configure_model()
        MultiTask(heads).attach(model.encoder)
        MultiTask(heads).attach(model.encoder)
        return model

    model = attached(HEADS)
    own = {n.removeprefix("model."): p for n, p in model.encoder.named_parameters() if n.startswith("model.")}
    own = {n: p for n, p in own.items() if model.encoder.in_head(f"model.{n}")}
    heads = {task: dict(model.encoder.get_submodule(PARTS[task][:-1]).named_parameters()) for task in HEADS}
    for task, classes in {"other": 3, "score": 1}.items():
        head = heads[task]
        assert head.keys() == own.keys()
        assert {p.shape[0] for n, p in head.items() if p.shape != own[n].shape} == {classes}
        for name, parameter in head.items():
            if name.endswith("bias"):
                assert not parameter.any()
            elif parameter.ndim == 1:  # of a LayerNorm
                assert (parameter == 1).all()
            else:
                # As wide as the architecture's own draw: ModernBERT's last layer is not drawn as its others.
                assert 0.6 < float(parameter.std() / own[name].std()) < 1.7
    same = attached({"more": ["x", "y"], "other": ["a", "b", "c"]}).encoder.get_submodule(PARTS["other"][:-1])
    assert difference(heads["other"], dict(same.named_parameters())) == 0
    redrawn = attached(HEADS, seed=1).encoder.get_submodule(PARTS["other"][:-1])
    assert difference(heads["other"], dict(redrawn.named_parameters())) > 1e-3
    moved = Moved()
    fit(backbone, [MultiTask(HEADS), moved], max_steps=4, options={"warmup": 0.0})
    assert {task for task, _ in moved.steps} == {MAIN, "other", "score"}


def test_any_task_may_have_a_head(noisy: str):
    model = FineTuner(noisy)
    model.configure_model()
    heads = {name: ["x", "y"] for name in ("keys", "v1.0", "v1-0")}
    MultiTask(heads).attach(model.encoder)
    assert len([name for name in model.state_dict() if name.endswith("_head.classifier.bias")]) == 3


def test_what_is_refused(noisy: str):
    with pytest.raises(UsageError, match=r"MultiTask\.heads\.one is \['x'\]; give two or more"):
        MultiTask({"one": ["x"]})
    with pytest.raises(UsageError, match="MultiTask and Head both decide how hidden states become logits"):
        fit(noisy, [MultiTask(HEADS), LayerPooling()])
    with pytest.raises(UsageError, match=r"MultiTask\.heads\.score is None; data\.also has \[\]"):
        fit(noisy, [MultiTask({"other": ["a", "b", "c"]})])


def test_it_is_no_method_to_list():
    """What needs the data to have other tasks is added from them, and keeps none of the promises without."""
    assert "MultiTask" not in exported()
