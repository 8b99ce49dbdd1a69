"""FGM takes one gradient step on the word embeddings, and trains on what that reaches beside the clean example.

Miyato, Dai, Goodfellow. *Adversarial Training Methods for Semi-Supervised Text Classification*. ICLR 2017,
arXiv 1605.07725.

    min_θ E [ ℓ(f(E; θ), y) + λ ℓ(f(E + r; θ), y) ],      r = ε g / ‖g‖_F,   g = ∇_E ℓ(f(E; θ), y)

with g of each example's own loss and its norm over the whole example (the paper's input scope; widespread code shifts
the embedding matrix instead, by one shift for all occurrences of a word in the batch). Two forward and backward passes.
"""

from typing import ClassVar, Literal

import torch

from ftreg._base.checks import at_least, typed
from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Scalar, Step
from ftreg.functional.perturbation import direction
from ftreg.methods._ascent import Trace, accumulate


class FGM(Regularizer):
    """FGM adds the fast gradient method's adversarial loss to the clean one.

    Args:
        epsilon: ε, the l2 norm of each example's perturbation.
        weight: λ, of the adversarial loss; 0 is plain fine-tuning.
        noise: the two passes' dropout: `shared`, one mask for both, or `fresh`.
        start_step: the optimizer step at which the attack begins; plain fine-tuning before.

    Raises:
        UsageError: an option is out of range.
    """

    papers: ClassVar[tuple[str, ...]] = ("miyato2017adversarial",)
    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})

    def __init__(
        self,
        epsilon: float = 0.3,
        weight: float = 1.0,
        noise: Literal["shared", "fresh"] = "shared",
        start_step: int = 0,
    ) -> None:
        typed("FGM", FGM.__init__, locals())
        at_least("FGM", 0, epsilon=epsilon, weight=weight, start_step=start_step)
        self.epsilon, self.weight = epsilon, weight
        self.noise, self.start_step = noise, start_step

    def objective(self, step: Step) -> Scalar:
        if step.number < self.start_step or self.weight == 0:
            return step.loss()
        trace = Trace(step)
        loss = accumulate(
            step,
            delta=torch.zeros_like(step.embeds()).detach(),
            weights=[1.0, self.weight],
            climb=lambda _, g: self.epsilon * direction(g, step.mask, "l2"),
            dropout=self.noise,
            trace=trace,
        )
        trace.log("l2", 0.0)
        return loss
