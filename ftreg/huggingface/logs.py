"""A Trainer logs some optimizer steps, which its engine has to know beforehand."""

from typing import Any

from transformers.trainer_utils import IntervalStrategy


def logs_next(trainer: Any) -> bool:
    """Return whether the optimizer step that comes next is one that the Trainer will log, as far as it can be told."""
    args, number = trainer.args, trainer.state.global_step + 1
    if args.logging_first_step and number == 1:
        return True
    if args.logging_strategy == IntervalStrategy.STEPS:
        return bool(number % max(int(trainer.state.logging_steps), 1) == 0)
    if args.logging_strategy == IntervalStrategy.EPOCH:
        return bool(trainer.accelerator.gradient_state.end_of_dataloader)  # the step's batches have been fetched
    return False
