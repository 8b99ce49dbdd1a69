"""What is logged of an optimizer step is of its whole batch, whatever its cells are; ranks decide together."""

import math
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from torch import Tensor
from torch.multiprocessing.spawn import start_processes

from ftreg import FreeLB, Regularizer
from ftreg._base.errors import DivergedError
from ftreg.core.divergence_guard import DivergenceGuard
from ftreg.core.tally import Tally
from ftreg.testing.cases import ACTING
from ftreg.testing.fits import Logged
from tests.models import checkpoint
from tests.pipeline import fit


class Told(Regularizer):
    """Records one number a micro-batch, and remembers what the step logs of it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def penalty(self, step: Any) -> None:
        if step.logs:
            step.record("rows", int(step.valid.sum()))
            step.record("missing", math.nan if not step.valid.any() else 1.0)

    def logged(self, values: Any, number: int) -> None:
        self.seen.append(dict(values) | {"number": number})


def test_a_micro_batch_without_rows_counts_for_nothing(tmp_path: Path) -> None:
    """33 rows, batch 16, four micro-batches: the third step is of one row, and three of its micro-batches have none."""
    seen, told = Logged(), Told()
    methods = [FreeLB(), ACTING(), told]
    options: dict[str, Any] = {"max_steps": 3, "log_every_n_steps": 3, "accumulate_grad_batches": 4, "rows": 17}
    fit(checkpoint(tmp_path, "bert"), [*methods, seen], **options)
    found = {name.removeprefix("logged/3/train/"): float(value) for name, value in seen.values.items()}
    assert {"loss", "FreeLB", "FreeLB/loss_rise", "SMART/gradient_ratio", "SMART/delta_max"} < found.keys()
    assert all(math.isfinite(value) for value in found.values())
    assert found["loss"] > 0.1
    assert found["loss"] == pytest.approx(sum(v for n, v in found.items() if n in LOSS))
    assert told.seen == [{"rows": 1.0, "missing": 1.0, "number": 2}]


LOSS = {"FreeLB", "SMART/smoothness", "SMART/bregman"}


def dealt(tally: Tally, values: Tensor, valid: Tensor) -> None:
    tally.terms({"task": torch.where(valid, values, 0).sum()})
    tally.mean("mean", values, valid)
    tally.largest("largest", values, valid)
    tally.sum("sum", int(valid.sum()))


def test_cells_of_any_size_give_the_whole_batchs_values() -> None:
    values = torch.tensor([1.0, 5.0, 3.0, 9.0], dtype=torch.float64)
    valid, filler = torch.ones(4).bool(), torch.zeros(1).bool()
    whole, cells = Tally(), Tally(cells=3)
    dealt(whole, values, valid)
    for part in (values[:1], values[1:]):
        dealt(cells, part, valid[: len(part)])
    dealt(cells, torch.tensor([math.nan], dtype=torch.float64), filler)
    expected = {"task": 18.0, "mean": 4.5, "largest": 9.0, "sum": 4.0}
    assert whole.values() == expected
    assert cells.values() == expected | {"task": 6.0}
    assert cells.loss(cells.values()) == 6.0


def test_what_is_not_a_number_is_not_hidden() -> None:
    values = torch.tensor([1.0, math.nan])
    tally = Tally()
    for part in (values[1:], values[:1]):
        dealt(tally, part, torch.ones(1).bool())
    assert all(math.isnan(value) for name, value in tally.values().items() if name != "sum")


def two_ranks(work: Callable[[int], Any], folder: Path) -> list[Any]:
    """What each of two processes returns or raises."""
    start_processes(_rank, (work, folder), nprocs=2, start_method="fork")
    return [torch.load(folder / f"{rank}.pt") for rank in range(2)]


def _rank(rank: int, work: Callable[[int], Any], folder: Path) -> None:
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2)
    try:
        found = work(rank)
    except DivergedError as error:
        found = str(error)
    torch.save(found, folder / f"{rank}.pt")
    torch.distributed.barrier()


def _ranks_values(rank: int) -> Any:
    param = torch.zeros(2, dtype=torch.float64)
    values, valid = torch.tensor([[1.0, 5.0], [math.nan] * 2][rank]).double(), torch.tensor([rank == 0] * 2)
    tally = Tally(cells=2)
    dealt(tally, values, valid)
    if rank == 0:  # a name that another rank lacks is no reason to hang
        tally.ratio("ratio", [param + 3], [None])
        tally.mean("only here", values, valid)
    return tally.values([param], 2)


def _wild(kind: str, rank: int) -> None:
    """Rank 1 alone has a term that is NaN, or one whose gradient is."""
    window, param = DivergenceGuard(), torch.ones(1, requires_grad=True)
    wild = rank == 1
    term = (param - param).sqrt().sum() if wild and kind == "gradient" else 0 * param.sum()
    if wild and kind == "term":
        term = term * math.nan
    window.add({"task": param.sum(), "SMART/bregman": term}, lambda: {"task": param.sum(), "SMART/bregman": term})
    norm = torch.tensor(math.nan if kind != "none" else 1.0)  # after DDP's reduction it is the same everywhere
    window.close(norm, 7, [param], world=2)


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("term", "on rank 1, SMART's term bregman is nan. "),
        (
            "gradient",
            "on rank 1, the gradient's norm is nan, though the loss is finite: it comes from SMART's term bregman",
        ),
    ],
)
def test_ranks_diverge_together(tmp_path: Path, kind: str, said: str) -> None:
    """All raise, and say the same: which rank, step, method and term."""
    one, other = two_ranks(partial(_wild, kind), tmp_path)
    assert one == other
    assert f"training diverged at optimizer step 7: {said}" in one


def test_two_ranks_log_the_whole_batchs_values(tmp_path: Path) -> None:
    one, other = two_ranks(_ranks_values, tmp_path)
    expected = {"task": 3.0, "mean": 3.0, "largest": 5.0, "sum": 2.0, "only here": 3.0, "ratio": math.inf}
    assert one == other == expected
