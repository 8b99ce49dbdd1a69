"""VAT keeps the prediction from changing in the direction in which it changes most.

Miyato, Maeda, Koyama, Ishii. *Virtual Adversarial Training: A Regularization Method for Supervised and Semi-Supervised
Learning*. TPAMI 2018, arXiv 1704.03976.

    R = mean_i KL(p̂ ‖ f(E + r)),     p̂ = f(E), no gradient,     r = ε d
    d ← unit(∇_r KL(p̂ ‖ f(E + r)) at r = ξ d),  from a random unit d:  power iteration on the KL's Hessian

with unit vectors over each example's real tokens. Needs no labels. Squared error takes the KL's place in regression.
"""

from typing import ClassVar, Literal

import torch

from ftreg._base.checks import at_least, typed
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer
from ftreg.core.step import Scalar, Step
from ftreg.functional.divergences import kl
from ftreg.functional.perturbation import TINY, direction, finite_rows


class VAT(Regularizer):
    """VAT is virtual adversarial training on the word embeddings.

    Args:
        weight: of the penalty; 0 is plain fine-tuning.
        epsilon: ε, the l2 norm of each example's perturbation.
        xi: ξ, the distance at which the curvature is probed: small, but not below what float32 resolves.
        steps: of the power iteration; 0 leaves the direction random.
        noise: dropout of the perturbed passes: `shared`, the clean pass's mask, or `fresh`. With fresh masks the power
            iteration sees the difference of two masks rather than the curvature.

    Raises:
        UsageError: an option is out of range.
    """

    papers: ClassVar[tuple[str, ...]] = ("miyato2018vat",)
    family: ClassVar[str] = "smoothness"
    needs_trained_head: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 1.0,
        epsilon: float = 1.0,
        xi: float = 0.1,
        steps: int = 1,
        noise: Literal["shared", "fresh"] = "shared",
    ) -> None:
        typed("VAT", VAT.__init__, locals())
        at_least("VAT", 0, weight=weight, epsilon=epsilon, xi=xi, steps=steps)
        if steps and not xi:
            raise UsageError("VAT.xi is 0, where a divergence has no gradient to follow; give 0.1, or VAT.steps=0")
        self.weight, self.epsilon, self.xi, self.steps = weight, epsilon, xi, steps
        self.noise = noise

    @property
    def full_precision(self) -> bool:
        return bool(self.weight)

    def penalty(self, step: Step) -> Scalar | None:
        if self.weight == 0:
            return None
        target = step.logits().detach()
        d = direction(step.noise("d"), step.mask, "l2", TINY)
        for _ in range(self.steps):
            probe = (self.xi * d).requires_grad_()
            (slope,) = step.gradients(step.divergence(target, step.logits(probe, dropout=self.noise), kl), [probe])
            assert slope is not None
            usable = finite_rows(slope)
            d = torch.where(usable[:, None, None], direction(slope, step.mask, "l2", TINY), d)
            step.count_non_finite(slope)
        losses = step.divergence(target, step.logits(self.epsilon * d, dropout=self.noise), kl)
        if step.logs:
            step.record_gradient_ratio("gradient_ratio", self.weight, losses)
        return self.weight * step.mean(losses)
