"""A bare loop on two processes, whose DDP wraps the engine, is the loop on one: with accumulation and without."""

import multiprocessing
import os
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed
from torch.multiprocessing.spawn import start_processes
from torch.nn.parallel import DistributedDataParallel

from ftreg import SMART, Engine, FreeLB, HeadFirst, Mixout
from ftreg.core.method import Regularizer
from ftreg.testing import CASES, drivers
from ftreg.testing.encoders import STEADY
from tests.models import checkpoint

RANKS, STEPS = 2, 3
TOGETHER: dict[str, Any] = {
    "together": (partial(Mixout, p=0.5), FreeLB, partial(SMART, epsilon=1e-2, step_size=1.0, sigma=1e-3)),
    "held out together": (partial(HeadFirst, share=0.5), FreeLB),
}
RUNS: dict[str, Any] = {**{name: (case.card,) for name, case in CASES.items()}, **TOGETHER}


def trained(backbone: str, build: Any, rank: int, world: int, accumulate: int) -> dict[str, torch.Tensor]:
    """Train on this rank's share of every batch of eight rows, of which each cell has as many as the others."""
    methods: list[Regularizer] = [make() for make in build]
    engine = Engine(drivers.model_of(backbone), methods, seed=0, total_steps=STEPS)
    loss_of: Any = DistributedDataParallel(engine) if world > 1 else engine
    optimizer, schedule = drivers.recipe(engine)
    whole = [{key: torch.cat([part[key] for part in pair]) for key in pair[0]} for pair in _pairs(drivers.batches())]
    for batch in whole[:STEPS]:
        cells = [
            {key: value[place :: world * accumulate] for key, value in batch.items()}
            for place in range(world * accumulate)
        ]
        mine = cells[rank * accumulate : (rank + 1) * accumulate]
        for number, cell in enumerate(mine):
            last = number == len(mine) - 1
            with torch.enable_grad() if last or world == 1 else loss_of.no_sync():
                (loss_of(cell) / accumulate).backward()
        engine.before_step()
        torch.nn.utils.clip_grad_norm_([p for p in engine.parameters() if p.grad is not None], 0.5)
        optimizer.step()
        schedule.step()
        optimizer.zero_grad()
        engine.after_step()
    return drivers.ends(engine)


def _pairs(parts: list[Any]) -> list[tuple[Any, Any]]:
    return list(zip(parts[::2], parts[1::2], strict=True))


def work(rank: int, backbone: str, folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)
    torch.distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=RANKS)
    for name, build in RUNS.items():
        for accumulate in (1, 2):
            torch.save(trained(backbone, build, rank, RANKS, accumulate), folder / f"{name}-{accumulate}-{rank}.pt")
    torch.distributed.destroy_process_group()


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("ranks")
    backbone = checkpoint(tmp_path_factory.mktemp("encoder"), "bert", **STEADY)
    multiprocessing.set_forkserver_preload([__name__])
    start_processes(work, (backbone, folder), nprocs=RANKS, start_method="forkserver")
    return backbone, folder


@pytest.mark.parametrize("name", [*RUNS])
def test_ranks_and_accumulation_change_nothing(name: str, runs: tuple[str, Path]) -> None:
    backbone, folder = runs
    whole = trained(backbone, RUNS[name], 0, 1, 1)
    found = {"1x2": trained(backbone, RUNS[name], 0, 1, 2)}
    for accumulate in (1, 2):
        for rank in range(RANKS):
            found[f"2x{accumulate}, rank {rank}"] = torch.load(
                folder / f"{name}-{accumulate}-{rank}.pt", weights_only=True
            )
    for sharding, end in found.items():
        assert end.keys() == whole.keys()
        gap = max(float((end[key] - value).abs().max()) for key, value in whole.items())
        assert gap <= 1e-9, f"{name} on {sharding} ends {gap:.1e} away"
