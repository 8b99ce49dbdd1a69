"""One step is one algorithm however the batch is sharded, and a resumed run is the uninterrupted one.

Two ranks are started once, run everything that they are given, and write what they end with; one process does the
same meanwhile. CPU and gloo.
"""

import multiprocessing
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.distributed
from torch.multiprocessing.spawn import start_processes

from ftreg.core.method import Regularizer
from ftreg.lightning.finetuner import FineTuner
from ftreg.testing.cases import Case, Method
from ftreg.testing.contracts import require
from ftreg.testing.encoders import STEADY, checkpoint
from ftreg.testing.fits import EVALUATED, Logged, RandomRows, difference, every_step, fit, state

RANKS = 2
SHARDINGS = ("1x2", "2x1", "2x2")
"""Ranks × accumulated micro-batches, each held against `1x1`."""
TOLERANCE = 1e-9
SHORT: dict[str, Any] = {"rows": 19, "max_steps": 4}
"""Three batches an epoch, the last of them of three rows: of four cells, one has none. The last step is in the second
epoch."""
SMALL = 3
"""The optimizer step, from 1, of the small batch; it is logged."""


@dataclass(frozen=True)
class Run:
    """A run is what one fit is made of; it is sent to other processes, so it has no lambdas.

    Args:
        methods: each built afresh.
        options: of the `FineTuner`.
        resumed: whether it is also resumed from the checkpoint of each of its optimizer steps.
        data: the rows.
    """

    methods: tuple[Method, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    resumed: bool = True
    data: type[RandomRows] = RandomRows

    def build(self) -> list[Regularizer]:
        """Return the methods."""
        return [method() for method in self.methods]


def run(runs: Mapping[str, Run], folder: Path) -> None:
    """Run everything on one process and on two ranks; `shards` and `resumes` then read the folder.

    Args:
        runs: by name.
        folder: an empty one.
    """
    checkpoint(folder / "steady", "bert", **STEADY)
    checkpoint(folder / "noisy", "bert")
    multiprocessing.set_forkserver_preload([__name__])  # imports once, not on every rank
    ranks = start_processes(_rank, (runs, folder), nprocs=RANKS, join=False, daemon=True, start_method="forkserver")
    assert ranks is not None
    _work(runs, folder, 1, 0)
    while not ranks.join():
        pass


def shards(folder: Path, name: str) -> None:
    """Require that accumulation, two ranks, and both end as one process with the whole batch does: 1e-9 in float64.

    Weights, optimizer, the methods' own state, the predictions; the loss, its terms and all diagnostics, on every rank.
    """
    whole = _load(folder / f"{name}-1x1-0.pt")
    for sharding in SHARDINGS:
        for rank in range(int(sharding[0])):
            part = _load(folder / f"{name}-{sharding}-{rank}.pt")
            gap = difference(whole, part)
            where = f"{name}: rank {rank} of ranks × accumulation {sharding}"
            require(gap < TOLERANCE, f"{where} ends {gap:.1e} away from one process with the whole batch")
            rows = part["predictions/row_ids"].tolist()
            require(rows == list(range(EVALUATED)), f"{where} evaluated rows {rows}")


def resumes(folder: Path, name: str) -> None:
    """Require that, dropout on, resuming from any optimizer step's checkpoint ends where the whole run does: exactly.

    On one process and on two ranks. Each checkpoint holds plain values: it loads with `weights_only=True`.
    """
    for world in (1, RANKS):
        for rank in range(world):
            gaps = {number: float(gap) for number, gap in _load(folder / f"{name}-resumed-{world}-{rank}.pt").items()}
            steps = SHORT["max_steps"]
            require(len(gaps) == steps, f"{name}: {len(gaps)} checkpoints of {steps} optimizer steps")
            apart = {number: gap for number, gap in gaps.items() if gap}
            require(not apart, f"{name}: rank {rank} of {world}, resumed, ends away from the whole run: {apart}")


def sharding_and_resuming(case: Case, folder: Path) -> None:
    """Require `shards` and `resumes` of the method alone at its card's settings. Starts two processes."""
    run({"card": Run((case.card,))}, folder)
    shards(folder, "card")
    resumes(folder, "card")


def _rank(rank: int, runs: Mapping[str, Run], folder: Path) -> None:
    torch.set_num_threads(1)
    os.environ["LOCAL_RANK"] = str(rank)  # Lightning then starts no processes of its own
    # A file to meet at, and no port that another process could take.
    torch.distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=RANKS)
    _work(runs, folder, RANKS, rank)
    torch.distributed.destroy_process_group()


def _work(runs: Mapping[str, Run], folder: Path, world: int, rank: int) -> None:
    for name, one in runs.items():
        for accumulate in (1, 2):
            logged = Logged()
            model = fit(
                str(folder / "steady"),
                [*one.build(), logged],
                options=one.options,
                data=one.data,
                accumulate_grad_batches=accumulate,
                log_every_n_steps=SMALL,
                **SHORT,
                **_strategy(world),
            )
            found = state(model) | {
                f"predictions/{key}": t for key, t in vars(model.predictions["dev"]).items() if t is not None
            }
            torch.save(found | logged.values, folder / f"{name}-{world}x{accumulate}-{rank}.pt")
        if one.resumed:
            gaps = _resume(one, folder / f"{name}-steps-{world}", str(folder / "noisy"), world)
            torch.save(gaps, folder / f"{name}-resumed-{world}-{rank}.pt")


def _resume(one: Run, kept: Path, backbone: str, world: int) -> dict[str, float]:
    """Return how far resuming from each optimizer step ends from the whole run."""

    def ends(*callbacks: Any, resume: str | None = None) -> FineTuner:
        return fit(
            backbone,
            [*one.build(), *callbacks],
            options=one.options,
            data=one.data,
            resume=resume,
            accumulate_grad_batches=2,
            val_check_interval=4,
            check_val_every_n_epoch=None,
            enable_checkpointing=bool(callbacks),
            **SHORT,
            **_strategy(world),
        )

    whole = state(ends(every_step(kept)))
    return {path.stem: difference(whole, state(ends(resume=str(path)))) for path in sorted(kept.glob("*.ckpt"))}


def _strategy(world: int) -> dict[str, Any]:
    return {"strategy": "ddp", "devices": world} if world > 1 else {}


def _load(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = torch.load(path, weights_only=True)
    return found
