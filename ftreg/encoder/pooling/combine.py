"""Layers are combined without a parameter, as in BERT's feature-based variants.

Devlin, Chang, Lee, Toutanova. *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*. NAACL
2019, arXiv 1810.04805, table 7.
"""

from collections.abc import Sequence
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor, nn

How = Literal["last", "second_to_last", "concat", "sum", "mean"]


class Combine(nn.Module):
    """A combination is one of the layers, or their concatenation, sum or mean.

    Args:
        how: which.
        layers: how many there are.
        dim: entries of a vector.
    """

    def __init__(self, how: How, layers: int, dim: int) -> None:
        super().__init__()
        self.how = how
        self.size = dim * layers if how == "concat" else dim

    def forward(
        self,
        pooled: Float[Tensor, "batch layers dim"],
        states: Sequence[Float[Tensor, "batch tokens dim"]],
        mask: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch out"]:
        """Combine the layers' vectors, lowest layer first."""
        if self.how == "concat":
            return pooled.flatten(1)
        if self.how in ("sum", "mean"):
            return pooled.sum(1) if self.how == "sum" else pooled.mean(1)
        return pooled[:, -1 if self.how == "last" else -2]
