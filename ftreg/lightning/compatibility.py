"""A trainer is refused what it cannot do with a list of methods, or at all, before anything starts."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from ftreg._base.errors import UsageError
from ftreg._base.names import unknown
from ftreg.core.method import Regularizer, Slot, check_claims, owner
from ftreg.core.method_registry import task_heads
from ftreg.core.roles import TaskHeads
from ftreg.encoder.matching import check_rows
from ftreg.lightning.internals import saved_progress
from ftreg.lightning.tried import ALIASES, CALLBACKS, OPTIONS, PLUGINS, PRECISIONS, STRATEGIES, Given, Tried
from glue_tasks.data import GlueDataModule

SPLITTING = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)
"""Strategies that split parameters over ranks, each of which then sees parts."""
EVALUATING = ("limit_val_batches", "limit_test_batches", "limit_predict_batches", "overfit_batches")
"""Trainer options that would leave rows out of an evaluation."""
STEPS = ("train/", "grad_norm/")
"""What is logged at some steps alone begins so."""
TRAINING = (*STEPS, "distance/")
"""What is logged beside evaluations' scores begins so."""


def check_methods(methods: Sequence[Regularizer], trainer: pl.Trainer, model: Any = None) -> None:
    """Refuse methods that cannot work together, or not with the trainer's strategy or precision.

    Args:
        methods: in the trainer's order.
        trainer: with its strategy, and maybe its data.
        model: the FineTuner, where its backbone and head are looked at too.

    Raises:
        ConflictError: two methods own one slot, or one is listed twice.
        UsageError: the strategy splits parameters over ranks, the precision rounds away what a method measures, or the
            tokenizer of the rows does not fit the backbone.
    """
    check_claims(methods)
    if methods and isinstance(trainer.strategy, SPLITTING):
        raise UsageError(
            f"{', '.join(m.name for m in methods)}: not under {type(trainer.strategy).__name__}, "
            f"which splits parameters over ranks; use trainer.strategy=ddp"
        )
    pooling = owner(methods, Slot.POOLER)
    if pooling is not None and getattr(model, "head", "new") == "keep":
        raise UsageError(f"model.head is keep, and {pooling.name} puts another head there; leave one of them out")
    wanted = getattr(getattr(trainer, "datamodule", None), "kind", None)
    if model is not None and wanted not in (None, model.kind) and {wanted, model.kind} & {"multi_label", "tokens"}:
        raise UsageError(
            f"the rows are of kind {wanted}, and the model's head is of {model.kind}; give model.kind={wanted}"
        )
    if pooling is not None and getattr(model, "kind", None) == "tokens":
        raise UsageError(
            f"{pooling.name} makes one vector of a text, and this task has a label for each token; leave it out"
        )
    if model is not None:
        check_rows(model.backbone, getattr(trainer, "datamodule", None))
    heads = getattr(getattr(trainer, "datamodule", None), "heads", {})
    untaught = [method.name for method in methods if not method.supervised]
    if untaught and heads:
        raise UsageError(f"{untaught[0]} without a task_weight learns no labels, and data.also has heads that do")
    if heads and not any(isinstance(method, TaskHeads) for method in methods):
        raise UsageError(
            f"data.also has {', '.join(heads)}: add {task_heads().__name__}(data.heads) to the callbacks, "
            f"for their heads"
        )
    exact = [method.name for method in methods if method.full_precision]
    if exact and str(trainer.precision) in ("16-true", "bf16-true"):
        raise UsageError(
            f"{', '.join(exact)}: not under trainer.precision={trainer.precision}, whose rounding is larger than the "
            f"change of the logits that counts; use {str(trainer.precision)[:-4]}mixed"
        )


def check_trainer(trainer: pl.Trainer) -> None:
    """Refuse what a trainer's callbacks, strategy, precision and options would do wrong, in any fit.

    Raises:
        UsageError: names it, and what to do instead.
    """
    at: Any = trainer
    check_callbacks(type(callback) for callback in at.callbacks)
    launcher = type(at.strategy.launcher).__name__
    _refuse("strategy", _strategy("spawn" if "MultiProcessing" in launcher else type(at.strategy).__name__))
    for plugin in (at.precision_plugin, at.strategy.checkpoint_io):
        _refuse(f"plugins: {type(plugin).__name__}", _nearest(type(plugin), PLUGINS))
    given = {name: getattr(trainer, name, None) for name in OPTIONS if name not in ("strategy", "callbacks")}
    if not isinstance(at.datamodule, GlueDataModule):  # which deals the rows
        given |= {"limit_train_batches": None, "overfit_batches": None}
    check_options(given, recorded=False)


def check_callbacks(classes: Iterable[type]) -> None:
    """Refuse Lightning's callbacks that do not do here what they say.

    Raises:
        UsageError: names the first of them, and what to do instead.
    """
    for cls in classes:
        _refuse(f"callbacks: {cls.__name__}", _nearest(cls, CALLBACKS))


def check_options(given: Given, recorded: bool) -> None:
    """Refuse trainer options, by name.

    Args:
        given: the options' values.
        recorded: whether the fit leaves a record, as those of the command line do.

    Raises:
        UsageError: names the first of them, and what to do instead.
    """
    for name, option in OPTIONS.items():
        value = given.get(name)
        if (recorded or not option.recorded) and option.wrong(value, given):
            raise UsageError(f"trainer.{name}: {option.why}")
    if isinstance(given.get("strategy"), str):
        _refuse(f"strategy={given['strategy']}", _strategy(given["strategy"]))
    precision = str(given.get("precision"))
    _refuse(f"precision={precision}", PRECISIONS.get(ALIASES.get(precision, precision)))


def check_command(subcommand: str, given: Given) -> None:
    """Refuse trainer options of a command, whose runs are recorded, and whose evaluations and predictions are whole.

    Raises:
        UsageError: names the first of them, and what to do instead.
    """
    check_options(given if subcommand == "fit" else {name: given.get(name) for name in EVALUATING}, recorded=True)
    if subcommand != "fit" and given.get("fast_dev_run"):
        raise UsageError(f"trainer.fast_dev_run: a dry run is one of fit; {subcommand} is of all rows")


def check_precision(asked: Any, trainer: pl.Trainer) -> None:
    """Refuse a precision in whose place Lightning has taken another one.

    Raises:
        UsageError: names both.
    """
    name = ALIASES.get(str(asked), str(asked))
    if name in PRECISIONS and name != trainer.precision:
        raise UsageError(
            f"trainer.precision={name} is not to be had on this device, where Lightning takes {trainer.precision}; "
            f"give trainer.precision={trainer.precision}"
        )


def check_between_steps(checkpoint: Mapping[str, Any]) -> None:
    """Refuse to go on from anywhere but between two optimizer steps.

    Raises:
        UsageError: it was saved within a step, as callbacks do that save on an exception or by the clock.
    """
    batches = saved_progress(checkpoint).get("total", {})
    # A batch that was taken and not worked through would be passed over.
    if checkpoint.get("ftreg", {}).get("unused") or batches.get("ready") != batches.get("processed"):
        raise UsageError(
            "the checkpoint was saved within an optimizer step, and part of the step is lost: give an earlier one to "
            "go on from, or load the weights of this one alone"
        )


def check_monitors(callbacks: Iterable[pl.Callback], logged: Sequence[str], folder: Path, every: int = 1) -> None:
    """Refuse callbacks that watch what a run does not log, or the wrong way up, and checkpoints in the run's own place.

    Args:
        callbacks: the user's.
        logged: what each evaluation logs.
        folder: of the run's checkpoints.
        every: so many steps losses and gradient norms are logged; evaluations fall where they may.

    Raises:
        UsageError: names the callback, and what to do instead.
    """
    for callback in callbacks:
        name = f"trainer.callbacks: {type(callback).__name__}"
        monitor, mode = getattr(callback, "monitor", None), getattr(callback, "mode", None)
        if isinstance(monitor, str) and mode in ("min", "max") and getattr(callback, "strict", True):
            if monitor not in logged and not monitor.startswith(TRAINING):
                found = unknown(f"{name} watches", monitor, logged) if logged else f"{name}: nothing is evaluated here"
                raise UsageError(found)
            if isinstance(callback, EarlyStopping) and monitor.startswith(STEPS) and every != 1:
                raise UsageError(
                    f"{name} watches {monitor}, which is logged every {every} steps and may be missing when it looks; "
                    "give trainer.log_every_n_steps=1, or strict=false"
                )
            better = {"score": "max", "loss": "min"}.get(monitor.rpartition("/")[2], mode)
            if mode != better:
                raise UsageError(f"{name} watches {monitor} with mode={mode}; give mode={better}")
        if not isinstance(callback, ModelCheckpoint) or Path(callback.dirpath or folder).resolve() != folder.resolve():
            continue
        if callback.save_last or callback.filename in ("best", "last"):
            raise UsageError(f"{name}: best.ckpt and last.ckpt are the run's own; give another filename or dirpath")


def watches(cls: type) -> bool:
    """Return whether no number of a run depends on such a callback: Lightning's that log, print or save."""
    found = _nearest(cls, CALLBACKS)
    return found is not None and found.watches


def _nearest(cls: type, table: Mapping[str, Tried]) -> Tried | None:
    """Return what is known of a class of Lightning's, or of the nearest that it is derived from."""
    theirs = ("pytorch_lightning", "lightning", "lightning_fabric")
    known = (base.__name__ for base in cls.__mro__ if base.__module__.partition(".")[0] in theirs)
    return next((table[name] for name in known if name in table), None)


def _strategy(name: str) -> Tried | None:
    return next((tried for part, tried in reversed([*STRATEGIES.items()]) if part in name.lower()), None)


def _refuse(what: str, tried: Tried | None) -> None:
    if tried is not None and tried.refused:
        raise UsageError(f"trainer.{what} does not work here: {tried.in_words()}")
