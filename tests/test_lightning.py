"""Lightning's own callbacks, options and strategies: each works, or is refused before anything starts.

The tables of `ftreg.lightning.tried` are compared with the installed Lightning: what a later one adds has to be
tried first.
"""

import importlib
import inspect
import pkgutil
from pathlib import Path
from typing import Any, get_args, get_type_hints

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning import callbacks as theirs
from pytorch_lightning.cli import SaveConfigCallback
from pytorch_lightning.plugins import BitsandbytesPrecision
from pytorch_lightning.strategies import StrategyRegistry
from torch import nn

from ftreg import FineTuner, Mixout, UsageError
from ftreg.lightning.compatibility import check_callbacks, check_options, check_precision, check_trainer, watches
from ftreg.lightning.tried import ALIASES, CALLBACKS, OPTIONS, PLUGINS, PRECISIONS, STRATEGIES, document
from ftreg.run.ending import Stopping
from ftreg.testing.encoders import checkpoint
from ftreg.testing.fits import RandomRows, difference, every_step, fit, state
from tests.test_diagnostics import Attach, Kept


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("encoder"), "bert")


@pytest.fixture(scope="module")
def plain(backbone: str) -> dict[str, torch.Tensor]:
    return state(fit(backbone, [Mixout(p=0.5)]))


def _callbacks() -> dict[str, type]:
    """Every public callback class in the modules of `pytorch_lightning.callbacks`."""
    found: dict[str, type] = {"SaveConfigCallback": SaveConfigCallback}
    for module in pkgutil.walk_packages(theirs.__path__, "pytorch_lightning.callbacks."):
        for name, cls in vars(importlib.import_module(module.name)).items():
            if isinstance(cls, type) and issubclass(cls, pl.Callback) and not name.startswith("_"):
                found[name] = cls
    return {name: cls for name, cls in found.items() if cls is not pl.Callback}


def test_every_callback_of_lightning_has_been_tried():
    assert _callbacks().keys() == CALLBACKS.keys()


def test_every_trainer_option_has_been_tried():
    assert inspect.signature(pl.Trainer).parameters.keys() == OPTIONS.keys()


def test_every_strategy_precision_and_plugin_has_been_tried():
    unknown = [name for name in StrategyRegistry.available_strategies() if not any(part in name for part in STRATEGIES)]
    assert unknown == []
    asked = {str(v) for part in get_args(get_type_hints(pl.Trainer.__init__)["precision"]) for v in get_args(part)}
    assert {ALIASES.get(name, name) for name in asked} == PRECISIONS.keys()
    import pytorch_lightning.plugins as plugins

    assert set(plugins.__all__) == PLUGINS.keys()


def test_the_document_is_of_these_tables():
    assert (Path(__file__).parents[1] / "experiments" / "lightning.md").read_text() == document()


REFUSED = [name for name, tried in CALLBACKS.items() if tried.refused]


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_callback_is_named_with_what_to_do_instead(name: str):
    own = type("Mine", (_callbacks()[name],), {})
    for cls in (_callbacks()[name], own):
        with pytest.raises(
            UsageError, match=rf"trainer.callbacks: {cls.__name__} does not work here: .*(give|prune|tells)"
        ):
            check_callbacks([cls])


MADE: list[Any] = [
    lambda: theirs.StochasticWeightAveraging(1e-3),
    theirs.BackboneFinetuning,
    lambda: theirs.LearningRateFinder(num_training_steps=2),
    theirs.BatchSizeFinder,
    lambda: theirs.GradientAccumulationScheduler({0: 2}),
    lambda: theirs.ModelPruning("l1_unstructured"),
    lambda: theirs.SpikeDetection(),
]


@pytest.mark.parametrize("make", MADE)
def test_a_fit_with_it_does_not_start(backbone: str, make: Any):
    model, callback = FineTuner(backbone), make()
    with pytest.raises(UsageError, match=rf"trainer.callbacks: {type(callback).__name__} does not work here"):
        fit(backbone, [callback], model=model)
    assert not hasattr(model, "encoder")


def test_what_only_watches_changes_nothing(backbone: str, plain: dict[str, torch.Tensor], tmp_path: Path):
    class Mine(pl.Callback):
        """Of one's own: passes."""

    watching = [
        theirs.LearningRateMonitor(),
        theirs.ThroughputMonitor(batch_size_fn=lambda batch: len(batch["labels"]), window_size=2),
        theirs.ModelSummary(),
        theirs.RichModelSummary(),
        theirs.TQDMProgressBar(),
        theirs.ModelCheckpoint(tmp_path, every_n_train_steps=2),
        theirs.OnExceptionCheckpoint(tmp_path),
        theirs.LambdaCallback(on_train_start=lambda *_: None),
        theirs.Timer("00:01:00:00"),
        theirs.EarlyStopping("dev/loss", patience=9),
        Mine(),
    ]
    assert all(watches(type(callback)) for callback in watching[:7])
    assert not any(watches(type(callback)) for callback in watching[7:])
    kept = Kept()
    found = fit(
        backbone, [Attach(kept), Mixout(p=0.5), *watching], log_every_n_steps=1, enable_checkpointing=True,
        enable_progress_bar=True, val_check_interval=2,
    )  # fmt: skip
    assert difference(state(found), plain) == 0
    assert len(kept.of("lr-AdamW")) == 6
    assert len([*tmp_path.iterdir()]) == 1


HARMLESS: dict[str, Any] = {
    "reload_dataloaders_every_n_epochs": 1,
    "inference_mode": False,
    "deterministic": True,
    "benchmark": False,
    "detect_anomaly": True,
    "use_distributed_sampler": False,
    "sync_batchnorm": True,
    "profiler": "simple",
    "max_time": "00:01:00:00",
    "min_steps": 3,
    "min_epochs": 1,
    "check_val_every_n_epoch": 2,
    "enable_autolog_hparams": False,
    "model_registry": "x",
    "log_every_n_steps": 0,
    "limit_val_batches": 1,
    "gradient_clip_val": 1.0,
}


def test_options_that_change_nothing(backbone: str, plain: dict[str, torch.Tensor], tmp_path: Path):
    """Nor where a run is gone on with."""
    methods = [Mixout(p=0.5)]
    try:
        found = state(fit(backbone, [*methods, every_step(tmp_path)], **{**HARMLESS, "enable_checkpointing": True}))
        assert difference(found, plain) == 0
        (fifth,) = tmp_path.glob("*step=5.ckpt")
        assert difference(state(fit(backbone, methods, resume=str(fifth), **HARMLESS)), plain) == 0
    finally:
        torch.use_deterministic_algorithms(False)
    assert difference(state(fit(backbone, methods, barebones=True)), plain) == 0


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ({"overfit_batches": 2}, r"trainer\.overfit_batches: rows are dealt anew .* set data\.train_subset"),
        ({"limit_train_batches": 2}, r"trainer\.limit_train_batches: runs are recorded whole"),
        ({"gradient_clip_algorithm": "value"}, r"trainer\.gradient_clip_algorithm: it says how gradient_clip_val"),
        ({"precision": "16-true"}, r"trainer\.precision=16-true does not work here: .* give 16-mixed"),
    ],
)
def test_options_are_refused_from_python(backbone: str, option: dict[str, Any], line: str):
    model = FineTuner(backbone)
    with pytest.raises(UsageError, match=line):
        fit(backbone, model=model, **option)
    assert not hasattr(model, "encoder")


@pytest.mark.parametrize(
    ("option", "line"),
    [
        ({"limit_val_batches": 1}, "limit_val_batches: runs are recorded whole"),
        ({"limit_test_batches": 0.5}, "limit_test_batches: runs are recorded whole"),
        ({"limit_predict_batches": 1}, "limit_predict_batches: predictions are written whole"),
        ({"overfit_batches": 1}, "overfit_batches: rows are dealt anew"),
        ({"overfit_batches": 0.25}, "overfit_batches: rows are dealt anew"),
        ({"max_steps": 0}, "max_steps: there is nothing to train"),
        ({"max_epochs": 0}, "max_epochs: there is nothing to train"),
        ({"min_steps": 9, "max_steps": 8}, "min_steps: it is more than"),
        ({"min_epochs": 3, "max_epochs": 2}, "min_epochs: it is more than"),
        ({"val_check_interval": "00:00:01:00"}, "val_check_interval: how often"),
        ({"val_check_interval": {"minutes": 1}}, "val_check_interval: how often"),
        ({"enable_checkpointing": False}, "enable_checkpointing: the record needs"),
        ({"barebones": True}, "barebones: the record needs"),
        ({"plugins": ["AsyncCheckpointIO"]}, "plugins: the record reads"),
        ({"precision": "transformer-engine"}, "precision=transformer-engine does not work here"),
        ({"strategy": "ddp_spawn_find_unused_parameters_true"}, "strategy=.* does not come back"),
        ({"strategy": "ddp_notebook"}, r"strategy=.* give trainer\.devices=1"),
        ({"strategy": "deepspeed_stage_3"}, "strategy=.* splits parameters"),
        ({"strategy": "fsdp"}, "strategy=.* splits parameters"),
        ({"strategy": "single_xla"}, "strategy=.* TPU"),
    ],
)
def test_options_are_refused_where_a_record_is_left(option: dict[str, Any], line: str):
    with pytest.raises(UsageError, match=rf"^trainer\.{line}"):
        check_options(option, recorded=True)


def test_what_is_not_refused():
    check_options({"fast_dev_run": 1, "limit_val_batches": 1, "strategy": "ddp", "precision": "16"}, recorded=True)
    check_options({"min_steps": 3, "max_steps": -1, "val_check_interval": 0.5, "limit_val_batches": 1.0}, recorded=True)
    check_options({"max_steps": 0, "limit_val_batches": 1, "barebones": True}, recorded=False)


def test_strategies_and_plugins_that_are_objects():
    spawning = pl.Trainer(accelerator="cpu", logger=False, strategy="ddp_spawn")
    with pytest.raises(UsageError, match=r"trainer.strategy does not work here: what its processes have trained"):
        check_trainer(spawning)
    quantised: Any = pl.Trainer(accelerator="cpu", logger=False)
    quantised.strategy.precision_plugin = BitsandbytesPrecision.__new__(BitsandbytesPrecision)
    with pytest.raises(UsageError, match=r"trainer.plugins: BitsandbytesPrecision does not work here"):
        check_trainer(quantised)


def test_a_precision_that_lightning_replaces_is_refused():
    trainer = pl.Trainer(accelerator="cpu", logger=False, precision="16-mixed")
    for asked in ("16-mixed", "16", 16):
        with pytest.raises(UsageError, match=r"16-mixed is not to be had .* give trainer\.precision=bf16-mixed"):
            check_precision(asked, trainer)
    check_precision("bf16", trainer)


class Weights(pl.Callback):
    """The weights after each optimizer step, and those that each evaluation uses."""

    def __init__(self) -> None:
        self.after: list[torch.Tensor] = []
        self.evaluated: list[torch.Tensor] = []

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        if trainer.global_step > len(self.after):
            self.after.append(nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone())

    def on_validation_batch_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *_: Any) -> None:
        self.evaluated.append(nn.utils.parameters_to_vector(pl_module.parameters()).detach().clone())


@pytest.mark.parametrize("decay", [None, 0.5])
def test_averaged_weights_are_the_average_and_are_evaluated(backbone: str, decay: float | None, tmp_path: Path):
    def average() -> pl.Callback:
        return theirs.EMAWeightAveraging(decay=decay) if decay else theirs.WeightAveraging()

    seen = Weights()
    options: dict[str, Any] = {"precision": "32-true", "enable_checkpointing": True, "accumulate_grad_batches": 2}
    callbacks = [Mixout(p=0.5), seen, average(), every_step(tmp_path)]
    model = fit(backbone, callbacks, val_check_interval=10, **options)
    expected = seen.after[0]
    for number, weights in enumerate(seen.after[1:], 2):
        expected = expected + (weights - expected) / (2 if decay else number)
        if number == 5:
            torch.testing.assert_close(seen.evaluated[0], expected)
    end = nn.utils.parameters_to_vector(model.parameters())
    torch.testing.assert_close(end, expected)
    (third,) = tmp_path.glob("*step=3.ckpt")
    resumed = fit(backbone, [Mixout(p=0.5), average()], resume=str(third), **options)
    assert torch.equal(nn.utils.parameters_to_vector(resumed.parameters()), end)


class Stop(pl.Callback):
    """Asks for the end after the first step."""

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        trainer.should_stop = trainer.should_stop or trainer.global_step == 1


def test_a_stop_that_waits_for_min_steps_is_remembered(backbone: str, tmp_path: Path):
    whole = fit(backbone, [Stop(), Stopping(), every_step(tmp_path)], min_steps=4, enable_checkpointing=True)
    (second,) = tmp_path.glob("*step=2.ckpt")
    again = fit(backbone, [Stop(), Stopping()], min_steps=4, resume=str(second))
    assert whole.trainer.global_step == again.trainer.global_step < 6


def test_a_checkpoint_from_within_a_step_is_not_gone_on_from(backbone: str, tmp_path: Path):
    class Fail(pl.Callback):
        def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
            if batch_idx == self.at:
                raise ZeroDivisionError

    for at, accumulate in ((3, 2), (4, 2), (3, 1)):  # inside a window, and where a batch was taken and not used
        fail, folder = Fail(), tmp_path / f"{at} {accumulate}"
        fail.at = at
        options: dict[str, Any] = {"accumulate_grad_batches": accumulate, "enable_checkpointing": True}
        with pytest.raises(ZeroDivisionError):
            fit(backbone, [fail, theirs.OnExceptionCheckpoint(folder)], **options)
        (saved,) = folder.iterdir()
        with pytest.raises(UsageError, match="saved within an optimizer step, and part of the step is lost"):
            fit(backbone, resume=str(saved), **options)


def test_predictions_are_logits(backbone: str):
    class Writer(theirs.BasePredictionWriter):
        def write_on_batch_end(self, trainer: Any, pl_module: Any, prediction: Any, *_: Any) -> None:
            self.got.append(prediction)

    writer = Writer("batch")
    writer.got = []
    model = fit(backbone, max_steps=1)
    trainer = pl.Trainer(
        accelerator="cpu", precision="64-true", logger=False, enable_progress_bar=False, callbacks=[writer]
    )
    found = trainer.predict(model, RandomRows())
    (predictions,) = model.predictions.values()
    assert torch.equal(torch.cat(writer.got), predictions.logits)
    assert torch.equal(torch.cat(found), predictions.logits)  # type: ignore[arg-type]


def test_callbacks_see_real_weights_and_gradients_after_the_backward(backbone: str):
    seen = []

    class Look(pl.Callback):
        def on_after_backward(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
            seen.append([isinstance(p, nn.Parameter) and p.grad is not None for p in pl_module.parameters()])

    fit(backbone, [Mixout(p=0.9), Look()], max_steps=1)
    assert len(seen) == 1
    assert all(seen[0])
