"""`ftreg fit|validate|test|predict` is Lightning's command line with our defaults, links and checks."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import pytorch_lightning as pl
from lightning_fabric.plugins import CheckpointIO
from pytorch_lightning.callbacks import ModelSummary, ProgressBar

from ftreg._base.errors import UsageError
from ftreg._base.launch import first
from ftreg._base.messages import reading, running
from ftreg._base.names import listed
from ftreg._base.quiet import quiet
from ftreg._base.seeds import Seeds
from ftreg.cli.console import Console
from ftreg.cli.evaluating import Banner, Place, evaluated
from ftreg.cli.plan import FitPlan, Parsed, build
from ftreg.core.checkpoint_reader import load_checkpoint
from ftreg.core.method_registry import check_fits, check_labels, task_heads
from ftreg.core.roles import StartsFromFits, TaskHeads
from ftreg.encoder.heads import class_order
from ftreg.lightning.callbacks import method_names
from ftreg.lightning.compatibility import SPLITTING, check_methods, check_monitors, check_precision
from ftreg.lightning.printing import say
from ftreg.run import loggers, record, resume, stages, table
from ftreg.run.checkpoints import Whole
from ftreg.run.cost import Cost
from ftreg.run.diagnostics import Diagnostics
from ftreg.run.ending import Stopping
from ftreg.run.evaluations import Best, Evaluations, checkpoints
from ftreg.run.folder import Folder
from ftreg.run.interruption import recorded, stoppable
from ftreg.run.loggers import Continuity
from ftreg.run.places import RESULT, resumable
from ftreg.run.rank_errors import watched
from ftreg.run.rank_watch import Where
from ftreg.run.result import StageResult
from ftreg.run.sharding import Sharding
from glue_tasks.errors import DataError


class Begun(pl.Callback):
    """Knows whether a batch has been computed."""

    begun = False

    def on_train_batch_start(self, *_: Any) -> None:
        self.begun = True

    on_validation_batch_start = on_test_batch_start = on_predict_batch_start = cast(Any, on_train_batch_start)


class Cli(Parsed):
    """Builds everything from the command line and runs one subcommand."""

    def before_instantiate_classes(self) -> None:
        """Obtain the stage that the run starts from; check the run's folder, and set up its loggers."""
        options = self.config[self.subcommand]
        trainer = options.trainer
        task = options.data.task if isinstance(options.data.task, str) else options.data.task.name
        methods = "+".join(method_names(trainer.callbacks)) or "plain"
        checkpoint = Path(options.ckpt_path or "")
        if trainer.default_root_dir is None and self.subcommand != "fit" and checkpoint.parent.name == "checkpoints":
            trainer.default_root_dir = str(checkpoint.parent.parent)
        elif trainer.default_root_dir is None:
            trainer.default_root_dir = self.default_root(str(self.subcommand))
        trainer.default_root_dir = os.path.expanduser(trainer.default_root_dir)
        root = Path(trainer.default_root_dir)
        if self.subcommand == "fit":
            self.refuse(self.data())
            if not trainer.fast_dev_run:
                self.folder = Folder(
                    root, self._plain(), options.ckpt_path or "", self.steps_before, self.said["overwrite"]
                )
                if first() or not self.folder.is_ours():
                    self.folder.check()
            if self.stage is not None and self.staged is not None:
                self.start = self._obtain(self.stage, self.staged)
        else:
            self.place = Place(root, options.ckpt_path or "")
            if self.subcommand == "predict":
                data = self.data()
                self.place.check(data.task.test, data.final_splits)
        if trainer.logger and trainer.logger is not True:
            self.save_config_kwargs["notices"] = loggers.set_up(
                listed(trainer.logger),
                trainer.default_root_dir,
                group=f"{task}/{methods}",
                name=str(Seeds(**options.seeds.as_dict())),
                resumed=bool(options.ckpt_path),
            )

    folder: Folder | None = None
    """The folder of a fit that leaves a record."""
    start: StageResult | None = None
    """The record of the stage that the run starts from."""

    def _obtain(self, stage: FitPlan, staged: StartsFromFits) -> StageResult:
        """Find the stage's run, or train it now."""
        data, task = self.data(), stage.datamodule.task
        if staged.keeps_head:
            learnt = stage.datamodule.labels if stage.datamodule.evaluate else None
            class_order(data.labels, learnt, f"{staged.name}.head", f"stage {task.name}")
        self.refuse_overlap(data)
        folder = stages.stage_folder(staged, task.name, stage.identity())
        if not (folder / RESULT).is_file():
            say(f"starts from a stage that is not there yet: {task.title}, now trained in {folder}")
        stages.obtain(folder, lambda: train(stage, folder))
        return stages.stage_result(folder, staged.weights)

    def instantiate_trainer(self, **kwargs: Any) -> pl.Trainer:
        """Build the trainer with the callbacks that every run has."""
        options: Any = self.config_init[self.subcommand]
        trainer = options.trainer
        self.begun, self.where = Begun(), Where()
        callbacks = [*listed(trainer.callbacks)]
        heads = {task: list(labels) for task, labels in self.datamodule.heads.items()}
        if heads and not any(isinstance(callback, TaskHeads) for callback in callbacks):
            callbacks.append(task_heads()(heads))
        if trainer.enable_progress_bar is None:
            asked = any(isinstance(callback, ProgressBar) for callback in callbacks)
            kwargs["enable_progress_bar"] = asked or sys.stderr.isatty()
        if any(isinstance(callback, ModelSummary) for callback in callbacks):
            kwargs["enable_model_summary"] = True
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
            saved = load_checkpoint(self._earlier[0], "ckpt_path") if self._earlier else {}
            self.sharding = Sharding(self.datamodule.batch_size, saved)
            callbacks += [
                self.cost,
                Diagnostics(),
                Continuity(),
                self.sharding,
                resume.RunInCheckpoints(self.datamodule, self._plain(), self.identity),
            ]
            callbacks.append(Stopping())
            callbacks.append(Console(self.datamodule, self.model.backbone))
            if not trainer.fast_dev_run:
                self.checkpoints = checkpoints(trainer.default_root_dir, splits)
                callbacks += self.checkpoints
            if not any(isinstance(plugin, CheckpointIO) for plugin in listed(trainer.plugins)):
                kwargs["plugins"] = [*listed(trainer.plugins), Whole()]
        else:
            kwargs["enable_checkpointing"] = False
            path, run = self._earlier or ("", {})
            banner = Banner(self.datamodule, self._plain(), path, run, self.steps_before)
            callbacks = [*evaluated(callbacks), banner]
        with reading("the trainer's options do not go together"):
            made = super().instantiate_trainer(**kwargs, callbacks=[*callbacks, self.begun, self.where])
        for callback in made.callbacks:  # type: ignore[attr-defined]
            if isinstance(callback, StartsFromFits) and self.start is not None and self.start.checkpoint:
                callback.start_from(self.start.checkpoint)
        return made

    def _begun(self) -> bool:
        return self.begun.begun

    def run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand; up to the first batch, it reads: rows, weights."""
        try:
            with watched(self.trainer, self.where, self._begun), running(self._begun):
                super().run_subcommand(subcommand)
        finally:
            if self.folder is not None:
                self.folder.close()

    def before_fit(self) -> None:
        """Make the last checks, with the network at hand; then the folder is this run's."""
        if self._earlier is not None:
            resume.check_identity(*self._earlier, self.identity)
        self._check_trainer()
        self.model.trainer = self.trainer
        check_methods(self.model.methods, self.trainer)
        if not isinstance(self.trainer.strategy, SPLITTING):  # which build it in parts, later
            with self.trainer.init_module():
                self.model.configure_model()
            if self._earlier is not None:
                checkpoint = load_checkpoint(self._earlier[0], "ckpt_path")
                check_labels(checkpoint, self.model.labels, self.model.kind)
                check_fits(self._earlier[0], checkpoint, self.model)
                self.sharding.check(self._earlier[0], self.trainer, self.model, self.said["reshard"])
        # Rows that cannot be read are found out before a folder is touched, and before an earlier run is moved aside.
        self.datamodule.setup("fit")
        _ = self.datamodule.sizes
        if self.folder is not None and (said := self.folder.open()):
            say(said)

    def _check_trainer(self) -> None:
        """Check what can be told of a trainer once it is made."""
        options = self.config_init.fit.trainer
        if options.precision is not None:
            check_precision(options.precision, self.trainer)
        names = ("loss", "score", *self.datamodule.task.metric_names)
        logged = [f"{split}/{name}" for split in self.datamodule.evaluation_splits for name in names]
        root = Path(self.trainer.default_root_dir)
        check_monitors(listed(options.callbacks), logged, root / "checkpoints", options.log_every_n_steps)

    def after_fit(self) -> None:
        """Write the record of a fit that came to its end."""
        if not self.trainer.state.finished or self.config.fit.trainer.fast_dev_run:
            return
        result = record.record_run(
            self.trainer,
            self.model,
            self.datamodule,
            self.cost,
            next((c.best_model_path for c in self.checkpoints if isinstance(c, Best)), ""),
            self._plain(),
            self.identity(),
            self.start,
            self.sharding.history(self.trainer, self.model),
        )
        recorded()
        say(f"\n{table.render(result, self.datamodule.task.title, self.trainer.default_root_dir)}")

    def after_predict(self) -> None:
        """Write the predictions, as a fit does."""
        for split, predictions in self.model.predictions.items():
            path = self.place.file(split)
            if self.trainer.is_global_zero:
                record.write_predictions(path, predictions)
            say(f"{len(predictions.row_ids):,} rows of {split}: {path}")


def train(stage: FitPlan, folder: Path) -> None:
    """Run a stage, or go on with it, in its folder."""
    arguments = [*stage.arguments, f"--trainer.default_root_dir={folder}"]
    checkpoint = resumable(folder)
    try:
        build([*arguments, f"--ckpt_path={checkpoint}"] if checkpoint else arguments, Cli)
    except (UsageError, DataError, OSError) as error:
        raise UsageError(f"stage one, in {folder}: {error}") from error
    finally:
        loggers.close()


def main(arguments: Sequence[str]) -> int:
    """Run a subcommand; returns the exit code."""
    quiet()
    try:
        with stoppable():
            build(arguments, Cli)
    finally:
        loggers.close()
    return 0
