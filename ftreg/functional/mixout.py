"""Mixout is a function of weights here. Lee, Cho, Kang, ICLR 2020, arXiv 1909.11299; see `ftreg.methods.mixout`."""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor


def mixout(
    weight: Float[Tensor, "out in"],
    anchor: Float[Tensor, "out in"],
    keep: Float[Tensor, "*in"],
    p: float,
    gradient: Literal["exact", "reference"] = "exact",
) -> Float[Tensor, "out in"]:
    """Return the mixed weight W̃ = U + m/(1 − p) ⊙ (W − U).

    Args:
        weight: W.
        anchor: U; no gradient reaches it.
        keep: m, 1 keeps and 0 falls back to the anchor: per input unit [in] or per weight [out, in].
        p: the probability of falling back; p = 1 gives U, with a zero gradient.
        gradient: `exact`, or `reference` without the factor 1/(1 − p), as published.
    """
    scale = keep / (1 - p) if p < 1 else torch.zeros_like(keep)
    if gradient == "reference":
        # The same value; only (1 − p) of the gradient passes.
        weight = weight.detach() + (1 - p) * (weight - weight.detach())
    return torch.lerp(anchor.detach(), weight, scale)


def draw_mask(
    weight: Float[Tensor, "out in"],
    p: float,
    granularity: Literal["unit", "weight"],
    generator: torch.Generator,
) -> Float[Tensor, "*in"]:
    """Draw m: ones with probability 1 − p, per input unit [in] or per weight [out, in]."""
    shape = weight.shape[1:] if granularity == "unit" else weight.shape
    return (torch.rand(shape, generator=generator, device=weight.device, dtype=torch.float32) >= p).to(weight.dtype)
