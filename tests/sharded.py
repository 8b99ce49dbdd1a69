"""Every case of the exactness tests on the ranks that a launcher started; each rank writes what it ended with.

python -m torch.distributed.run --nproc_per_node 2 -m tests.sharded FOLDER
"""

import json
import os
import sys
from pathlib import Path

import torch

from ftreg import Mixout
from tests import toys
from tests.pipeline import difference, every_step, fit, state

CASES = {
    "plain": list,
    "anchor": list,
    "mixout": lambda: [Mixout(p=0.6)],
    "weight": lambda: [Mixout(p=0.6, granularity="weight")],
    "reference": lambda: [Mixout(p=0.6, gradient="reference")],
    "objective": lambda: [toys.Ascent()],
    "penalty": lambda: [toys.Jitter()],
    "everything": lambda: [
        toys.Shrink(),
        Mixout(p=0.6),
        toys.Ascent(),
        toys.Jitter(),
        toys.HalveHead(),
        toys.Average(),
    ],
}
OPTIONS = {"anchor": {"decay_towards": "anchor", "weight_decay": 0.5}}


def steady(folder: Path) -> str:
    return str(folder / "steady")


def noisy(folder: Path) -> str:
    return str(folder / "noisy")


def shard(folder: Path, world: int, rank: int) -> None:
    """Run every case with and without accumulation, without dropout."""
    for name, methods in CASES.items():
        for accumulate in (1, 2):
            model = fit(
                steady(folder),
                methods(),
                options=OPTIONS.get(name),
                accumulate_grad_batches=accumulate,
                **({"strategy": "ddp", "devices": world} if world > 1 else {}),
            )
            torch.save(state(model), folder / f"{name}-{world}x{accumulate}-{rank}.pt")
            predictions = model.predictions["dev"]
            torch.save(vars(predictions), folder / f"{name}-{world}x{accumulate}-{rank}-predictions.pt")


def resume(folder: Path, world: int, rank: int) -> None:
    """With dropout on: resume from the checkpoint of every optimizer step, and write how far the ends are apart."""
    options = {
        "max_steps": 7,
        "accumulate_grad_batches": 2,
        "enable_checkpointing": True,
        "val_check_interval": 4,
        "check_val_every_n_epoch": None,
        **({"strategy": "ddp", "devices": world} if world > 1 else {}),
    }
    gaps = {}
    for name in ("plain", "everything"):
        kept = folder / f"steps-{name}-{world}"
        whole = state(fit(noisy(folder), [*CASES[name](), every_step(kept)], **options))
        for checkpoint in sorted(kept.glob("*.ckpt")):
            again = fit(
                noisy(folder),
                CASES[name](),
                resume=str(checkpoint),
                **options | {"enable_checkpointing": False},
            )
            gaps[f"{name}/{checkpoint.stem}"] = difference(whole, state(again))
    (folder / f"resume-{world}-{rank}.json").write_text(json.dumps(gaps))


if __name__ == "__main__":
    torch.set_num_threads(1)
    where, ranks, own = Path(sys.argv[1]), int(os.environ["WORLD_SIZE"]), int(os.environ["RANK"])
    shard(where, ranks, own)
    resume(where, ranks, own)
