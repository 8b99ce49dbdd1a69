"""Several tasks train in turn on one encoder with a head a task: each batch is of one task.

Liu, He, Chen, Gao. *Multi-Task Deep Neural Networks for Natural Language Understanding*. ACL 2019, arXiv 1901.11504:
an epoch is every task's batches merged and shuffled (Algorithm 1). With a temperature, tasks are drawn instead:

    p_i = n_i^(1/T) / Σ_j n_j^(1/T)

for a task i of n_i rows: in proportion to its size at T = 1, all alike as T grows.
"""

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Literal

import torch
from torch import Tensor

from glue_tasks.errors import DataError
from glue_tasks.loader import Batch, Rows, State, check_same, deal, stream
from glue_tasks.seeds import whole

Sampling = Literal["proportional", "temperature"]


class TaskOrder:
    """The order of an epoch's tasks, one an optimizer step, is a function of the seed and the epoch alone.

    Args:
        sizes: rows of each task.
        batch_size: rows of an optimizer step; an epoch has as many steps as there are batches of all tasks.
        seed: of the order.
        sampling: `proportional`, every task's batches once an epoch; `temperature`, p_i ∝ n_i^(1/T) at every step.
        temperature: T.

    Raises:
        DataError: T is not positive, or is given where nothing uses it.
    """

    def __init__(
        self, sizes: list[int], batch_size: int, seed: int, sampling: Sampling = "proportional", temperature: float = 1
    ) -> None:
        check_sampling(sampling, temperature)
        self.sizes, self.seed, self.epoch = sizes, whole(seed, "order_seed"), 0
        self.sampling, self.temperature = sampling, temperature
        self.batches = torch.tensor([math.ceil(rows / batch_size) for rows in sizes])

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def probabilities(self) -> Tensor:
        """Return float64 [tasks], what a step's task is drawn with under `temperature`."""
        sizes = torch.tensor(self.sizes, dtype=torch.float64)
        weights = (sizes / sizes.max()) ** (1 / self.temperature)  # divided first: a small T overflows nothing
        return weights / weights.sum()

    def order(self) -> tuple[Tensor, Tensor]:
        """Return, for every step of this epoch, its task and its batch's number among all that this task ever has.

        Both long [steps].
        """
        tasks = self._tasks(self.epoch)
        numbers = torch.empty_like(tasks)
        earlier = sum((self._counts(epoch) for epoch in range(self.epoch)), torch.zeros_like(self.batches))
        for task, count in enumerate(earlier.tolist()):
            steps = tasks == task
            numbers[steps] = count + torch.arange(int(steps.sum()))
        return tasks, numbers

    def _tasks(self, epoch: int) -> Tensor:
        steps, generator = int(self.batches.sum()), stream("tasks", self.seed, epoch)
        if self.sampling == "temperature":
            return torch.multinomial(self.probabilities(), steps, replacement=True, generator=generator)
        merged = torch.repeat_interleave(torch.arange(len(self.sizes)), self.batches)
        return merged[torch.randperm(steps, generator=generator)]

    def _counts(self, epoch: int) -> Tensor:
        return torch.bincount(self._tasks(epoch), minlength=len(self.sizes))


class MixtureLoader:
    """Global batches are of one task each, the same on all ranks and micro-batches, and dealt as `TrainLoader` deals.

    A task's rows are gone through in turn, in another order at each pass: a function of the seed, the task's name and
    the pass, so that no other task changes it.

    Args:
        tasks: the training rows by the task's name.
        batch_size, order_seed, world, rank, accumulate: as of `TrainLoader`.
        sampling, temperature: as of `TaskOrder`.

    Raises:
        DataError: the temperature is not positive, or is given where nothing uses it.
    """

    def __init__(
        self,
        tasks: Mapping[str, Rows],
        batch_size: int,
        order_seed: int,
        world: int = 1,
        rank: int = 0,
        accumulate: int = 1,
        sampling: Sampling = "proportional",
        temperature: float = 1,
    ) -> None:
        self.tasks, self.batch_size = dict(tasks), batch_size
        self.world, self.rank, self.accumulate = world, rank, accumulate
        sizes = [len(rows) for rows in self.tasks.values()]
        self.sampler = TaskOrder(sizes, batch_size, order_seed, sampling, temperature)  # as in TrainLoader
        self._orders: dict[str, tuple[int, Tensor]] = {}
        self._start = self._position = 0

    def __len__(self) -> int:
        return int(self.sampler.batches.sum()) * self.accumulate

    def __iter__(self) -> Iterator[Batch]:
        start, self._start = self._start, 0
        # A generator, so this runs at the first next(): Lightning sets the epoch between iter() and that.
        tasks, numbers = (column.tolist() for column in self.sampler.order())
        names, cells = list(self.tasks), self.world * self.accumulate
        for step in range(start, len(self)):
            number, micro = divmod(step, self.accumulate)
            name = names[tasks[number]]
            batch = deal(self.tasks[name], self._rows(name, numbers[number]), micro * self.world + self.rank, cells)
            self._position = step + 1  # before the yield: Lightning never exhausts the generator
            yield {**batch, "task": name}

    def _rows(self, name: str, number: int) -> Tensor:
        """Return the rows of a task's batch with that number, long [at most batch_size]."""
        rows = len(self.tasks[name])
        turn, place = divmod(number, math.ceil(rows / self.batch_size))
        if self._orders.get(name, (-1,))[0] != turn:
            generator = stream("order", self.sampler.seed, name, turn)
            self._orders[name] = turn, torch.randperm(rows, generator=generator)
        return self._orders[name][1][place * self.batch_size : (place + 1) * self.batch_size]

    def state_dict(self) -> State:
        """Return the position, the same on all ranks (only rank 0 writes it), and everything it depends on."""
        return {"position": self._position, **self._identity()}

    def load_state_dict(self, state: State) -> None:
        """Continue from there at the next `iter()`; `DataError` if other batches would follow than before."""
        check_same(state, self._identity())
        # the end of an epoch is the start of the next
        self._start = self._position = int(state["position"]) % len(self)

    def _identity(self) -> State:
        digests = "".join(rows.digest() for rows in self.tasks.values())
        return {
            "tasks": ", ".join(self.tasks),
            "sampling": self.sampler.sampling,
            "temperature": str(self.sampler.temperature),
            "batch_size": self.batch_size,
            "world": self.world,
            "accumulate": self.accumulate,
            "order_seed": self.sampler.seed,
            "rows": ", ".join(map(str, self.sampler.sizes)),
            "data": hashlib.blake2b(digests.encode(), digest_size=8).hexdigest(),
        }


def check_sampling(sampling: str, temperature: float) -> None:
    """Refuse an unknown sampling, and a temperature that is not positive or that nothing uses."""
    if sampling not in ("proportional", "temperature"):
        raise DataError(f"data.sampling={sampling!r} is unknown; choose from proportional, temperature")
    if not temperature > 0:
        raise DataError(f"data.temperature={temperature} must be above 0; 1 samples tasks in proportion to their rows")
    if sampling == "proportional" and temperature != 1:
        raise DataError(f"data.temperature={temperature} needs data.sampling=temperature")
