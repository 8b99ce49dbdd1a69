"""The private members of transformers' Trainer that the driver overrides; tried with transformers 5.23."""

from typing import Any

import transformers
from torch import nn

OURS = ("row_ids",)
"""Columns of a data set that an engine reads and a model does not."""


class Internals(transformers.Trainer):
    """A Trainer that trains another module than its model, and whose training batches keep `OURS`."""

    def driven(self) -> nn.Module:
        """Return what is trained in the model's place, wrapped for this process group."""
        raise NotImplementedError

    def _wrap_model(self, model: nn.Module, training: bool = True, dataloader: Any = None) -> nn.Module:
        # What is returned in training is used as it is; the optimizer is prepared by itself.
        return self.driven() if training else super()._wrap_model(model, training, dataloader)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        columns: Any = self._signature_columns
        self._signature_columns: Any = [*columns, *(name for name in OURS if name not in columns)]
