"""A classification head reads pooled and mixed layers."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from ftreg.encoder.pooling.tokens import TokenPooling


class Head(nn.Module):
    """This head makes logits of all layers' hidden states.

    Args:
        numbers: of the layers that are read, ascending.
        tokens: pools each of them.
        mix: of [batch, layers, dim], the layers' hidden states and the mask, a vector of `mix.size` entries.
        config: the Hugging Face model's: the number of outputs, and how the plain head is drawn.
        dropout: the plain head's.
    """

    def __init__(
        self, numbers: Sequence[int], tokens: TokenPooling, mix: nn.Module, config: Any, dropout: float
    ) -> None:
        super().__init__()
        self.numbers = tuple(numbers)
        self.tokens, self.mix = tokens, mix
        self.dropout = nn.Dropout(dropout)
        self.classifier = nn.Linear(int(mix.size), config.num_labels)  # type: ignore[arg-type]
        nn.init.normal_(self.classifier.weight, std=float(getattr(config, "initializer_range", 0.02)))
        nn.init.zeros_(self.classifier.bias)

    def forward(
        self, states: Sequence[Float[Tensor, "batch tokens dim"]], mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch classes"]:
        """Compute the logits of all hidden states, the embeddings' output first."""
        read = [states[number] for number in self.numbers]
        pooled = torch.stack([self.tokens(state, mask) for state in read], 1)
        out: Tensor = self.classifier(self.dropout(self.mix(pooled, read, mask)))
        return out
