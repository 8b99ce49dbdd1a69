"""Optimizer steps are logged when Lightning logs, with their loss, its terms and the methods' diagnostics."""

from typing import Any

import torch

from ftreg.core.step_log import StepLog, step_values


def logs_now(trainer: Any) -> bool:
    """Return whether the optimizer step that the trainer is in is one that Lightning will log."""
    every = int(trainer.log_every_n_steps)
    return every > 0 and (int(trainer.global_step) + 1) % every == 0


def log_step(module: Any, log: StepLog) -> None:
    """Log an optimizer step's loss, its terms and the methods' diagnostics, as `train/…`: the global batch's.

    Call it on every rank.

    Args:
        module: the `FineTuner`.
        log: of all of this rank's micro-batches of the step.
    """
    params = [p for p in module.encoder.weights.real.values() if p.requires_grad]
    found = step_values(log, module.methods, params, module.trainer.global_step, module.trainer.world_size)
    exact = torch.promote_types(params[0].dtype, torch.float32)
    for name, value in found.items():
        module.log(f"train/{name}", torch.tensor(value, dtype=exact), prog_bar=name == "loss", batch_size=1)
