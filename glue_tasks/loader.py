"""Batches are made of rows in memory: training ones resume exactly, and evaluation counts every row once.

Both loaders replace `torch.utils.data.DataLoader`, so Lightning neither injects a sampler nor rebuilds them.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NotRequired, Self, TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from glue_tasks.errors import DataError
from glue_tasks.seeds import whole
from glue_tasks.words import Words

Ints = NDArray[np.integer[Any]]
State = dict[str, int | str]


class Batch(TypedDict):
    """A batch is a micro-batch of B rows padded to its longest row, T tokens."""

    input_ids: Tensor
    """long [B, T]"""
    attention_mask: Tensor
    """long [B, T], 1 on tokens"""
    token_type_ids: NotRequired[Tensor]
    """long [B, T], where the tokenizer knows token types"""
    labels: Tensor
    """[B], long class ids or float32 targets, -1 where unlabelled; [B, labels], float32 of 0 and 1 for sets of labels;
    or [B, T], long class ids on the first token of every word, -100 on the others"""
    word_labels: NotRequired[Tensor]
    """A task of tokens' labels: long [B, W], of all words, those too that no token is left of; padded with -100"""
    word_positions: NotRequired[Tensor]
    """Its places: long [B, W], where a word's first token is; -1 for those without one, and for padding"""
    row_ids: Tensor
    """long [B], index of the row in the split's table"""
    valid: Tensor
    """bool [B], False on filler rows, which count for nothing"""
    lengths: list[int]
    """Tokens of each row, on the host: packing plans with them."""
    split: str
    scale: NotRequired[float]
    """Training only: `scale * sum(valid * losses)`, averaged over all cells, is the global batch's mean."""
    task: NotRequired[str]
    """Training on several tasks only: the name of the one that these rows are of."""


@dataclass(frozen=True)
class Rows:
    """Rows are one tokenised split in flat arrays: row r has `tokens[starts[r] : starts[r] + lengths[r]]`.

    Position 0 of the arrays belongs to no row. It holds what padding reads, so a batch is one gather.
    """

    split: str
    tokens: Ints
    """int32 [1 + all tokens]"""
    types: Ints | None
    """Token types, uint8 [1 + all tokens], or None where the tokenizer has none"""
    starts: Ints
    """int64 [rows]"""
    lengths: Ints
    """int64 [rows]"""
    labels: Tensor
    """[rows], long class ids or float32 targets; float32 [rows, labels] for sets of labels; [rows, 0] where words have
    them"""
    row_ids: Tensor
    """long [rows]"""
    truncated: int
    """How many rows were cut to the maximal length."""
    words: Words | None = None
    """The words of a task of tokens, which have the labels"""

    @classmethod
    def from_lists(
        cls,
        split: str,
        tokens: Sequence[Sequence[int]],
        types: Sequence[Sequence[int]] | None,
        labels: Tensor,
        row_ids: Tensor,
        pad_id: int,
        truncated: int = 0,
        words: Words | None = None,
    ) -> Self:
        lengths = np.fromiter(map(len, tokens), np.int64, len(tokens))
        size = 1 + int(lengths.sum())
        flat_types = None if types is None else chain((0,), chain.from_iterable(types))
        return cls(
            split,
            tokens=np.fromiter(chain((pad_id,), chain.from_iterable(tokens)), np.int32, size),
            types=None if flat_types is None else np.fromiter(flat_types, np.uint8, size),
            starts=1 + lengths.cumsum() - lengths,
            lengths=lengths,
            labels=labels,
            row_ids=row_ids,
            truncated=truncated,
            words=words,
        )

    def __len__(self) -> int:
        return len(self.lengths)

    def collate(self, rows: Tensor, valid: Tensor) -> Batch:
        """Make the batch of these positions, long [B], with `valid`, bool [B]."""
        at = rows.numpy()  # numpy, because its gather takes half of torch's time at this size
        lengths = self.lengths[at]
        position = np.arange(lengths.max())
        mask = position < lengths[:, None]
        index = (self.starts[at][:, None] + position) * mask
        batch = Batch(
            input_ids=torch.from_numpy(self.tokens[index].astype(np.int64)),
            attention_mask=torch.from_numpy(mask.astype(np.int64)),
            labels=self.labels[rows],
            row_ids=self.row_ids[rows],
            valid=valid,
            lengths=lengths.tolist(),
            split=self.split,
        )
        if self.words is not None:
            batch.update(self.words.collate(at, mask.shape[1]))  # type: ignore[typeddict-item]
        if self.types is not None:
            batch["token_type_ids"] = torch.from_numpy(self.types[index].astype(np.int64))
        return batch

    def digest(self) -> str:
        """Return a hash of which rows these are, in which order, and of their tokens."""
        hashed = hashlib.blake2b(digest_size=8)
        for part in (self.row_ids.numpy(), self.lengths, self.tokens):
            hashed.update(part.tobytes())
        return hashed.hexdigest()


class EpochOrder:
    """The order of an epoch's rows is a function of the seed and the epoch alone, so the same on every rank."""

    def __init__(self, rows: int, seed: int) -> None:
        self.rows, self.seed, self.epoch = rows, whole(seed, "order_seed"), 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def order(self) -> Tensor:
        """Return the epoch's order, long [rows], a permutation."""
        return torch.randperm(self.rows, generator=stream("order", self.seed, self.epoch))


def stream(*key: str | int) -> torch.Generator:
    """Return a generator named by `key`."""
    # hashed, because generators seeded with neighbouring numbers need not be independent
    digest = hashlib.blake2b("/".join(map(str, key)).encode(), digest_size=8).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest, "big") >> 1)


def deal(rows: Rows, batch: Tensor, cell: int, cells: int) -> Batch:
    """Return one cell of a global batch: every cells-th of the positions `batch`, long [B], from the cell-th on.

    A cell without rows gets one filler row.
    """
    mine = batch[cell::cells]
    valid = torch.full((max(len(mine), 1),), len(mine) > 0)
    return {**rows.collate(mine if len(mine) else batch[:1], valid), "scale": cells / len(batch)}


class TrainLoader:
    """The training loader deals each global batch of at most `batch_size` rows into `accumulate` parts on every rank.

    Micro-batch a of a rank is cell a * world + rank, of world * accumulate. So every rank takes every micro-step,
    and an optimizer step sees exactly one global batch.
    """

    def __init__(
        self, rows: Rows, batch_size: int, order_seed: int, world: int = 1, rank: int = 0, accumulate: int = 1
    ) -> None:
        self.rows, self.batch_size = rows, batch_size
        self.world, self.rank, self.accumulate = world, rank, accumulate
        self.sampler = EpochOrder(len(rows), order_seed)  # Lightning calls sampler.set_epoch by these names
        self._start = self._position = 0

    def __len__(self) -> int:
        return math.ceil(len(self.rows) / self.batch_size) * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        start, self._start = self._start, 0
        # A generator, so this runs at the first next(): Lightning sets the epoch between iter() and that.
        order = self.sampler.order()
        cells = self.world * self.accumulate
        for step in range(start, len(self)):
            number, micro = divmod(step, self.accumulate)
            batch = order[number * self.batch_size : (number + 1) * self.batch_size]
            self._position = step + 1  # before the yield: Lightning never exhausts the generator
            yield deal(self.rows, batch, micro * self.world + self.rank, cells)

    def state_dict(self) -> State:
        """Return the position, the same on all ranks (only rank 0 writes it), and everything it depends on."""
        return {"position": self._position, **self._identity()}

    def load_state_dict(self, state: State) -> None:
        """Continue from there at the next `iter()`; `DataError` if other batches would follow than before."""
        check_same(state, self._identity())
        # the end of an epoch is the start of the next
        self._start = self._position = int(state["position"]) % len(self)

    def _identity(self) -> State:
        return {
            "batch_size": self.batch_size,
            "world": self.world,
            "accumulate": self.accumulate,
            "order_seed": self.sampler.seed,
            "rows": len(self.rows),
            "data": self.rows.digest(),
        }


def check_same(state: State, identity: State) -> None:
    """Refuse to go on with other batches.

    Raises `DataError`: names the first entry of `identity` that differs in `state`.
    """
    for name, ours in identity.items():
        saved = state.get(name)
        if saved != ours:
            raise DataError(
                f"cannot resume: {_MEANING[name]} was {saved} in the checkpoint and is {ours} now; "
                "resume with the settings and data of the first start"
            )


_MEANING = {
    "tasks": "the list of tasks",
    "sampling": "the sampling of tasks",
    "temperature": "the temperature of the sampling",
    "batch_size": "the global batch size",
    "world": "the number of processes",
    "accumulate": "accumulate_grad_batches",
    "order_seed": "the order seed",
    "rows": "the number of training rows",
    "data": "the hash of the tokenised training rows",
}


class EvalLoader:
    """The evaluation loader has rows rank, rank + world, ... in the table's order, `batch_size` at a time.

    Filler (copies of the last row, not valid) gives all ranks equally many rows and batches: Lightning's
    loops and the metrics' collectives need every rank in every step, even with fewer rows than ranks.
    """

    def __init__(self, rows: Rows, batch_size: int, world: int = 1, rank: int = 0) -> None:
        self.rows, self.batch_size, self.world, self.rank = rows, batch_size, world, rank
        self._share = math.ceil(len(rows) / world)

    def __len__(self) -> int:
        return math.ceil(self._share / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        mine = torch.arange(self.rank, self._share * self.world, self.world)
        for start in range(0, len(mine), self.batch_size):
            rows = mine[start : start + self.batch_size]
            yield self.rows.collate(rows.clamp(max=len(self.rows) - 1), rows < len(self.rows))
