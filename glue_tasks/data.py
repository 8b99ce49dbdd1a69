"""GLUE is a Lightning data module here: the splits are tokens in memory, with loaders that resume exactly."""

from collections.abc import Mapping
from functools import cached_property

import pytorch_lightning as pl
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from torchmetrics import MetricCollection
from transformers import PreTrainedTokenizerBase

from glue_tasks.auxiliary_tasks import AuxiliaryTask
from glue_tasks.errors import DataError
from glue_tasks.loader import EvalLoader, Rows, State, TrainLoader
from glue_tasks.metrics import combined, majority, metrics
from glue_tasks.mixture import MixtureLoader, Sampling, check_sampling
from glue_tasks.options import type_faults
from glue_tasks.registry import task_of
from glue_tasks.seeds import whole
from glue_tasks.sources import Source
from glue_tasks.splits import Protocol, Splits
from glue_tasks.tasks import Task
from glue_tasks.tokens import load_tokenizer, tokenise


class GlueDataModule(Splits, pl.LightningDataModule):
    """The data module has the splits of one task.

    Protocol `holdout` carves a split `selection` out of train, to choose everything by, and leaves the dev
    splits for the end. `dev` trains on all of train and evaluates on the dev splits. When `train_split` names
    a dev split, that one is not among the dev splits any more, and under `holdout` the others may be missing.

    Options:
        task: name of a GLUE task or of one made from plain text, or a declaration of one's own.
        tokenizer: folder or Hub id of a fast tokenizer.
        source, path: where the rows come from, see `glue_tasks.sources.load`.
        train_subset: train on that many rows, drawn stratified from what the selection split leaves.
        evaluate: without it, the rows trained on stay the same, and nothing else is tokenised or scored. Plain
            lines of text (task `text`) have no labels: nothing is carved out of them, and they are never scored.
        max_length: tokens of a row with the special ones; the longer text of a pair is cut first.
        batch_size: rows of an optimizer step, over all processes and accumulated micro-batches.
        eval_batch_size: rows at a time on each process, in evaluation.
        also: tasks that train beside this one, a batch of one task at a time, and are never evaluated.
        sampling, temperature: how often each trains, see `glue_tasks.mixture.TaskOrder`.

    Raises `DataError`.
    """

    def __init__(
        self,
        task: str | Task = "rte",
        tokenizer: str = "",
        source: Source = "sample",
        path: str | None = None,
        protocol: Protocol = "holdout",
        train_split: str | None = None,
        train_subset: int | None = None,
        evaluate: bool = True,
        max_length: int = 256,
        batch_size: int = 16,
        eval_batch_size: int = 64,
        order_seed: int = 0,
        split_seed: int = 0,
        also: list[AuxiliaryTask] | None = None,
        sampling: Sampling = "proportional",
        temperature: float = 1.0,
    ) -> None:
        for name, found in type_faults(GlueDataModule.__init__, locals()):
            raise DataError(f"data.{name} {found}")
        sizes = {
            "batch_size": batch_size,
            "eval_batch_size": eval_batch_size,
            "train_subset": train_subset,
            "max_length": max_length,
        }
        for name, size in sizes.items():
            if size is not None and size < 1:
                raise DataError(f"data.{name}={size} must be at least 1")
        check_sampling(sampling, temperature)
        super().__init__(task_of(task), source, path, protocol, train_split, train_subset, evaluate, split_seed, also)
        self.labels, self.kind = self.task.labels, self.task.kind
        self.tokenizer, self.max_length = tokenizer, max_length
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order_seed = whole(order_seed, "data.order_seed")
        self.sampling: Sampling = sampling
        self.temperature = temperature
        self.truncated: dict[str, int] = {}
        """How many rows were cut to `max_length`, by split, of those tokenised so far."""
        self._rows: dict[str, Rows] = {}
        self._train_loader: TrainLoader | MixtureLoader | None = None
        self._resumed: State | None = None
        metrics(self.task)  # complains of a class path now, and not at the first evaluation

    # Tokens

    def rows(self, split: str) -> Rows:
        """Return a split's tokens, made once."""
        if split not in self._rows:
            task = self.auxiliary[split].task if split in self.auxiliary else self.task
            self._rows[split] = tokenise(split, self.table(split), task, self.vocabulary, self.max_length)
            self.truncated[split] = self._rows[split].truncated
        return self._rows[split]

    @cached_property
    def vocabulary(self) -> PreTrainedTokenizerBase:
        tasks = (self.task, *(other.task for other in self.auxiliary.values()))
        return load_tokenizer(self.tokenizer, self.max_length, any(len(task.columns) == 2 for task in tasks))

    # What Lightning calls

    def prepare_data(self) -> None:
        """Download, on one process of a node."""
        _ = self.vocabulary
        if self.source == "hub":
            for split in self.task.splits:
                self._load(split)
        for other in self.auxiliary.values():
            if other.source == "hub":
                _ = other.table

    def setup(self, stage: str) -> None:
        """Tokenise what the stage needs; stages are fit, validate, test, predict."""
        tested = self.dev_splits if self.evaluate else ()
        evaluation = {"test": tested, "predict": self.task.test}.get(stage, self.evaluation_splits)
        for split in (*(("train", *self.auxiliary) if stage == "fit" else ()), *evaluation):
            self.rows(split)

    def train_dataloader(self) -> TrainLoader | MixtureLoader:
        world, rank, accumulate = 1, 0, 1
        if self.trainer is not None:
            callbacks = self.trainer.callbacks  # type: ignore[attr-defined]
            if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
                raise DataError("GradientAccumulationScheduler is not supported; use accumulate_grad_batches")
            world, rank = self.trainer.world_size, self.trainer.global_rank
            accumulate = self.trainer.accumulate_grad_batches
        rows, dealt = self.rows("train"), (self.batch_size, self.order_seed, world, rank, accumulate)
        if self.auxiliary:
            tasks = {self.task.name: rows, **{other.task.name: self.rows(n) for n, other in self.auxiliary.items()}}
            self._train_loader = MixtureLoader(tasks, *dealt, self.sampling, self.temperature)
        else:
            self._train_loader = TrainLoader(rows, *dealt)
        if self._resumed is not None:
            self._train_loader.load_state_dict(self._resumed)
            self._resumed = None
        return self._train_loader

    def state_dict(self) -> dict[str, State]:
        """Return where the training loader is.

        Lightning restores a loader's own state only if nobody asked for the number of steps before, as schedules do.
        """
        return {} if self._train_loader is None else {"train": self._train_loader.state_dict()}

    def load_state_dict(self, state_dict: dict[str, State]) -> None:
        """Let the next training loader continue from there."""
        self._resumed = state_dict.get("train")

    def val_dataloader(self) -> list[EvalLoader]:
        if not self.evaluate:
            return []  # on which Lightning leaves out validation
        return self._loaders(self.evaluation_splits, "no split to validate on")

    def test_dataloader(self) -> list[EvalLoader]:
        return self._loaders(self.dev_splits if self.evaluate else (), "no dev split to test on")

    def predict_dataloader(self) -> list[EvalLoader]:
        return self._loaders(self.task.test, "no test split to predict")

    def _loaders(self, splits: tuple[str, ...], lack: str) -> list[EvalLoader]:
        if not splits:
            raise DataError(f"task {self.task.name!r} has {lack} here")
        return [self.eval_loader(split) for split in splits]

    def eval_loader(self, split: str) -> EvalLoader:
        """Return a loader of this process's part of any split."""
        world, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        return EvalLoader(self.rows(split), self.eval_batch_size, world, rank)

    # Scores

    def metrics(self, split: str) -> MetricCollection:
        """Return fresh metrics for a split's predictions once they are gathered from all ranks, each row once."""
        return metrics(self.task, sync_on_compute=False)

    def score(self, scores: Mapping[str, float]) -> float:
        """Return what a checkpoint is chosen by, of a split's scores: see `glue_tasks.metrics.combined`."""
        return combined(self.task, scores)

    def majority(self, split: str) -> dict[str, float]:
        """Return the scores on a split of a constant that is made of train: see `glue_tasks.metrics.majority`."""
        return majority(self.task, self.table("train"), self.table(split))
