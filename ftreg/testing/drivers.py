"""Every loop drives one engine through a short training of the same batches, and again with a break in it.

Each driver trains a tiny sentence classifier for `STEPS` optimizer steps of two micro-batches, with clipping, a
schedule and dropout, in float64. They end with the same weights, and a training that was broken off and taken up again
from what it has saved ends with the same bits as the whole one.
"""

import copy
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest import mock

import pytorch_lightning as pl
import torch
from lightning_fabric import Fabric
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import get_linear_schedule_with_warmup

from ftreg.core.engine import Engine
from ftreg.core.method import Regularizer
from ftreg.core.optimizer import adamw
from ftreg.lightning.finetuner import FineTuner
from ftreg.lightning.module import EngineModule
from ftreg.testing.fits import quiet

STEPS, BREAK, ACCUMULATE, CLIP, LR = 5, 3, 2, 0.5, 1e-3
Methods = Callable[[], Sequence[Regularizer]]
Weights = dict[str, Tensor]


def batches() -> list[dict[str, Any]]:
    """Return the micro-batches of the training: random tokens with names for their rows."""
    random = torch.Generator().manual_seed(5)
    found = []
    for number in range(STEPS * ACCUMULATE):
        lengths = torch.randint(3, 9, (4,), generator=random)
        mask = (torch.arange(9) < lengths[:, None]).long()
        ids = torch.randint(5, 120, (4, 9), generator=random)
        labels = torch.randint(0, 2, (4,), generator=random)
        rows = torch.arange(4) + 4 * number
        found.append({"input_ids": ids * mask, "attention_mask": mask, "labels": labels, "row_ids": rows})
    return found


def model_of(backbone: str) -> Any:
    """Return the network that every driver starts from, in float64."""
    torch.set_default_dtype(torch.float64)  # as Lightning does, for what is drawn
    try:
        tuner = FineTuner(backbone, packing=False)
        tuner.configure_model()
    finally:
        torch.set_default_dtype(torch.float32)
    model = copy.deepcopy(tuner.encoder.model).train()
    model.config.name_or_path = backbone
    return model


def recipe(engine: Engine) -> tuple[Any, Any]:
    """Return `FineTuner`'s optimizer and schedule for an engine."""
    rates = {name: lr for m in engine.methods for name, lr in m.learning_rates(engine.encoder).items()}
    optimizer = adamw(engine.encoder, LR, 0.01, "zero", True, rates)
    return optimizer, get_linear_schedule_with_warmup(optimizer, round(0.1 * STEPS), STEPS)


def plain(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train in a bare loop."""
    return _loop(backbone, methods, folder, broken, _Bare)


def fabric(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train in a loop of Lightning Fabric."""
    return _loop(backbone, methods, folder, broken, _Fabric)


def accelerate(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train in a loop of accelerate."""
    return _loop(backbone, methods, folder, broken, _Accelerate)


def finetuner(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train ftreg's own module."""

    def build() -> tuple[pl.LightningModule, Sequence[pl.Callback]]:
        return FineTuner(backbone, lr=LR, packing=False), methods()

    return _trainer(build, folder, broken)


def automatic(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train a LightningModule of one's own, whose methods are callbacks."""
    return _trainer(lambda: (_Module(Engine(model_of(backbone)), True), methods()), folder, broken)


def manual(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train a LightningModule of one's own under manual optimization, whose methods are its engine's."""
    return _trainer(lambda: (_Module(Engine(model_of(backbone), methods()), False), ()), folder, broken)


def hugging_face(backbone: str, methods: Methods, folder: Path, broken: bool) -> Weights:
    """Train with Hugging Face's Trainer."""
    import transformers

    from ftreg.huggingface import Trainer

    class Recipe(Trainer):
        def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
            self.optimizer, self.lr_scheduler = recipe(self.engine)
            return self.optimizer

    class Stop(transformers.TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
            control.should_training_stop = control.should_save = state.global_step == stop

    quiet()
    # The schedule is of the whole training, also in the part before the break.
    given: dict[str, Any] = {"max_steps": STEPS, "gradient_accumulation_steps": ACCUMULATE, "max_grad_norm": CLIP}
    given |= {"per_device_train_batch_size": 4, "train_sampling_strategy": "sequential", "seed": 0, "use_cpu": True}
    given |= {"disable_tqdm": True, "report_to": [], "logging_strategy": "no"}
    arguments = transformers.TrainingArguments(str(folder), **given)
    rows = [{key: value[row] for key, value in batch.items()} for batch in batches() for row in range(4)]
    for stop in (BREAK, STEPS) if broken else (STEPS,):
        trainer = Recipe(model_of(backbone), arguments, train_dataset=rows, methods=methods(), callbacks=[Stop()])
        trainer.remove_callback(transformers.PrinterCallback)
        with mock.patch("accelerate.utils.memory.gc"):  # it would look through all objects, for longer than this takes
            trainer.train(resume_from_checkpoint=stop == STEPS and broken)
    return ends(trainer.engine)


DRIVERS: Mapping[str, Callable[[str, Methods, Path, bool], Weights]] = {
    "plain loop": plain,
    "Fabric": fabric,
    "accelerate": accelerate,
    "FineTuner": finetuner,
    "own module": automatic,
    "own module, manual": manual,
    "Hugging Face's Trainer": hugging_face,
}


class _Bare:
    """These are the steps of a bare loop, which others wrap."""

    def __init__(self, engine: Engine, optimizer: Any) -> None:
        self.engine, self.optimizer = engine, optimizer

    def step(self, parts: Iterator[Mapping[str, Any]], schedule: Any) -> None:
        for batch in parts:
            (self.engine(batch) / ACCUMULATE).backward()
        self.update(schedule)

    def update(self, schedule: Any) -> None:
        raw = self.raw()
        raw.before_step()
        torch.nn.utils.clip_grad_norm_([p for p in raw.parameters() if p.grad is not None], CLIP)
        self.optimizer.step()
        schedule.step()
        self.optimizer.zero_grad()
        raw.after_step()

    def raw(self) -> Engine:
        return self.engine


class _Fabric(_Bare):
    def __init__(self, engine: Engine, optimizer: Any) -> None:
        self.fabric = Fabric(accelerator="cpu", devices=1)
        self._raw = engine
        wrapped, optimizer = self.fabric.setup(engine, optimizer)
        super().__init__(wrapped, optimizer)

    def step(self, parts: Iterator[Mapping[str, Any]], schedule: Any) -> None:
        for batch in parts:
            self.fabric.backward(self.engine(batch) / ACCUMULATE)
        self.update(schedule)

    def raw(self) -> Engine:
        return self._raw


class _Accelerate(_Bare):
    def __init__(self, engine: Engine, optimizer: Any) -> None:
        from accelerate import Accelerator

        self.accelerator = Accelerator(cpu=True, gradient_accumulation_steps=ACCUMULATE)
        self._raw = engine
        wrapped, optimizer = self.accelerator.prepare(engine, optimizer)
        super().__init__(wrapped, optimizer)

    def step(self, parts: Iterator[Mapping[str, Any]], schedule: Any) -> None:
        for batch in parts:
            # As its own examples write it: what is no step yet is called as one, and is none.
            with self.accelerator.accumulate(self.engine):
                self.accelerator.backward(self.engine(batch))
                self._raw.before_step()
                if self.accelerator.sync_gradients:
                    self.accelerator.clip_grad_norm_([p for p in self._raw.parameters() if p.grad is not None], CLIP)
                self.optimizer.step()
                if self.accelerator.sync_gradients:
                    schedule.step()
                self.optimizer.zero_grad()
                self._raw.after_step()

    def raw(self) -> Engine:
        return self._raw


def _loop(backbone: str, methods: Methods, folder: Path, broken: bool, kind: type[_Bare]) -> Weights:
    quiet()
    data, kept = batches(), folder / "kept.pt"
    for start, stop in ((0, BREAK), (BREAK, STEPS)) if broken else ((0, STEPS),):
        model = model_of(backbone)
        engine = Engine(model, methods(), total_steps=STEPS)
        optimizer, schedule = recipe(engine)
        if start:
            saved = torch.load(kept, weights_only=True)
            model.load_state_dict(saved["model"])
            engine.load_method_state(saved["methods"])
            optimizer.load_state_dict(saved["optimizer"])
            schedule.load_state_dict(saved["schedule"])
        loop = kind(engine, optimizer)
        for step in range(start, stop):
            loop.step(iter(data[step * ACCUMULATE : (step + 1) * ACCUMULATE]), schedule)
        parts = {"model": model, "optimizer": optimizer, "schedule": schedule}
        torch.save({name: p.state_dict() for name, p in parts.items()} | {"methods": engine.method_state()}, kept)
    return ends(engine)


def ends(engine: Engine) -> Weights:
    """Return all weights, and the teachers that follow them."""
    found = {name: p.detach().clone() for name, p in engine.encoder.named_parameters()}
    for method in engine.methods:
        teacher = method.state_dict().get("teacher", {})
        found |= {f"{method.name}/{name}": value.clone() for name, value in teacher.items()}
    return found


class _Module(EngineModule):
    def __init__(self, engine: Engine, automatic: bool) -> None:
        super().__init__()
        self.engine = engine
        self.automatic_optimization = automatic

    def training_step(self, batch: Mapping[str, Any], index: int) -> Tensor | None:
        loss: Tensor = self.engine(batch)
        if self.automatic_optimization:
            return loss
        self.manual_backward(loss / ACCUMULATE)
        if (index + 1) % ACCUMULATE == 0:
            optimizer: Any = self.optimizers()
            schedule: Any = self.lr_schedulers()
            self.engine.before_step()
            torch.nn.utils.clip_grad_norm_([p for p in self.engine.parameters() if p.grad is not None], CLIP)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
        return None

    def configure_optimizers(self) -> Any:
        optimizer, schedule = recipe(self.engine)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}


def _trainer(build: Callable[[], Any], folder: Path, broken: bool) -> Weights:
    quiet()
    resume = None
    for stop in (BREAK, STEPS) if broken else (STEPS,):
        module, callbacks = build()
        by_hand = not module.automatic_optimization
        last = ModelCheckpoint(folder, filename=f"{stop}", every_n_train_steps=stop, save_on_train_epoch_end=False)
        options = {} if by_hand else {"accumulate_grad_batches": ACCUMULATE, "gradient_clip_val": CLIP}
        trainer = pl.Trainer(
            accelerator="cpu",
            precision="64-true",
            max_steps=STEPS,
            max_epochs=1,
            # The schedule is of the whole training, also in the part before the break.
            callbacks=[*callbacks, last, *([_Stop(stop)] if stop < STEPS else [])],
            logger=False,
            enable_model_summary=False,
            enable_progress_bar=False,
            num_sanity_val_steps=0,
            **options,  # type: ignore[arg-type]
        )
        # Lightning goes on counting in the epoch, and takes a stock loader's batches from its start.
        taken = BREAK * ACCUMULATE if resume else 0
        data = [*batches()[taken:], *batches()[:taken]]
        trainer.fit(module, DataLoader(data, batch_size=None), ckpt_path=resume, weights_only=True)  # type: ignore[arg-type]
        resume = last.best_model_path
    return ends(module.engine)


class _Stop(pl.Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        trainer.should_stop = trainer.global_step >= self.step
