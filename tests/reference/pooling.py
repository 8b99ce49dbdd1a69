"""Poolings of tokens and mixes of layers, as their papers describe them, on tensors with explicit weights.

Written from descriptions, one example at a time where padding or recurrence is involved; shares nothing with `ftreg`.

- token pooling and ELMo's scalar mix (Peters et al., NAACL 2018, arXiv 1802.05365, eq. 1);
- layer dropout (Kondratyuk & Straka, EMNLP 2019, arXiv 1904.02099, section 3.2);
- attention and an LSTM over layers (Song et al. 2020, arXiv 2002.04815);
- squeeze and excitation (Su & Cheng 2019, arXiv 1910.03176), the squeeze over real tokens only;
- HIRE (Yang & Zhao 2019, arXiv 1911.01940).

Shapes: `h` [B, T, d] is one layer's states, `states` [K, B, T, d] all of them, `vectors` [K, B, d] one pooled vector
per layer, `mask` [B, T] is 1 on real tokens, which stand first in each row. A layer of lowest index comes first.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor

RNN = tuple[Tensor, Tensor, Tensor, Tensor]
"""W_x, W_h, b_x, b_h of one direction, gates stacked on the rows in torch's order."""


def _real(h: Tensor, mask: Tensor) -> list[Tensor]:
    """Each example's real tokens, [T_b, d]."""
    return [row[: int(m.sum())] for row, m in zip(h, mask, strict=True)]


def _affine(weight: Tensor, bias: Tensor, x: Tensor) -> Tensor:
    return x @ weight.T + bias


def cls(h: Tensor, mask: Tensor) -> Tensor:
    """The first token, [B, d]."""
    return torch.stack([row[0] for row in _real(h, mask)])


def mean(h: Tensor, mask: Tensor) -> Tensor:
    """Σ_t M_t h_t / Σ_t M_t, [B, d]."""
    return torch.stack([row.sum(0) / len(row) for row in _real(h, mask)])


def largest(h: Tensor, mask: Tensor) -> Tensor:
    """Each feature's largest value over the real tokens, [B, d]."""
    return torch.stack([row.max(0).values for row in _real(h, mask)])


def attended(h: Tensor, mask: Tensor, query: Tensor) -> Tensor:
    """Σ_t softmax_t(h_t · q) h_t over the real tokens, [B, d]; `query` [d]."""
    out = []
    for row in _real(h, mask):
        powers = ((row @ query) - (row @ query).max()).exp()
        out.append((powers / powers.sum()) @ row)
    return torch.stack(out)


def shares(scores: Sequence[Tensor]) -> list[Tensor]:
    """softmax of equally shaped scores, over the sequence."""
    highest = torch.stack([*scores]).max(0).values
    powers = [(score - highest).exp() for score in scores]
    total = torch.stack(powers).sum(0)
    return [power / total for power in powers]


def layer_norm(h: Tensor, mask: Tensor) -> Tensor:
    """(h − m) / √(v + 1e-12), m and v scalars over an example's real tokens and all features; [B, T, d].

    In the paper's code one m and one v serve all of a batch, which makes an example's output depend on its neighbours;
    here each example has its own. No affine map. Padding has no meaning in the result.
    """
    out = []
    for row, real in zip(h, _real(h, mask), strict=True):
        m = real.sum() / real.numel()
        v = (real - m).pow(2).sum() / real.numel()
        out.append((row - m) / (v + 1e-12).sqrt())
    return torch.stack(out)


def scalar_mix(vectors: Tensor, w: Tensor, gamma: Tensor, dropped: Tensor | None = None) -> Tensor:
    """γ Σ_k softmax(w)_k h_k, [B, d].

    Args:
        vectors: one per layer; of the normalised states where there is layer normalisation.
        w: [K].
        gamma: [] or [1].
        dropped: [K], layers whose raw weight is −1e20 this time. Where it names every layer, none is dropped.
    """
    if dropped is not None and not bool(dropped.all()):
        w = torch.stack([torch.full_like(w_k, -1e20) if off else w_k for w_k, off in zip(w, dropped, strict=True)])
    out = torch.zeros_like(vectors[0])
    for share, vector in zip(shares([*w]), vectors, strict=True):
        out = out + share * vector
    return gamma * out


def layer_attention(vectors: Tensor, query: Tensor, w_h: Tensor) -> Tensor:
    """W_hᵀ Σ_k softmax_k(q · h_k) h_k, [B, out]; `query` [d], `w_h` [d, out]. The softmax is each example's own."""
    weights = shares([vector @ query for vector in vectors])
    summed = sum(share.unsqueeze(-1) * vector for share, vector in zip(weights, vectors, strict=True))
    assert isinstance(summed, Tensor)
    return summed @ w_h


def lstm(vectors: Tensor, weights: RNN) -> Tensor:
    """The last hidden state of an LSTM that reads the layers from the lowest up, [B, hidden]; gates i, f, g, o."""
    w_x, w_h, b_x, b_h = weights
    hidden = w_h.shape[1]
    h = c = vectors.new_zeros(vectors.shape[1], hidden)
    for x in vectors:
        gates = _affine(w_x, b_x, x) + _affine(w_h, b_h, h)
        i, f, g, o = (gates[:, n * hidden : (n + 1) * hidden] for n in range(4))
        c = f.sigmoid() * c + i.sigmoid() * g.tanh()
        h = o.sigmoid() * c.tanh()
    return h


def excitation(states: Tensor, mask: Tensor, w1: Tensor, b1: Tensor, w2: Tensor, b2: Tensor) -> Tensor:
    """s = σ(W2 relu(W1 z + b1) + b2), [B, K]; z_k the mean of h_k over real tokens and features."""
    z = torch.stack([torch.stack([real.mean() for real in _real(h, mask)]) for h in states], dim=1)
    return _affine(w2, b2, _affine(w1, b1, z).clamp(min=0)).sigmoid()


def gated(vectors: Tensor, s: Tensor, released: bool = False) -> Tensor:
    """Σ_k s_k h_k as in the paper, [B, d]; `released`: s_N h_N alone, which is what the published code keeps."""
    scaled = [s[:, k : k + 1] * vector for k, vector in enumerate(vectors)]
    return scaled[-1] if released else torch.stack(scaled).sum(0)


def gru(x: Tensor, weights: RNN) -> Tensor:
    """The last hidden state of a GRU over one sequence x [T, d], [hidden]; gates r, z, n."""
    w_x, w_h, b_x, b_h = weights
    size = w_h.shape[1]
    h = x.new_zeros(size)
    for x_t in x:
        given, kept = w_x @ x_t + b_x, w_h @ h + b_h
        r = (given[:size] + kept[:size]).sigmoid()
        z = (given[size : 2 * size] + kept[size : 2 * size]).sigmoid()
        n = (given[2 * size :] + r * kept[2 * size :]).tanh()
        h = (1 - z) * n + z * h
    return h


def importance(states: Tensor, mask: Tensor, ahead: RNN, back: RNN, score: Tensor, bias: Tensor) -> Tensor:
    """softmax_k of a linear score [2 hidden] of each layer's two final GRU states, [K, B]."""
    scores = []
    for h in states:
        ends = [torch.cat([gru(x, ahead), gru(x.flip(0), back)]) for x in _real(h, mask)]
        scores.append(torch.stack([end @ score.flatten() + bias.squeeze() for end in ends]))
    return torch.stack(shares(scores))


def hire(
    vectors: Tensor, alpha: Tensor, last: Tensor,
    fuse1: tuple[Tensor, Tensor], fuse2: tuple[Tensor, Tensor], gate: tuple[Tensor, Tensor],
) -> Tensor:  # fmt: skip
    """g F + (1 − g) R, [B, d], with A = Σ_k α_k h_k and F = W2 gelu(W1 [R; A; R + A; R ∘ A] + b1) + b2.

    g = σ(W [R; F] + b). R is `last`, [B, d]: the topmost layer's vector; `alpha` [K, B] is `importance`'s.
    """
    a = sum(share.unsqueeze(-1) * vector for share, vector in zip(alpha, vectors, strict=True))
    assert isinstance(a, Tensor)
    inner = _affine(*fuse1, torch.cat([last, a, last + a, last * a], dim=-1))
    f = _affine(*fuse2, inner * 0.5 * (1 + (inner / math.sqrt(2)).erf()))
    g = _affine(*gate, torch.cat([last, f], dim=-1)).sigmoid()
    return g * f + (1 - g) * last
