"""GLUE as a Lightning data module: splits by protocol, tokens in memory, loaders that resume exactly."""

from functools import cached_property
from typing import Literal

import numpy as np
import pytorch_lightning as pl
import torch
from datasets import Dataset
from pytorch_lightning.callbacks import GradientAccumulationScheduler
from pytorch_lightning.utilities import rank_zero_warn
from torchmetrics import MetricCollection
from transformers import PreTrainedTokenizerBase

from glue_tasks.errors import DataError
from glue_tasks.loader import EvalLoader, Rows, State, TrainLoader
from glue_tasks.metrics import metrics
from glue_tasks.sources import Source, fingerprint, load
from glue_tasks.split import group_rows, selection_split, stratified_subset, stratify
from glue_tasks.tasks import Task, find
from glue_tasks.tokens import labels_of, load_tokenizer, tokenise


class GlueDataModule(pl.LightningDataModule):
    """The splits of one task.

    Protocol `holdout` carves a split `selection` out of train, to choose everything by, and leaves the dev
    splits for the end. `dev` trains on all of train and evaluates on the dev splits. When `train_split` names
    a dev split, that one is not among the dev splits any more, and under `holdout` the others may be missing.

    Options:
        task: name of a GLUE task, or a declaration of one's own.
        tokenizer: folder or Hub id of a fast tokenizer.
        source, path: where the rows come from, see `glue_tasks.sources.load`.
        train_subset: train on that many rows, drawn stratified from what the selection split leaves.
        max_length: tokens of a row with the special ones; the longer text of a pair is cut first.
        batch_size: rows of an optimizer step, over all processes and accumulated micro-batches.
        eval_batch_size: rows at a time on each process, in evaluation.

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
        max_length: int = 256,
        batch_size: int = 16,
        eval_batch_size: int = 64,
        order_seed: int = 0,
        split_seed: int = 0,
    ) -> None:
        super().__init__()
        self.task = find(task) if isinstance(task, str) else task
        self.labels = self.task.labels
        self.tokenizer, self.max_length = tokenizer, max_length
        self.source, self.path = source, path
        self.protocol, self.train_subset = protocol, train_subset
        self.train_split = train_split or self.task.train
        self.batch_size, self.eval_batch_size = batch_size, eval_batch_size
        self.order_seed, self.split_seed = order_seed, split_seed
        self.missing_splits: tuple[str, ...] = ()
        """Dev splits that are not at hand; only where training uses another dev split."""
        self.truncated: dict[str, int] = {}
        """How many rows were cut to `max_length`, by split, of those tokenised so far."""
        self._raw: dict[str, Dataset] = {}
        self._rows: dict[str, Rows] = {}
        self._train_loader: TrainLoader | None = None
        self._resumed: State | None = None
        self._check()

    def _check(self) -> None:
        for option, value in (
            ("batch_size", self.batch_size),
            ("eval_batch_size", self.eval_batch_size),
            ("train_subset", self.train_subset),
        ):
            if value is not None and value < 1:
                raise DataError(f"data.{option}={value} must be at least 1")
        if self.protocol not in ("holdout", "dev"):
            raise DataError(f"data.protocol={self.protocol!r} is unknown; choose from holdout, dev")
        task, split = self.task, self.train_split
        if split is not None and (split not in task.splits or split in task.test):
            valid = ", ".join(name for name in task.splits if name not in task.test) or "none"
            raise DataError(f"data.train_split={split!r}: task {task.name!r} trains on one of: {valid}")
        if split is not None and self.protocol == "dev" and set(task.dev) <= {split}:
            raise DataError(
                f"data.protocol=dev leaves no split to evaluate on when {task.name!r} trains on {split!r}; "
                "use data.protocol=holdout"
            )

    # Splits

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
                rank_zero_warn(f"evaluating without {split}: {error}")
        return tuple(split for split in splits if split not in self.missing_splits)

    @property
    def evaluation_splits(self) -> tuple[str, ...]:
        """What `val_dataloader` yields, a loader each: what choices during a run may look at."""
        return ("selection",) if self._carves else self.dev_splits

    @property
    def final_splits(self) -> tuple[str, ...]:
        """What a finished run is scored on."""
        return ("selection", *self.dev_splits) if self._carves else self.dev_splits

    @property
    def _carves(self) -> bool:
        return self.protocol == "holdout" and self.train_split is not None

    def table(self, split: str) -> Dataset:
        """The rows of a split: of `train` those trained on, `selection`, or any other as it was read."""
        return self._carved[split] if split in self._carved_names else self._load(split)

    @property
    def _carved_names(self) -> tuple[str, ...]:
        return ("train", "selection") if self._carves else ("train",)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of the train and final splits."""
        return {split: len(self.table(split)) for split in ("train", *self.final_splits)}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hash of the rows of the train and final splits."""
        return {split: fingerprint(self.table(split)) for split in ("train", *self.final_splits)}

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
        strata = stratify(labels_of(whole), self.task.regression)
        rows = np.arange(len(whole))
        selection = rows[:0]
        if self._carves:
            groups = group_rows(
                list(zip(*(whole[name][:] for name in self.task.columns), strict=True)),
                contained=self.task.grouping == "contained",
            )
            sizes = [len(self._load(split)) for split in self.dev_splits[:1]]
            selection = selection_split(groups, strata, min([len(whole) // 10, *sizes]), self.split_seed)
            if not len(selection):
                raise DataError(
                    f"no selection split can be carved out of the {len(whole)} rows of {self.train_split!r} "
                    f"(task {self.task.name!r}): too few, or all share texts; use data.protocol=dev"
                )
            rows = np.setdiff1d(rows, selection)
        if self.train_subset is not None:
            if self.train_subset > len(rows):
                raise DataError(
                    f"data.train_subset={self.train_subset} is more than the {len(rows)} rows of "
                    f"{self.train_split!r} left for training (task {self.task.name!r})"
                )
            rows = rows[stratified_subset(strata[rows], self.train_subset, self.split_seed)]
        return {"train": whole.select(rows), "selection": whole.select(selection)}

    def rows(self, split: str) -> Rows:
        """A split's tokens, made once."""
        if split not in self._rows:
            tokenizer, columns = self._tokenizer, self.task.columns
            self._rows[split] = tokenise(split, self.table(split), columns, tokenizer, self.max_length)
            self.truncated[split] = self._rows[split].truncated
        return self._rows[split]

    @cached_property
    def _tokenizer(self) -> PreTrainedTokenizerBase:
        return load_tokenizer(self.tokenizer, self.max_length, len(self.task.columns) == 2)

    # What Lightning calls

    def prepare_data(self) -> None:
        """Download, on one process of a node."""
        _ = self._tokenizer
        if self.source == "hub":
            for split in self.task.splits:
                self._load(split)

    def setup(self, stage: str) -> None:
        """Tokenise what the stage needs; stages are fit, validate, test, predict."""
        evaluation = {"test": self.dev_splits, "predict": self.task.test}.get(stage, self.evaluation_splits)
        for split in (*(("train",) if stage == "fit" else ()), *evaluation):
            self.rows(split)

    def train_dataloader(self) -> TrainLoader:
        rows, trainer = self.rows("train"), self.trainer
        if trainer is None:
            return TrainLoader(rows, self.batch_size, self.order_seed)
        callbacks = trainer.callbacks  # type: ignore[attr-defined]
        if any(isinstance(callback, GradientAccumulationScheduler) for callback in callbacks):
            raise DataError("GradientAccumulationScheduler is not supported; use accumulate_grad_batches")
        world, rank, accumulate = trainer.world_size, trainer.global_rank, trainer.accumulate_grad_batches
        self._train_loader = TrainLoader(rows, self.batch_size, self.order_seed, world, rank, accumulate)
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
        return self._loaders(self.evaluation_splits, "no split to validate on")

    def test_dataloader(self) -> list[EvalLoader]:
        return self._loaders(self.dev_splits, "no dev split to test on")

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

    def majority(self, split: str) -> dict[str, float]:
        """The scores on a split of predicting train's commonest class, or its mean, for every row."""
        train, labels = labels_of(self.table("train")), torch.from_numpy(labels_of(self.table(split)))
        constant = float(train.mean()) if self.task.regression else int(np.bincount(train).argmax())
        scores = metrics(self.task, sync_on_compute=False)
        scores.update(torch.full_like(labels, constant), labels)
        return {name: float(score) for name, score in scores.compute().items()}
