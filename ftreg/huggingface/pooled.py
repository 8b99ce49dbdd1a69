"""A model whose head a method has replaced, as a Trainer evaluates it: with that head."""

from typing import Any

from torch import nn
from transformers.modeling_outputs import SequenceClassifierOutput

from ftreg.core.engine import Engine
from ftreg.core.step import Step
from ftreg.encoder.noise import StreamKey


class Pooled(nn.Module):
    """Called as the model is, and answers with the head that the engine trains.

    Args:
        engine: whose `encoder.head` is not the model's own.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__()
        self._engine = (engine,)  # in a tuple: no part of this one

    def forward(self, num_items_in_batch: Any = None, **batch: Any) -> SequenceClassifierOutput:
        """Return the logits of a batch, and its mean loss where it has the targets."""
        engine = self._engine[0]
        step = Step(batch, engine.encoder, (), engine.criterion, StreamKey(engine.seed, 0))
        prediction = step.predict(dropout="none")
        known = all(key in batch for key in engine.criterion.targets)
        return SequenceClassifierOutput(loss=step.mean(prediction.losses) if known else None, logits=prediction.logits)
