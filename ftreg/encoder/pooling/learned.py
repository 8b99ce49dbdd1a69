"""Learned parameters weight layers, attend to them, or read them in order."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class ScalarMix(nn.Module):
    """ELMo's mix is γ Σ_k softmax(w)_k h_k, which starts as the mean.

    Peters et al. *Deep Contextualized Word Representations*. NAACL 2018, arXiv 1802.05365. With layer dropout, as in
    Kondratyuk and Straka. *75 Languages, 1 Model*. EMNLP 2019, arXiv 1904.02099: in training each layer is left out
    with that probability, unless all would be. (Their code does so in evaluation too.)

    Args:
        layers: how many there are.
        dim: entries of a vector.
        layer_norm: centre and scale each layer by the mean and deviation over its example's tokens and entries. (ELMo
            takes them over the batch, which would make an example's prediction depend on its neighbours.)
        layer_dropout: the probability.
    """

    def __init__(self, layers: int, dim: int, layer_norm: bool = False, layer_dropout: float = 0.0) -> None:
        super().__init__()
        self.size = dim
        self.layer_norm, self.layer_dropout = layer_norm, layer_dropout
        self.w = nn.Parameter(torch.zeros(layers))
        self.gamma = nn.Parameter(torch.ones(()))

    @property
    def weights(self) -> Float[Tensor, " layers"]:
        """softmax(w)."""
        return self.w.detach().softmax(0)

    def forward(
        self,
        pooled: Float[Tensor, "batch layers dim"],
        states: Sequence[Float[Tensor, "batch tokens dim"]],
        mask: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch dim"]:
        """Mix the layers' vectors; `states` are looked at for `layer_norm` only."""
        w: Tensor = self.w
        if self.training and self.layer_dropout:
            dropped = torch.rand(w.shape, device=w.device) < self.layer_dropout
            w = torch.where(dropped & ~dropped.all(), -torch.inf, w)
        weights = w.softmax(0)
        if self.layer_norm:
            moments = [_moments(state, mask) for state in states]
            mean, deviation = (torch.stack(each, 1).unsqueeze(-1) for each in zip(*moments, strict=True))
            pooled = (pooled - mean) / deviation
        return self.gamma * (weights[:, None].to(pooled.dtype) * pooled).sum(1)


class LayerAttention(nn.Module):
    """Attention over layers makes W_hᵀ Σ_k softmax(q · h_k) h_k.

    Song, Wang, Jiang, Liu, Rao. *Utilizing BERT Intermediate Layers for Aspect Based Sentiment Analysis and Natural
    Language Inference*. 2020, arXiv 2002.04815.

    Args:
        dim: entries of a vector.
        hidden: entries of what comes out.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.size = hidden
        self.q = nn.Parameter(0.1 * torch.randn(dim))
        self.W = nn.Parameter(0.1 * torch.randn(dim, hidden))
        self.weights: Tensor | None = None

    def forward(
        self,
        pooled: Float[Tensor, "batch layers dim"],
        states: Sequence[Float[Tensor, "batch tokens dim"]],
        mask: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch hidden"]:
        """Mix the layers' vectors."""
        weights = (pooled @ self.q).softmax(1)
        self.weights = weights.detach()
        return (weights.unsqueeze(-1) * pooled).sum(1) @ self.W


class LSTM(nn.Module):
    """An LSTM reads the layers from the lowest up; its last state is the mix. Song et al. 2020, arXiv 2002.04815.

    Args:
        dim: entries of a vector.
        hidden: entries of its state.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.size = hidden
        self.lstm = nn.LSTM(dim, hidden, batch_first=True)

    def forward(
        self,
        pooled: Float[Tensor, "batch layers dim"],
        states: Sequence[Float[Tensor, "batch tokens dim"]],
        mask: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch hidden"]:
        """Mix the layers' vectors."""
        _, (last, _) = self.lstm(pooled)
        out: Tensor = last[-1]
        return out


def _moments(
    state: Float[Tensor, "batch tokens dim"], mask: Int[Tensor, "batch tokens"]
) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch"]]:
    """Return each example's mean and standard deviation over its real tokens and all entries."""
    real = mask.to(state.dtype).unsqueeze(-1)
    count = mask.sum(1) * state.shape[-1]
    mean = (state * real).sum((1, 2)) / count
    variance = ((state - mean[:, None, None]).square() * real).sum((1, 2)) / count
    return mean, (variance + 1e-12).sqrt()
