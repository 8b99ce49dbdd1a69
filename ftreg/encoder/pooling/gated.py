"""Layers are gated by what they contain."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn


class SqueezeExcitation(nn.Module):
    """SesameBERT's gates make Σ_k s_k h_k with s = σ(W₂ relu(W₁ z + b₁) + b₂), z_k the mean of layer k.

    Su and Cheng. *SesameBERT: Attention for Anywhere*. 2019, arXiv 1910.03176. z is over real tokens; the released code
    also counts padding, and keeps the last gated layer only.

    Args:
        layers: how many there are; the bottleneck has a third of them.
        dim: entries of a vector.
        last_only: the released code's s_N h_N in place of the sum.
    """

    def __init__(self, layers: int, dim: int, last_only: bool = False) -> None:
        super().__init__()
        self.size = dim
        self.last_only = last_only
        self.down = nn.Linear(layers, max(1, layers // 3))
        self.up = nn.Linear(max(1, layers // 3), layers)
        for linear in (self.down, self.up):
            # variance scaling by the number of inputs, and the released code's biases
            nn.init.trunc_normal_(linear.weight, std=(1 / linear.in_features) ** 0.5)
            nn.init.constant_(linear.bias, 0.8)
        self.weights: Tensor | None = None

    def forward(
        self,
        pooled: Float[Tensor, "batch layers dim"],
        states: Sequence[Float[Tensor, "batch tokens dim"]],
        mask: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch dim"]:
        """Mix the layers' vectors, gated by the means of their hidden states."""
        real = mask.to(pooled.dtype).unsqueeze(-1)
        count = mask.sum(1) * pooled.shape[-1]
        z = torch.stack([(state * real).sum((1, 2)) / count for state in states], 1)
        s = self.up(self.down(z).relu()).sigmoid()
        self.weights = s.detach()
        gated = s.unsqueeze(-1) * pooled
        out: Tensor = gated[:, -1] if self.last_only else gated.sum(1)
        return out


class HIRE(nn.Module):
    """HIRE weights hierarchical representations by layer importance and fuses them with the last one.

    Yang and Zhao. *Deepening Hidden Representations from Pre-trained Language Models*. 2019, arXiv 1911.01940. A
    bidirectional GRU reads each layer's tokens; its two last states score the layer; a = softmax over layers;
    A = Σ_k a_k h_k. With R the last layer, [R; A; R + A; R ∘ A] goes through a two-layer fusion network, gated against
    R. No code is public: sizes, activation (GELU) and the gate's place are ours, and fusion is of the pooled vectors.

    Args:
        dim: entries of a vector.
        hidden: entries of the GRU's state, each way.
    """

    def __init__(self, dim: int, hidden: int) -> None:
        super().__init__()
        self.size = dim
        self.gru = nn.GRU(dim, hidden, batch_first=True, bidirectional=True)
        self.score = nn.Linear(2 * hidden, 1)
        self.fuse = nn.Sequential(nn.Linear(4 * dim, dim), nn.GELU(), nn.Linear(dim, dim))
        self.gate = nn.Linear(2 * dim, dim)
        self.weights: Tensor | None = None

    def forward(
        self,
        pooled: Float[Tensor, "batch layers dim"],
        states: Sequence[Float[Tensor, "batch tokens dim"]],
        mask: Int[Tensor, "batch tokens"],
    ) -> Float[Tensor, "batch dim"]:
        """Mix the layers' vectors, weighted by what the GRU reads in their hidden states."""
        lengths = mask.sum(1).cpu()
        scores = [self.score(self._read(state, lengths)) for state in states]
        a = torch.cat(scores, 1).softmax(1)
        self.weights = a.detach()
        R, A = pooled[:, -1], (a.unsqueeze(-1) * pooled).sum(1)
        fused = self.fuse(torch.cat([R, A, R + A, R * A], -1))
        g = self.gate(torch.cat([R, fused], -1)).sigmoid()
        out: Tensor = g * fused + (1 - g) * R
        return out

    def _read(self, state: Tensor, lengths: Tensor) -> Tensor:
        packed = nn.utils.rnn.pack_padded_sequence(state, lengths, batch_first=True, enforce_sorted=False)
        _, last = self.gru(packed)
        out: Tensor = last.transpose(0, 1).flatten(1)
        return out
