"""A layer's tokens become one vector an example. Padding changes nothing."""

from collections.abc import Callable
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

Tokens = Literal["cls", "mean", "max", "attention", "pooler"]


class TokenPooling(nn.Module):
    """A token pooling makes a layer's tokens one vector, in the same way for every layer that it is given.

    Args:
        kind: `cls`, the first token; `mean` or `max` over the tokens; `attention`, Σ softmax(h · q) h with a learned
            q that starts at 0, as the mean; `pooler`, what the pre-trained model does with its first token.
        dim: entries of a hidden state.
        pooler: the pre-trained pooler, from hidden states to a vector; it stays a part of the model that owns it.
    """

    def __init__(self, kind: Tokens, dim: int, pooler: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.kind = kind
        self.query = nn.Parameter(torch.zeros(dim)) if kind == "attention" else None
        # In a tuple, or its weights would be listed here a second time.
        self._pooler = (pooler,)

    def forward(
        self, hidden: Float[Tensor, "batch tokens dim"], mask: Int[Tensor, "batch tokens"]
    ) -> Float[Tensor, "batch dim"]:
        """Pool one layer's vectors; `mask` is 1 on tokens."""
        real = mask.bool().unsqueeze(-1)
        if self.kind == "mean":
            return (hidden * real).sum(1) / real.sum(1)
        if self.kind == "max":
            return hidden.masked_fill(~real, torch.finfo(hidden.dtype).min).amax(1)
        if self.query is not None:
            scores = (hidden @ self.query.to(hidden.dtype)).masked_fill(mask == 0, -torch.inf)
            return (scores.softmax(1).unsqueeze(-1) * hidden).sum(1)
        (pooler,) = self._pooler
        return hidden[:, 0] if pooler is None else pooler(hidden)
