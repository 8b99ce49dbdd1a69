"""A LightningModule of one's own drives an engine.

    class Tagger(EngineModule):
        def __init__(self) -> None:
            super().__init__()
            model = AutoModelForTokenClassification.from_pretrained("bert-base-cased", num_labels=9)
            self.engine = Engine(model, [Mixout(p=0.7)], seed=0)

        def training_step(self, batch, batch_idx):
            return self.engine(batch)

        def configure_optimizers(self):
            return torch.optim.AdamW(self.engine.parameters(), lr=2e-5)

Methods are given to the engine, or to the Trainer as callbacks; either way they are both. Under manual optimization
`optimizer.step()` is enough; between two of them in one `training_step`, call `self.engine.after_step()`.
"""

from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl

from ftreg._base.errors import UsageError
from ftreg.core.engine import Engine
from ftreg.core.method import Regularizer
from ftreg.core.states import refuse_other

KEY = "ftreg_engine"


class EngineModule(pl.LightningModule):
    """In such a module, `engine` makes the loss; override `training_step` and the rest as usual."""

    engine: Engine
    drives_engine = True
    _counted: int | None = None
    """Optimizer steps, as the trainer and not the user has told the engine."""

    def configure_callbacks(self) -> Sequence[pl.Callback]:
        """Let the engine's methods be callbacks: the Trainer then saves their states and tells them of exceptions."""
        engine, there = getattr(self, "engine", None), _methods(self)
        if engine is None:
            return []
        theirs = [method for method in there if not any(method is own for own in engine.methods)]
        if theirs:
            engine.adopt([*engine.methods, *theirs])
        return [method for method in engine.methods if not any(method is own for own in there)]

    def on_train_start(self) -> None:
        if not isinstance(getattr(self, "engine", None), Engine):
            raise UsageError(
                f"{type(self).__name__} has no engine; give it self.engine = ftreg.Engine(...) in __init__"
            )
        one_sided = {id(method) for method in self.engine.methods} ^ {id(method) for method in _methods(self)}
        if one_sided:
            raise UsageError(
                f"the engine of {type(self).__name__} and the Trainer have other methods; build the engine in "
                f"__init__, and let configure_callbacks return what super().configure_callbacks() does beside its own"
            )
        if self.trainer.global_step == 0:
            self.engine.restart()  # an earlier fit has counted too
        if self.engine.total_steps in (None, self._counted):
            self._counted = self.engine.total_steps = self._steps()
        self.engine.begin()

    def _steps(self) -> int | None:
        """Return how many steps the optimizer takes; None where nobody knows, as by hand without `max_steps`."""
        if self.automatic_optimization:
            return int(self.trainer.estimated_stepping_batches)
        return self.trainer.max_steps if self.trainer.max_steps > 0 and len(self.trainer.optimizers) == 1 else None

    def on_before_optimizer_step(self, optimizer: Any) -> None:
        self.engine.before_step()

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self.engine.after_step()

    def on_train_batch_end(self, *args: Any) -> None:
        if not self.automatic_optimization and self.engine.stepped:
            self.engine.after_step()

    def on_train_end(self) -> None:
        self.engine.end()

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        self.on_train_batch_end()
        checkpoint[KEY] = self.engine.counts() | {"methods": [method.name for method in self.engine.methods]}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if KEY in checkpoint:
            refuse_other(checkpoint[KEY]["methods"], self.engine.methods)
            self.engine.load_counts(checkpoint[KEY])


def _methods(module: pl.LightningModule) -> list[Regularizer]:
    """Return the methods among the trainer's callbacks, in order."""
    callbacks: list[pl.Callback] = module.trainer.callbacks  # type: ignore[attr-defined]
    return [callback for callback in callbacks if isinstance(callback, Regularizer)]
