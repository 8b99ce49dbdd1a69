"""When an optimizer step is logged, and what of it."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ftreg.core.collectives import all_ranks
from ftreg.core.step_log import StepLog


def logs_now(trainer: Any) -> bool:
    """Whether the optimizer step that the trainer is in is one that Lightning will log."""
    every = int(trainer.log_every_n_steps)
    return every > 0 and (int(trainer.global_step) + 1) % every == 0


def log_step(module: Any, log: StepLog) -> None:
    """Log an optimizer step's loss, its terms and the methods' diagnostics, as `train/…`: the global batch's.

    Call it on every rank.

    Args:
        module: the `FineTuner`.
        log: of all of this rank's micro-batches of the step.
    """
    tally = log.tally
    for name, count in log.non_finite.items():
        tally.sum(f"{name}/non_finite", count)
    params = [p for p in module.encoder.weights.real.values() if p.requires_grad]
    found = tally.values(params, module.trainer.world_size)
    for method in module.methods:
        own = f"{method.name}/"
        values = {name.removeprefix(own): value for name, value in found.items() if name.startswith(own)}
        method.logged(values, module.trainer.global_step)
    found["loss"] = tally.loss(found)
    found = {name: value for name, value in found.items() if not name.endswith("/")}
    exact = torch.promote_types(params[0].dtype, torch.float32)
    for name, value in found.items():
        module.log(f"train/{name}", torch.tensor(value, dtype=exact), prog_bar=name == "loss", batch_size=1)


def counted(counts: Mapping[str, Tensor | int], world: int) -> dict[str, int]:
    """Each count's sum over the ranks. Call it on every rank."""
    everyones = all_ranks({name: int(count) for name, count in counts.items()}, world)
    return {name: sum(found.get(name, 0) for found in everyones) for name in sorted({n for f in everyones for n in f})}
