"""`ftreg fit|validate|test|predict`: Lightning's command line with our defaults, links and checks."""

import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI, SaveConfigCallback
from pytorch_lightning.utilities import rank_zero_only

import ftreg.methods as _methods  # noqa: F401  an imported method is found by its bare name
from ftreg import loggers, resume, run, table
from ftreg.backbone import resolve
from ftreg.complaints import Parser, expected
from ftreg.cost import Cost
from ftreg.diagnostics import Diagnostics
from ftreg.errors import UsageError
from ftreg.evaluations import Evaluations, checkpoints
from ftreg.finetuner import FineTuner
from ftreg.identity import folder_content, identity
from ftreg.names import Names
from ftreg.quiet import quiet
from ftreg.structure import subclasses
from glue_tasks.data import GlueDataModule

TRACEBACK = "FTREG_TRACEBACK"
"""Set this environment variable to see where a one-line error came from."""


@dataclass
class Seeds:
    """The three seeds of a run.

    Args:
        init: of the head's first weights, dropout and the methods' noise.
        order: of the order of the training rows.
        split: of the selection split and of train_subset.
    """

    init: int = 0
    order: int = 0
    split: int = 0


class SaveConfig(SaveConfigCallback):
    """`config.yaml` in the run's folder, replaced whole by a second fit, and in every logger."""

    def __init__(self, parser: LightningArgumentParser, config: Any, notices: Sequence[str] = ()) -> None:
        super().__init__(parser, config)
        self.notices = notices

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """After the data are read; only a fit has a configuration to keep."""
        for notice in self.notices:
            _print(notice)
        self.notices = ()
        if stage == "fit" and trainer.is_global_zero and not self.already_saved:
            self.already_saved = True
            text = self.parser.dump(self.config, skip_none=False)
            path = Path(trainer.default_root_dir) / self.config_filename
            run.write_atomically(path, lambda temporary: temporary.write_text(text, encoding="utf-8"))
            record = {**yaml.safe_load(text), "methods": run.methods(trainer)}
            for logger in trainer.loggers:
                logger.log_hyperparams(record)


class Cli(LightningCLI):
    """Builds everything from the command line and runs one subcommand."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seeds and what follows from other options."""
        parser.add_class_arguments(Seeds, "seeds")
        parser.link_arguments("seeds.init", "model.init_seed")
        parser.link_arguments("seeds.order", "data.order_seed")
        parser.link_arguments("seeds.split", "data.split_seed")
        parser.link_arguments("model.backbone", "data.tokenizer", compute_fn=_tokenizer)
        parser.link_arguments("data.labels", "model.labels", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Names first, then types and values, then what a checkpoint has to say about them."""
        arguments = list(args)
        known = [name for name in self._parser(arguments[0])._option_string_actions if name.startswith("--")]
        names = Names([name[2:] for name in known], _callbacks(), [cls.__name__ for cls in subclasses()])
        names.check(arguments[1:])
        self.config = parser.parse_args(arguments)
        options = self.config[arguments[0]]
        if options.ckpt_path in ("best", "last"):
            if options.trainer.default_root_dir is None:
                raise UsageError(f"ckpt_path {options.ckpt_path}: of which run? Give trainer.default_root_dir")
            folder = Path(options.trainer.default_root_dir).expanduser() / "checkpoints"
            options.ckpt_path = str(folder / f"{options.ckpt_path}.ckpt")
        path = options.ckpt_path
        if path and path != "hpc":
            earlier = resume.read(path)
            if arguments[0] == "fit":
                self._earlier = (path, earlier)
            elif adopted := resume.adopt(path, earlier, self._plain(arguments[0]), names.given):
                self.config = parser.parse_args([*arguments, *adopted, f"--ckpt_path={path}"])

    def _parse_ckpt_path(self) -> None:
        """Done above: the stock one overrides the command line."""

    _earlier: tuple[str, dict[str, Any]] | None = None

    def before_instantiate_classes(self) -> None:
        """The run's folder and its loggers."""
        options = self.config[self.subcommand]
        trainer = options.trainer
        task = options.data.task if isinstance(options.data.task, str) else options.data.task.name
        methods = "+".join(_method_names(trainer.callbacks)) or "plain"
        checkpoint = Path(options.ckpt_path or "")
        if trainer.default_root_dir is None and self.subcommand != "fit" and checkpoint.parent.name == "checkpoints":
            trainer.default_root_dir = str(checkpoint.parent.parent)
        elif trainer.default_root_dir is None:
            seeds = "-".join(str(value) for value in options.seeds.as_dict().values())
            trainer.default_root_dir = f"runs/{task}/{methods}/{seeds}-{identity(self._plain(), {})[:8]}"
        trainer.default_root_dir = os.path.expanduser(trainer.default_root_dir)
        _check_writable(trainer.default_root_dir)
        if trainer.logger and trainer.logger is not True:
            several = trainer.logger if isinstance(trainer.logger, list) else [trainer.logger]
            self.save_config_kwargs["notices"] = loggers.set_up(several, trainer.default_root_dir, f"{task}/{methods}")

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer with the callbacks that every run has."""
        options: Any = self.config_init[self.subcommand]
        trainer = options.trainer
        callbacks = trainer.callbacks if isinstance(trainer.callbacks, list) else [trainer.callbacks]
        callbacks = [callback for callback in callbacks if callback is not None]
        if trainer.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        if self.subcommand == "fit":
            if trainer.val_check_interval is None and trainer.check_val_every_n_epoch is None:
                callbacks.append(Evaluations())
                kwargs["val_check_interval"] = 1  # until training starts and the number of steps is known
            elif trainer.check_val_every_n_epoch is None and isinstance(trainer.val_check_interval, float):
                kwargs["check_val_every_n_epoch"] = 1
            self.cost = Cost()
            callbacks += [self.cost, Diagnostics(), resume.Provenance(self.datamodule.task.name, self._plain())]
            if not trainer.fast_dev_run:
                split = next(iter(self.datamodule.evaluation_splits), "dev")
                self.best, last = checkpoints(trainer.default_root_dir, f"{split}/score")
                callbacks += [self.best, last]
        else:
            kwargs["enable_checkpointing"] = False
        try:
            return super().instantiate_trainer(**kwargs, callbacks=callbacks)
        except (ValueError, TypeError) as error:
            raise UsageError(f"the trainer's options do not go together: {error}") from error

    def before_fit(self) -> None:
        """Refuse what would make the record wrong."""
        options = self.config.fit.trainer
        for name in ("limit_train_batches", "limit_val_batches", "limit_test_batches"):
            if repr(options[name]) not in ("None", "1.0"):  # the integer 1 is one batch
                raise UsageError(f"trainer.{name}: runs are recorded whole; for fewer rows, set data.train_subset")
        if options.enable_checkpointing is False:
            raise UsageError("trainer.enable_checkpointing=false: the record needs the best weights; leave it out")
        if options.max_epochs == -1 and options.max_steps == -1:
            raise UsageError("training has no end; set trainer.max_epochs or trainer.max_steps")
        if self._earlier is not None:
            resume.check_same_run(*self._earlier, self.datamodule.task.name, self._plain())

    def after_fit(self) -> None:
        """The record of a fit that came to its end."""
        if not self.trainer.state.finished or self.config.fit.trainer.fast_dev_run:
            return
        config = self._plain()
        contents = {"data": ",".join(self.datamodule.fingerprints.values())}
        backbone = resolve(config["model"]["backbone"]).path
        if os.path.isdir(backbone):
            contents["backbone"] = folder_content(backbone)
        best = self.best.best_model_path
        result = run.record(
            self.trainer, self.model, self.datamodule, self.cost, best, config, identity(config, contents)
        )
        _print(f"\n{table.render(result, self.datamodule.task.title, self.trainer.default_root_dir)}")

    def after_predict(self) -> None:
        """The predictions, as a fit writes them."""
        for split, predictions in self.model.predictions.items():
            path = Path(self.trainer.default_root_dir) / "predictions" / f"{split}.parquet"
            if self.trainer.is_global_zero:
                run.write_predictions(path, predictions)
            _print(f"{len(predictions.row_ids):,} rows of {split}: {path}")

    def _plain(self, subcommand: str | None = None) -> dict[str, Any]:
        """The resolved configuration as plain values, without what is linked."""
        name = subcommand or str(self.subcommand)
        text = self._parser(name).dump(self.config[name], skip_none=False)
        return dict(yaml.safe_load(text))


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand; returns the exit code, 2 for a mistake in the input."""
    quiet()
    try:
        Cli(
            FineTuner,
            GlueDataModule,
            save_config_callback=SaveConfig,
            trainer_defaults=DEFAULTS,
            seed_everything_default=False,
            parser_class=Parser,
            args=list(arguments),
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
    except Exception as error:
        known = expected(error)
        if known is None or os.environ.get(TRACEBACK):
            raise
        print(f"ftreg: error: {' '.join(str(known).split())}", file=sys.stderr)
        return 2
    finally:
        loggers.close()
    return 0


DEFAULTS = {
    "max_epochs": 20,
    "num_sanity_val_steps": 0,
    "check_val_every_n_epoch": None,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
    "logger": {"class_path": "ftreg.loggers.CSVLogger"},
}


@rank_zero_only
def _print(text: str) -> None:
    print(text, flush=True)


def _tokenizer(backbone: str) -> str:
    return resolve(backbone).path


def _callbacks(cls: type[pl.Callback] = pl.Callback) -> dict[str, type]:
    found: dict[str, type] = {}
    for child in cls.__subclasses__():
        found |= {child.__name__: child, **_callbacks(child)}
    return found


def _method_names(callbacks: Any) -> list[str]:
    several = callbacks if isinstance(callbacks, list) else [callbacks] if callbacks else []
    names = [str(entry.class_path).rpartition(".")[2] for entry in several]
    methods = {cls.__name__ for cls in subclasses()}
    return [name for name in names if name in methods]


def _check_writable(root: str) -> None:
    probe = Path(root) / f".{os.getpid()}.tmp"
    try:
        probe.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        probe.unlink()
    except OSError as error:
        raise UsageError(
            f"trainer.default_root_dir {root}: cannot write there ({error.strerror}); give another folder"
        ) from None
