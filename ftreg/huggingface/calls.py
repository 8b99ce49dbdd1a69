"""The engine is told what a Trainer's loop tells its callbacks."""

from typing import Any

from transformers import TrainerCallback


class EngineCalls(TrainerCallback):
    """This tells a Trainer's engine when training begins, when the optimizer has stepped, and when training ends.

    Args:
        trainer: an `EngineMixin`.
    """

    def __init__(self, trainer: Any) -> None:
        self._trainer = trainer

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.begin_engine()

    def on_optimizer_step(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.engine.after_step()

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._trainer.engine.end()
