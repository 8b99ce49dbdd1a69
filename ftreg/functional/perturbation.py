"""Perturbations [batch, tokens, dim] of examples have norms, are projected to balls, and climb in ascent steps.

Every example has its own ball, over all entries of its real tokens; nothing here sees the batch as a whole. Zhu et al.
(ICLR 2020) and Jiang et al. (ACL 2020) differ only in the norm:

    l2:    δ ← Π(δ + α g / ‖g‖_F),      Π scales δ down to ‖δ‖_F ≤ ε
    linf:  δ ← Π(δ + α g / max|g|),     Π clamps every entry to [−ε, ε]
"""

from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

Norm = Literal["l2", "linf"]

FLOOR = 1e-8
"""The smallest norm that a gradient of the task loss is divided by."""
TINY = 1e-16
"""The same for a divergence, which near its minimum has gradients far below `FLOOR`."""


def norms(x: Float[Tensor, "batch tokens dim"], norm: Norm) -> Float[Tensor, "batch 1 1"]:
    """Return each example's norm: Frobenius for `l2`, the largest absolute entry for `linf`; in float32 at least."""
    order = 2.0 if norm == "l2" else float("inf")
    precise = torch.promote_types(x.dtype, torch.float32)
    out: Tensor = torch.linalg.vector_norm(x, order, dim=(1, 2), keepdim=True, dtype=precise)
    return out


def project(
    delta: Float[Tensor, "batch tokens dim"], radius: float | int, norm: Norm
) -> Float[Tensor, "batch tokens dim"]:
    """Return the nearest point of each example's ball; a radius of 0 stands for no bound."""
    if radius == 0:
        return delta
    if norm == "linf":
        return delta.clamp(-radius, radius)
    size = norms(delta, norm)
    return torch.where(size > radius, delta * (radius / size).to(delta.dtype), delta)


def finite_rows(gradient: Float[Tensor, "batch tokens dim"]) -> Bool[Tensor, "batch"]:
    """Return which examples have no NaN and no infinity in their gradient."""
    return gradient.isfinite().flatten(1).all(1)


def direction(
    gradient: Float[Tensor, "batch tokens dim"], mask: Int[Tensor, "batch tokens"], norm: Norm, floor: float = FLOOR
) -> Float[Tensor, "batch tokens dim"]:
    """Return each example's gradient divided by its norm, or by `floor` if that is larger.

    Zero on padding, and for an example that is not `finite`.
    """
    usable = finite_rows(gradient)[:, None, None] & mask.bool().unsqueeze(-1)
    # `where`, because NaN × 0 is NaN
    gradient = torch.where(usable, gradient, 0)
    # In the norm's precision: in float16, `floor` is 0 and a long norm infinite.
    return (gradient / norms(gradient, norm).clamp(min=floor)).to(gradient.dtype)


def ascend(
    delta: Float[Tensor, "batch tokens dim"],
    gradient: Float[Tensor, "batch tokens dim"],
    mask: Int[Tensor, "batch tokens"],
    size: float | int,
    radius: float | int,
    norm: Norm,
    floor: float = FLOOR,
) -> Float[Tensor, "batch tokens dim"]:
    """Take one step of `size` along the normalised gradient, projected to the ball of `radius`.

    An example whose gradient is not finite stays where it is.
    """
    return project(delta + size * direction(gradient, mask, norm, floor), radius, norm)


def start(
    draw: Float[Tensor, "batch tokens dim"], mask: Int[Tensor, "batch tokens"], size: float | int, norm: Norm
) -> Float[Tensor, "batch tokens dim"]:
    """Return FreeLB's δ₀ from a draw of U(−1, 1) on real tokens, whose number per example is n.

    `l2`: draw · size / √(n · dim), so that ‖δ₀‖_F is about size / √3; `linf`: draw · size.
    """
    if norm == "linf":
        return size * draw
    entries = mask.sum(1)[:, None, None].clamp(min=1) * draw.shape[-1]
    # The root in float32 at least: float16 ends at 65,504 entries.
    return size * draw / entries.to(torch.promote_types(draw.dtype, torch.float32)).sqrt().to(draw.dtype)
