"""Lightning's callbacks, trainer options, strategies, precisions and plugins were each tried beside the methods.

Each works as it says, which `tests/test_lightning.py` shows, or is refused in one line before anything starts
(`ftreg.lightning.compatibility`). A test compares these tables with the installed Lightning, so that what a later one
adds is tried first. Callbacks of one's own are in no table and pass: nobody but their author knows what they do.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from ftreg.core.method import Slot
from ftreg.core.method_registry import owners


@dataclass(frozen=True)
class Tried:
    """This is what came of trying something.

    Args:
        says: what it does here; of what is refused, why, and what to do instead.
        refused: whether it is.
        watches: of a callback, whether no number of the run depends on it.
        instead: the slot whose methods do it exactly.
    """

    says: str
    refused: bool = False
    watches: bool = False
    instead: Slot | None = None

    def in_words(self) -> str:
        """Return what it does, or why it is refused, with the methods to take instead."""
        return self.says if self.instead is None else f"{self.says}; give {' or '.join(owners(self.instead))}"


def _works(says: str) -> Tried:
    return Tried(says)


def _watches(says: str) -> Tried:
    return Tried(says, watches=True)


def _refused(why: str, instead: Slot | None = None) -> Tried:
    return Tried(why, refused=True, instead=instead)


CALLBACKS: Mapping[str, Tried] = {
    "BackboneFinetuning": _refused("its backbone is a module, ours a name", instead=Slot.TRAINABLE),
    "BaseFinetuning": _refused("what it unfreezes later, neither DDP nor the schedule knows", instead=Slot.TRAINABLE),
    "BasePredictionWriter": _watches("gets each batch's logits, without filler rows"),
    "BatchSizeFinder": _refused(
        "it changes data.batch_size, by which runs are compared; give accumulate_grad_batches, which fits that batch "
        "into memory"
    ),
    "Checkpoint": _watches("the base of callbacks that save"),
    "DeviceStatsMonitor": _watches("logs; on the CPU it needs psutil"),
    "EMAWeightAveraging": _works("as WeightAveraging, with an exponential moving average"),
    "EarlyStopping": _works("stops after an evaluation; the record says at which step, of how many"),
    "GradientAccumulationScheduler": _refused(
        "the data module deals each batch into equally many parts; give trainer.accumulate_grad_batches"
    ),
    "LambdaCallback": _works("calls the functions that it is given"),
    "LearningRateFinder": _refused(
        "the rate that it finds would be in no record, and hold for one step of the schedule; give model.lr, or "
        "several to `ftreg bench`"
    ),
    "LearningRateMonitor": _watches("logs"),
    "ModelCheckpoint": _watches("saves beside best.ckpt and last.ckpt; give it a filename or dirpath of its own"),
    "ModelPruning": _refused("it renames the weights that methods map and anchors are of; prune after the fit"),
    "ModelSummary": _watches("prints"),
    "OnExceptionCheckpoint": _watches("saves; a checkpoint from within a step is not gone on from"),
    "ProgressBar": _watches("the base of progress bars"),
    "RichModelSummary": _watches("prints"),
    "RichProgressBar": _watches("prints"),
    "SaveConfigCallback": _watches("the command line's own"),
    "SpikeDetection": _refused(
        "it ends a fit so that batches can be left out, and methods are compared on the same ones; "
        "model.stop_when_diverged tells where a fit diverged"
    ),
    "StochasticWeightAveraging": _refused(
        "it copies the network before that is built, and averages nothing; give WeightAveraging or EMAWeightAveraging"
    ),
    "TQDMProgressBar": _watches("prints"),
    "ThroughputMonitor": _watches("logs; needs a batch_size_fn"),
    "Timer": _works("stops; the record then says that the run ended early"),
    "WeightAveraging": _works("averages; evaluations and checkpoints are of the average"),
}
"""Callbacks go by their class; a subclass goes by the nearest."""

STRATEGIES: Mapping[str, Tried] = {
    "auto": _works("one device, or ddp"),
    "ddp": _works("exact: a step is of the global batch"),
    "single_device": _works("one device"),
    "spawn": _refused("what its processes have trained does not come back; give trainer.strategy=ddp"),
    "fork": _refused("what its processes have trained does not come back; give trainer.strategy=ddp"),
    "notebook": _refused("what its processes have trained does not come back; give trainer.devices=1"),
    "deepspeed": _refused("it splits parameters over ranks; give trainer.strategy=ddp"),
    "fsdp": _refused("it splits parameters over ranks; give trainer.strategy=ddp"),
    "modelparallel": _refused("it splits parameters over ranks; give trainer.strategy=ddp"),
    "xla": _refused("nobody has tried the methods on a TPU; give trainer.accelerator=gpu or cpu"),
    "tpu": _refused("nobody has tried the methods on a TPU; give trainer.accelerator=gpu or cpu"),
}
"""A strategy goes by the last of these in its name: `ddp_spawn_find_unused_parameters_true` goes by spawn."""

PRECISIONS: Mapping[str, Tried] = {
    "32-true": _works("the default"),
    "64-true": _works("double precision throughout"),
    "bf16-mixed": _works("but for methods that measure small changes of the logits: their passes stay in float32"),
    "bf16-true": _works(
        "weights too: at small rates most steps are rounded away. Not with methods that measure small changes of logits"
    ),
    "16-mixed": _works("on a GPU, with a loss scale; on a CPU Lightning would take bf16-mixed, and is not let to"),
    "16-true": _refused("float16 alone has no loss scale, and diverges in its first step; give 16-mixed or bf16-mixed"),
    "transformer-engine": _refused("nobody has tried the methods with its 8 bits; give bf16-mixed"),
    "transformer-engine-float16": _refused("nobody has tried the methods with its 8 bits; give bf16-mixed"),
}
ALIASES: Mapping[str, str] = {"16": "16-mixed", "32": "32-true", "64": "64-true", "bf16": "bf16-mixed"}

PLUGINS: Mapping[str, Tried] = {
    "AsyncCheckpointIO": _works("from Python; the command line reads a checkpoint as soon as it is saved"),
    "BitsandbytesPrecision": _refused("methods cannot map weights of 8 bits; give trainer.precision=bf16-mixed"),
    "CheckpointIO": _works("in place of ours, which writes a checkpoint whole or not at all"),
    "DeepSpeedPrecision": _refused("it splits parameters over ranks; give trainer.strategy=ddp"),
    "DoublePrecision": _works("trainer.precision=64-true"),
    "FSDPPrecision": _refused("it splits parameters over ranks; give trainer.strategy=ddp"),
    "HalfPrecision": _works("trainer.precision=bf16-true"),
    "LayerSync": _works("without effect: encoders have no batch norm"),
    "MixedPrecision": _works("trainer.precision=bf16-mixed or 16-mixed"),
    "Precision": _works("trainer.precision=32-true"),
    "TorchCheckpointIO": _works("as CheckpointIO"),
    "TorchSyncBatchNorm": _works("without effect: encoders have no batch norm"),
    "TransformerEnginePrecision": _refused("nobody has tried the methods with its 8 bits; give bf16-mixed"),
    "XLACheckpointIO": _refused("nobody has tried the methods on a TPU; leave it out"),
    "XLAPrecision": _refused("nobody has tried the methods on a TPU; leave it out"),
}

Given = Mapping[str, Any]
"""Trainer options by name."""


@dataclass(frozen=True)
class Option:
    """This is a trainer option, of which some values may be refused.

    Args:
        says: what it does here.
        wrong: whether its value is refused.
        why: and what to do instead.
        recorded: whether only the command line refuses it, whose runs are recorded and compared.
    """

    says: str
    wrong: Callable[[Any, Given], bool] = lambda value, given: False
    why: str = ""
    recorded: bool = True


def _limited(value: Any, given: Given) -> bool:
    # The integer 1 is one batch. A dry run limits them all, and leaves no record.
    return repr(value) not in ("None", "1.0") and not given.get("fast_dev_run")


def _more(low: str, high: str) -> Callable[[Any, Given], bool]:
    return lambda value, given: value is not None and (given.get(high) or -1) >= 0 and value > given[high]


WHOLE = "runs are recorded whole; for fewer rows, set data.train_subset"

OPTIONS: Mapping[str, Option] = {
    "accelerator": Option("`cpu` and `gpu` were tried"),
    "strategy": Option("see the strategies"),
    "devices": Option("any number, also more than a batch has rows"),
    "num_nodes": Option("as more devices"),
    "precision": Option("see the precisions"),
    "logger": Option("any; ours adds to metrics.csv when a run is gone on with"),
    "callbacks": Option("see the callbacks"),
    "fast_dev_run": Option("a dry run of a few batches, without a record"),
    "max_epochs": Option("as max_steps", lambda value, _: value == 0, "there is nothing to train; give 1 or more"),
    "min_epochs": Option("as min_steps", _more("min_epochs", "max_epochs"), "it is more than trainer.max_epochs"),
    "max_steps": Option(
        "with max_epochs, whichever is first", lambda value, _: value == 0, "there is nothing to train; give 1 or more"
    ),
    "min_steps": Option(
        "before these, EarlyStopping and Timer stop nothing",
        _more("min_steps", "max_steps"),
        "it is more than trainer.max_steps",
    ),
    "max_time": Option("stops; the record then says that the run ended early"),
    "overfit_batches": Option(
        "refused: rows are dealt anew in each epoch, so it would take others each time",
        lambda value, _: value not in (None, 0),
        "rows are dealt anew in each epoch, so these would be others each time; set data.train_subset",
        recorded=False,
    ),
    "limit_train_batches": Option(
        "refused: it cuts batches that are dealt into parts, and epochs that a resumed run counts",
        _limited,
        WHOLE,
        recorded=False,
    ),
    "limit_val_batches": Option("from Python", _limited, WHOLE),
    "limit_test_batches": Option("from Python", _limited, WHOLE),
    "limit_predict_batches": Option("from Python", _limited, "predictions are written whole; leave it out"),
    "val_check_interval": Option(
        "optimizer steps times accumulate_grad_batches, or a share of an epoch",
        lambda value, _: not isinstance(value, int | float | None),
        "how often a run evaluates must not depend on how fast it is; give a number of steps, or leave it out",
    ),
    "check_val_every_n_epoch": Option("as it says"),
    "num_sanity_val_steps": Option("as it says; nothing of it is logged"),
    "log_every_n_steps": Option("as it says; 0 logs evaluations alone"),
    "enable_checkpointing": Option(
        "from Python", lambda value, _: value is False, "the record needs the best weights; leave it out"
    ),
    "enable_progress_bar": Option("by default, in a terminal"),
    "enable_model_summary": Option("as it says"),
    "accumulate_grad_batches": Option("deals each batch into that many parts; the step is the same"),
    "gradient_clip_val": Option("in place of model.max_grad_norm"),
    "gradient_clip_algorithm": Option(
        "of gradient_clip_val",
        lambda value, given: value is not None and given.get("gradient_clip_val") is None,
        "it says how gradient_clip_val clips; give that too",
        recorded=False,
    ),
    "deterministic": Option("as it says"),
    "benchmark": Option("as it says"),
    "inference_mode": Option("as it says"),
    "use_distributed_sampler": Option("without effect: the loaders deal the rows"),
    "profiler": Option("`simple`, `advanced` and `pytorch`"),
    "detect_anomaly": Option("as it says"),
    "barebones": Option(
        "from Python, without methods' diagnostics",
        lambda value, _: bool(value),
        "the record needs evaluations and checkpoints; leave it out",
    ),
    "plugins": Option(
        "see the plugins",
        lambda value, _: "AsyncCheckpointIO" in str(value),
        "the record reads a checkpoint as soon as it is saved; leave AsyncCheckpointIO out",
    ),
    "sync_batchnorm": Option("without effect: encoders have no batch norm"),
    "reload_dataloaders_every_n_epochs": Option("without effect: each epoch has its order by number"),
    "default_root_dir": Option("the run's folder"),
    "enable_autolog_hparams": Option("as it says"),
    "model_registry": Option("without effect: checkpoints are files"),
}


def document() -> str:
    """Return the tables in Markdown: `python -m ftreg.lightning.tried > experiments/lightning.md`."""
    tables = {"Callbacks": CALLBACKS, "Strategies": STRATEGIES, "Precisions": PRECISIONS, "Plugins": PLUGINS}
    parts = [
        "# Lightning beside the methods",
        __doc__.split("\n\n", 1)[1].replace("`ftreg.lightning.compatibility`", "exit code 2"),
    ]
    for title, table in tables.items():
        lines = [
            f"| `{name}` | {'**refused**' if t.refused else 'works'} | {t.in_words()} |" for name, t in table.items()
        ]
        parts.append("\n".join([f"## {title}", "", "| | | |", "|---|---|---|", *lines]))
    lines = [f"| `{name}` | {o.says} | {_refusal(o)} |" for name, o in OPTIONS.items()]
    parts.append("\n".join(["## Trainer options", "", "| | | refused |", "|---|---|---|", *lines]))
    return "\n\n".join(part.strip() for part in parts) + "\n"


def _refusal(option: Option) -> str:
    return f"{'on the command line' if option.recorded else 'always'}: {option.why}" if option.why else ""


if __name__ == "__main__":
    print(document(), end="")
