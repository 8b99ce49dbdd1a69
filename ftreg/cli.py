"""`ftreg fit|validate|test|predict`: Lightning's command line with our defaults, links and checks."""

import os
import sys
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import pytorch_lightning as pl
import yaml
from pytorch_lightning.cli import LightningArgumentParser, LightningCLI

import ftreg.methods as _methods  # noqa: F401  an imported method is found by its bare name
from ftreg import loggers, resume, run, stages, table
from ftreg.backbone import backbone_path
from ftreg.bench.grid import Seed
from ftreg.complaints import EXPECTED, Parser, expected
from ftreg.config import SaveConfig, Seeds, check_writable, known_callbacks, method_names, methods_of, say
from ftreg.cost import Cost
from ftreg.diagnostics import Diagnostics
from ftreg.errors import UsageError
from ftreg.evaluations import Best, Evaluations, checkpoints
from ftreg.finetuner import FineTuner
from ftreg.identity import folder_content, identity
from ftreg.interruption import stoppable
from ftreg.methods.multi_task import MultiTask
from ftreg.methods.two_stage import TwoStage, check_labels
from ftreg.names import Names, listed
from ftreg.quiet import quiet
from ftreg.regularizer import check_claims
from ftreg.structure import subclasses
from glue_tasks.data import GlueDataModule
from glue_tasks.overlap import check_overlap

TRACEBACK = "FTREG_TRACEBACK"
"""Set this environment variable to see where a one-line error came from."""


class Cli(LightningCLI):
    """Builds everything from the command line and runs one subcommand."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """The seeds and what follows from other options."""
        parser.add_class_arguments(Seeds, "seeds")
        parser.link_arguments("seeds.init", "model.init_seed")
        parser.link_arguments("seeds.order", "data.order_seed")
        parser.link_arguments("seeds.split", "data.split_seed")
        parser.link_arguments("model.backbone", "data.tokenizer", compute_fn=backbone_path)
        parser.link_arguments("data.labels", "model.labels", apply_on="instantiate")

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Names first, then types and values, then what a checkpoint has to say about them."""
        self.arguments = arguments = list(args)
        known = [name for name in self._parser(arguments[0])._option_string_actions if name.startswith("--")]
        names = Names([name[2:] for name in known], known_callbacks(), [cls.__name__ for cls in subclasses()])
        names.check(arguments[1:])
        self.config = parser.parse_args(arguments)
        options = self.config[arguments[0]]
        if arguments[0] == "fit":
            # Before a stage is trained for them.
            methods = methods_of(options.trainer.callbacks)
            check_claims(methods)
            options.data.evaluate &= all(method.supervised for method in methods)
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
        """The stage that the run starts from; the run's folder and its loggers."""
        options = self.config[self.subcommand]
        if self.stage is not None:
            self.start = self._obtain(self.stage)
        trainer = options.trainer
        task = options.data.task if isinstance(options.data.task, str) else options.data.task.name
        methods = "+".join(method_names(trainer.callbacks)) or "plain"
        checkpoint = Path(options.ckpt_path or "")
        if trainer.default_root_dir is None and self.subcommand != "fit" and checkpoint.parent.name == "checkpoints":
            trainer.default_root_dir = str(checkpoint.parent.parent)
        elif trainer.default_root_dir is None:
            seeds = "-".join(str(value) for value in options.seeds.as_dict().values())
            trainer.default_root_dir = f"runs/{task}/{methods}/{seeds}-{identity(self._plain(), {})[:8]}"
        trainer.default_root_dir = os.path.expanduser(trainer.default_root_dir)
        check_writable(trainer.default_root_dir)
        if trainer.logger and trainer.logger is not True:
            self.save_config_kwargs["notices"] = loggers.set_up(
                listed(trainer.logger),
                trainer.default_root_dir,
                group=f"{task}/{methods}",
                name=str(Seed(**options.seeds.as_dict())),
                resumed=bool(options.ckpt_path),
            )

    start: Mapping[str, Any] | None = None
    """The record of the stage that the run starts from."""

    @cached_property
    def stage(self) -> "Plan | None":
        """The stage that this fit starts from, if TwoStage has any."""
        plain = self._plain()
        two_stage = stages.options(plain) if self.subcommand == "fit" else None
        if two_stage is None:
            return None
        try:
            return build(["fit", *stages.arguments(two_stage, plain)], Plan)
        except UsageError as error:
            raise UsageError(f"TwoStage.stages: {error}") from error

    def _obtain(self, stage: "Plan") -> dict[str, Any]:
        """Find the stage's run, or train it now."""
        two_stage, data = stages.options(self._plain()) or {}, self.data()
        if two_stage["head"] == "keep":
            learnt = stage.datamodule.labels if stage.datamodule.evaluate else None
            check_labels(data.labels, learnt, f"stage {stage.datamodule.task.name}")
        if two_stage["overlap"] == "refuse":
            refuse_overlap(data, stage)
        folder = Path(two_stage["store"]).expanduser() / f"{stage.datamodule.task.name}-{stage.identity()}"
        if not (folder / stages.RESULT).is_file():
            say(f"starts from a stage that is not there yet: {stage.datamodule.task.title}, now trained in {folder}")
        stages.obtain(folder, lambda: stage.train(folder))
        return stages.record(folder, two_stage["weights"])

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """The trainer with the callbacks that every run has."""
        options: Any = self.config_init[self.subcommand]
        trainer = options.trainer
        callbacks = [*listed(trainer.callbacks)]
        if self.datamodule.heads:
            callbacks.append(MultiTask({task: list(labels) for task, labels in self.datamodule.heads.items()}))
        if trainer.enable_progress_bar is None:
            kwargs["enable_progress_bar"] = sys.stderr.isatty()
        if self.subcommand == "fit":
            splits = self.datamodule.evaluation_splits
            if not splits:
                kwargs["limit_val_batches"] = 0
            elif trainer.val_check_interval is None and trainer.check_val_every_n_epoch is None:
                callbacks.append(Evaluations())
                kwargs["val_check_interval"] = 1  # until training starts and the number of steps is known
            elif trainer.check_val_every_n_epoch is None and isinstance(trainer.val_check_interval, float):
                kwargs["check_val_every_n_epoch"] = 1
            self.cost = Cost()
            callbacks += [self.cost, Diagnostics(), resume.Provenance(self.datamodule.task.name, self._plain())]
            if not trainer.fast_dev_run:
                self.checkpoints = checkpoints(trainer.default_root_dir, splits)
                callbacks += self.checkpoints
        else:
            kwargs["enable_checkpointing"] = False
        try:
            made = super().instantiate_trainer(**kwargs, callbacks=callbacks)
        except (ValueError, TypeError, RuntimeError) as error:
            raise UsageError(f"the trainer's options do not go together: {error}") from error
        for callback in made.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, TwoStage) and self.start is not None:
                callback.source = self.start["checkpoint"]
        return made

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
        result = run.record(
            self.trainer,
            self.model,
            self.datamodule,
            self.cost,
            next((c.best_model_path for c in self.checkpoints if isinstance(c, Best)), ""),
            self._plain(),
            self.identity(),
            self.start,
        )
        say(f"\n{table.render(result, self.datamodule.task.title, self.trainer.default_root_dir)}")

    def identity(self) -> str:
        """Of the run, with what paths and stages stand for."""
        config = self._plain()
        contents = {"data": ",".join(self.datamodule.fingerprints.values())}
        backbone = backbone_path(config["model"]["backbone"])
        if os.path.isdir(backbone):
            contents["backbone"] = folder_content(backbone)
        if self.stage is not None:
            contents["stages"] = self.stage.identity()
        return identity(config, contents)

    def data(self) -> GlueDataModule:
        """The run's data, apart from the trainer."""
        config = self._plain()
        parser = Parser()
        parser.add_class_arguments(GlueDataModule, "data")
        linked = {"tokenizer": backbone_path(config["model"]["backbone"]), "split_seed": config["seeds"]["split"]}
        options = config["data"] | linked
        made: GlueDataModule = parser.instantiate_classes(parser.parse_object({"data": options})).data
        return made

    def after_predict(self) -> None:
        """The predictions, as a fit writes them."""
        for split, predictions in self.model.predictions.items():
            path = Path(self.trainer.default_root_dir) / "predictions" / f"{split}.parquet"
            if self.trainer.is_global_zero:
                run.write_predictions(path, predictions)
            say(f"{len(predictions.row_ids):,} rows of {split}: {path}")

    def _plain(self, subcommand: str | None = None) -> dict[str, Any]:
        """The resolved configuration as plain values, without what is linked."""
        name = subcommand or str(self.subcommand)
        text = self._parser(name).dump(self.config[name], skip_none=False)
        return dict(yaml.safe_load(text))


class Plan(Cli):
    """A fit that is parsed and checked, with its data and its identity, but not run."""

    def before_instantiate_classes(self) -> None:
        """Nothing has a folder yet."""

    def instantiate_classes(self) -> None:
        """The data alone."""
        self.datamodule = self.data()

    def _run_subcommand(self, subcommand: str) -> None:
        """Later: see `train`."""

    def train(self, folder: Path) -> None:
        """Run it, or go on with it, in its folder."""
        arguments = [*self.arguments, f"--trainer.default_root_dir={folder}"]
        last = folder / "checkpoints" / "last.ckpt"
        try:
            build([*arguments, f"--ckpt_path={last}"] if last.is_file() else arguments)
        except EXPECTED as error:
            raise UsageError(f"stage one, in {folder}: {error}") from error
        finally:
            loggers.close()


def refuse_overlap(target: GlueDataModule, stage: Plan | None) -> None:
    """Refuse rows that the target is evaluated on, in the stage and in those before it."""
    while stage is not None:
        found = check_overlap(target, stage.datamodule)
        if found is not None:
            raise UsageError(
                f"TwoStage: stage {stage.datamodule.task.name} has {found}; "
                "give the stage other rows, or set overlap=allow and say so where you report"
            )
        stage = stage.stage


T = TypeVar("T", bound=Cli)


def build(arguments: Sequence[str], kind: type[T] = Cli) -> T:  # type: ignore[assignment]
    """A command line, read; a `Cli` also runs it."""
    return kind(
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


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand; returns the exit code, 2 for a mistake in the input."""
    quiet()
    try:
        with stoppable():
            build(arguments)
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
