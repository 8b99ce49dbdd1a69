"""GLUE as a Lightning data module: splits by protocol, tokens in memory, loaders that resume exactly."""

from collections.abc import Mapping
from functools import cached_property
from typing import Literal

import pytorch_lightning as pl
from datasets import Dataset
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.utilities import rank_zero_warn
from torchmetrics import MetricCollection
from transformers import PreTrainedTokenizerBase

from glue_tasks.beside import Beside, Other, others
from glue_tasks.carving import carve
from glue_tasks.documents import TEXT
from glue_tasks.errors import DataError
from glue_tasks.inspection import inspect
from glue_tasks.known import task_of
from glue_tasks.loader import EvalLoader, Rows, State, TrainLoader
from glue_tasks.metrics import combined, majority, metrics
from glue_tasks.mixture import MixtureLoader, Sampling, check_sampling
from glue_tasks.options import faults
from glue_tasks.seeds import whole
from glue_tasks.sources import Source, fingerprint, load
from glue_tasks.tasks import Task
from glue_tasks.tokens import labels_of, load_tokenizer, tokenise


class GlueDataModule(pl.LightningDataModule):
    """The splits of one task.

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
        protocol: Literal["holdout", "dev"] = "holdout",
        train_split: str | None = None,
        train_subset: int | None = None,
        evaluate: bool = True,
        max_length: int = 256,
        batch_size: int = 16,
        eval_batch_size: int = 64,
        order_seed: int = 0,
        split_seed: int = 0,
        also: list[Beside] | None = None,
        sampling: Sampling = "proportional",
        temperature: float = 1.0,
    ) -> None:
        super().__init__()
        for name, found in faults(GlueDataModule.__init__, locals()):
            raise DataError(f"data.{name} {found}")
        self.task = task_of(task)
        self.labels = self.task.labels
        self.tokenizer, self.max_length = tokenizer, max_length
        self.source, self.path = source, path
        self.protocol, self.train_subset = protocol, train_subset
        self.train_split = train_split or self.task.train
        self.evaluate = evaluate and self.task != TEXT
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order_seed = whole(order_seed, "data.order_seed")
        self.split_seed = whole(split_seed, "data.split_seed")
        self.sampling: Sampling = sampling
        self.temperature = temperature
        self.beside: dict[str, Other] = others(also, self.task, source, path, self.split_seed)
        """Tasks that train beside this one, by the split that their rows are: `train/<task>`."""
        self.missing_splits: tuple[str, ...] = ()
        """Dev splits that are not at hand; only where training uses another dev split."""
        self.truncated: dict[str, int] = {}
        """How many rows were cut to `max_length`, by split, of those tokenised so far."""
        self._raw: dict[str, Dataset] = {}
        self._rows: dict[str, Rows] = {}
        self._train_loader: TrainLoader | MixtureLoader | None = None
        self._resumed: State | None = None
        metrics(self.task)  # complains of a class path now, and not at the first evaluation
        self._check()

    def _check(self) -> None:
        for option in ("batch_size", "eval_batch_size", "train_subset", "max_length"):
            value = getattr(self, option)
            if value is not None and value < 1:
                raise DataError(f"data.{option}={value} must be at least 1")
        check_sampling(self.sampling, self.temperature)
        task, split = self.task, self.train_split
        if split is not None and split not in task.trainable:
            valid = ", ".join(task.trainable) or "none"
            raise DataError(f"data.train_split={split!r}: task {task.name!r} trains on one of: {valid}")
        if split is not None and self.evaluate and self.protocol == "dev" and set(task.dev) <= {split}:
            raise DataError(
                f"data.protocol=dev leaves no split to evaluate on when {task.name!r} trains on {split!r}; "
                "use data.protocol=holdout, or data.evaluate=false"
            )

    # Splits

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """The labels of each task that trains beside this one, by its name; empty where none does."""
        return {other.task.name: other.task.labels for other in self.beside.values()}

    @property
    def sample(self) -> bool:
        """Whether these are the built-in sample's rows, whose scores say nothing about GLUE."""
        return self.source == "sample"

    @cached_property
    def dev_splits(self) -> tuple[str, ...]:
        """The dev splits that are not trained on."""
        splits = tuple(split for split in self.task.dev if split != self.train_split)
        if self.protocol == "dev" or self.train_split not in self.task.dev:
            return splits
        # training on a dev split is for when the download is not whole: MNLI from its matched dev set alone
        for split in splits:
            try:
                self._load(split)
            except DataError as error:
                self.missing_splits += (split,)
                if self.evaluate:
                    rank_zero_warn(f"evaluating without {split}: {error}")
        return tuple(split for split in splits if split not in self.missing_splits)

    @property
    def evaluation_splits(self) -> tuple[str, ...]:
        """What `val_dataloader` yields, a loader each: what choices during a run may look at."""
        if not self.evaluate:
            return ()
        return ("selection",) if self._carves else self.dev_splits

    @property
    def final_splits(self) -> tuple[str, ...]:
        """What a finished run is scored on."""
        if not self.evaluate:
            return ()
        return ("selection", *self.dev_splits) if self._carves else self.dev_splits

    @property
    def _carves(self) -> bool:
        return self.protocol == "holdout" and self.train_split is not None and self.task != TEXT

    def table(self, split: str) -> Dataset:
        """The rows of a split: of `train` those trained on, `selection`, or any other as it was read.

        `train/<task>` has those of a task beside this one.
        """
        if split in self.beside:
            return self.beside[split].table
        return self._carved[split] if split in self._carved_names else self._load(split)

    @property
    def _carved_names(self) -> tuple[str, ...]:
        return ("train", "selection") if self._carves else ("train",)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of the train and final splits."""
        return {split: len(self.table(split)) for split in ("train", *self.beside, *self.final_splits)}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hash of the rows of the train and final splits."""
        return {split: fingerprint(self.table(split)) for split in ("train", *self.beside, *self.final_splits)}

    def _load(self, split: str) -> Dataset:
        if split not in self._raw:
            table = load(self.task, split, self.source, self.path)
            if not len(table):
                raise DataError(f"split {split!r} of task {self.task.name!r} has no rows; check data.path")
            self._raw[split] = table
        return self._raw[split]

    @cached_property
    def _carved(self) -> dict[str, Dataset]:
        """Train and selection; the selection depends on the rows and `split_seed`, not on the subset."""
        if self.train_split is None:
            raise DataError(f"task {self.task.name!r} has no training split; it is for predicting only")
        whole = self._load(self.train_split)
        inspect(self.task, self.train_split, whole, self.evaluate)
        selection = None
        if self._carves:
            selection = min([len(whole) // 10, *(len(self._load(split)) for split in self.dev_splits[:1])])
        return carve(self.task, self.train_split, whole, selection, self.train_subset, self.split_seed)

    def rows(self, split: str) -> Rows:
        """A split's tokens, made once."""
        if split not in self._rows:
            task = self.beside[split].task if split in self.beside else self.task
            self._rows[split] = tokenise(split, self.table(split), task.columns, self.vocabulary, self.max_length)
            self.truncated[split] = self._rows[split].truncated
        return self._rows[split]

    @cached_property
    def vocabulary(self) -> PreTrainedTokenizerBase:
        tasks = (self.task, *(other.task for other in self.beside.values()))
        return load_tokenizer(self.tokenizer, self.max_length, any(len(task.columns) == 2 for task in tasks))

    # What Lightning calls

    def prepare_data(self) -> None:
        """Download, on one process of a node."""
        _ = self.vocabulary
        if self.source == "hub":
            for split in self.task.splits:
                self._load(split)
        for other in self.beside.values():
            if other.source == "hub":
                _ = other.table

    def setup(self, stage: str) -> None:
        """Tokenise what the stage needs; stages are fit, validate, test, predict."""
        tested = self.dev_splits if self.evaluate else ()
        evaluation = {"test": tested, "predict": self.task.test}.get(stage, self.evaluation_splits)
        for split in (*(("train", *self.beside) if stage == "fit" else ()), *evaluation):
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
        if self.beside:
            tasks = {self.task.name: rows, **{other.task.name: self.rows(n) for n, other in self.beside.items()}}
            self._train_loader = MixtureLoader(tasks, *dealt, self.sampling, self.temperature)
        else:
            self._train_loader = TrainLoader(rows, *dealt)
        if self._resumed is not None:
            self._train_loader.load_state_dict(self._resumed)
            self._resumed = None
        return self._train_loader

    def state_dict(self) -> dict[str, State]:
        """Where the training loader is.

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
        """This process's part of any split."""
        world, rank = (1, 0) if self.trainer is None else (self.trainer.world_size, self.trainer.global_rank)
        return EvalLoader(self.rows(split), self.eval_batch_size, world, rank)

    # Scores

    def metrics(self, split: str) -> MetricCollection:
        """Fresh metrics for a split's predictions once they are gathered from all ranks, each row once."""
        return metrics(self.task, sync_on_compute=False)

    def score(self, scores: Mapping[str, float]) -> float:
        """What a checkpoint is chosen by, of a split's scores: see `glue_tasks.metrics.combined`."""
        return combined(self.task, scores)

    def majority(self, split: str) -> dict[str, float]:
        """The scores on a split of predicting train's commonest class, or its mean, for every row."""
        return majority(self.task, labels_of(self.table("train")), labels_of(self.table(split)))
