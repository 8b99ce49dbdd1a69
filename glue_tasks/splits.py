"""Each split of a task has its rows as they were read, or out of train by the protocol."""

from collections.abc import Sequence
from functools import cached_property
from typing import Literal

from datasets import Dataset
from pytorch_lightning.utilities import rank_zero_warn

from glue_tasks.auxiliary_tasks import AuxiliaryRows, AuxiliaryTask, auxiliary_rows
from glue_tasks.documents import TEXT
from glue_tasks.errors import DataError
from glue_tasks.inspection import inspect
from glue_tasks.seeds import whole
from glue_tasks.selection_split import train_and_selection
from glue_tasks.sources import Source, fingerprint, load
from glue_tasks.tasks import Task

Protocol = Literal["holdout", "dev"]


class Splits:
    """One task's splits are tables of text, each read when it is first asked for.

    Arguments as of `glue_tasks.data.GlueDataModule`.

    Raises `DataError`.
    """

    def __init__(
        self,
        task: Task,
        source: Source,
        path: str | None,
        protocol: Protocol,
        train_split: str | None,
        train_subset: int | None,
        evaluate: bool,
        split_seed: int,
        also: Sequence[AuxiliaryTask] | None,
    ) -> None:
        super().__init__()
        self.task = task
        self.source, self.path = source, path
        self.protocol, self.train_subset = protocol, train_subset
        self.train_split = train_split or task.train
        self.evaluate = evaluate and task != TEXT
        self.split_seed = whole(split_seed, "data.split_seed")
        self.auxiliary: dict[str, AuxiliaryRows] = auxiliary_rows(also, task, source, path, self.split_seed)
        """Tasks that train beside this one, by the split that their rows are: `train/<task>`."""
        self.missing_splits: tuple[str, ...] = ()
        """Dev splits that are not at hand; only where training uses another dev split."""
        self._raw: dict[str, Dataset] = {}
        self._check_train_split()

    def _check_train_split(self) -> None:
        task, split = self.task, self.train_split
        if split is not None and split not in task.trainable:
            valid = ", ".join(task.trainable) or "none"
            raise DataError(f"data.train_split={split!r}: task {task.name!r} trains on one of: {valid}")
        if split is not None and self.evaluate and self.protocol == "dev" and set(task.dev) <= {split}:
            raise DataError(
                f"data.protocol=dev leaves no split to evaluate on when {task.name!r} trains on {split!r}; "
                "use data.protocol=holdout, or data.evaluate=false"
            )

    @property
    def heads(self) -> dict[str, tuple[str, ...]]:
        """The labels of each task that trains beside this one, by its name; empty where none does."""
        return {other.task.name: other.task.labels for other in self.auxiliary.values()}

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
        return ("selection",) if self._selects else self.dev_splits

    @property
    def final_splits(self) -> tuple[str, ...]:
        """What a finished run is scored on."""
        if not self.evaluate:
            return ()
        return ("selection", *self.dev_splits) if self._selects else self.dev_splits

    @property
    def _selects(self) -> bool:
        return self.protocol == "holdout" and self.train_split is not None and self.task != TEXT

    def table(self, split: str) -> Dataset:
        """Return the rows of a split: of `train` those trained on, `selection`, or any other as it was read.

        `train/<task>` has those of a task beside this one.
        """
        if split in self.auxiliary:
            return self.auxiliary[split].table
        return self._train_parts[split] if split in self._train_names else self._load(split)

    @property
    def _train_names(self) -> tuple[str, ...]:
        return ("train", "selection") if self._selects else ("train",)

    @property
    def sizes(self) -> dict[str, int]:
        """Rows of the train and final splits."""
        return {split: len(self.table(split)) for split in ("train", *self.auxiliary, *self.final_splits)}

    @cached_property
    def fingerprints(self) -> dict[str, str]:
        """Hash of the rows of the train and final splits."""
        return {split: fingerprint(self.table(split)) for split in ("train", *self.auxiliary, *self.final_splits)}

    def _load(self, split: str) -> Dataset:
        if split not in self._raw:
            table = load(self.task, split, self.source, self.path)
            if not len(table):
                raise DataError(f"split {split!r} of task {self.task.name!r} has no rows; check data.path")
            self._raw[split] = table
        return self._raw[split]

    @cached_property
    def _train_parts(self) -> dict[str, Dataset]:
        """Train and selection; the selection depends on the rows and `split_seed`, not on the subset."""
        if self.train_split is None:
            raise DataError(f"task {self.task.name!r} has no training split; it is for predicting only")
        whole = self._load(self.train_split)
        inspect(self.task, self.train_split, whole, self.evaluate)
        selection = None
        if self._selects:
            selection = min([len(whole) // 10, *(len(self._load(split)) for split in self.dev_splits[:1])])
        return train_and_selection(self.task, self.train_split, whole, selection, self.train_subset, self.split_seed)
