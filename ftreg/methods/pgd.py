"""PGD is adversarial training on the word embeddings that the last ascent step reaches.

Madry, Makelov, Schmidt, Tsipras, Vladu. *Towards Deep Learning Models Resistant to Adversarial Attacks*. ICLR 2018,
arXiv 1706.06083; on word embeddings as in Zhu et al., ICLR 2020, arXiv 1909.11764.

    min_θ E [ ℓ(f(E + δ_K; θ), y) ],      δ_{k+1} = Π_{‖δ‖ ≤ ε} (δ_k + α ∇_δ ℓ / ‖∇_δ ℓ‖),   k = 0 … K − 1

with norms, start and projection as in FreeLB. K + 1 forward passes; the K inner ones need no parameter gradients.
"""

from typing import ClassVar, Literal

from ftreg._base.checks import at_least, typed
from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Scalar, Step
from ftreg.functional.perturbation import Norm, ascend, start
from ftreg.methods._ascent import Trace


class PGD(Regularizer):
    """PGD trains on projected gradient descent's adversary on the word embeddings.

    Args:
        steps: K, ascent steps; 0 trains on the random start.
        step_size: α, the length of an ascent step.
        epsilon: ε, the radius of each example's ball; 0 for no bound.
        init: s, the size of the random start, whose l2 norm is about s / √3.
        norm: `l2` or `linf`, of the step and the ball.
        noise: the passes' dropout: `shared`, one mask for all of them, or `fresh`.
        start_step: the optimizer step at which the attack begins; plain fine-tuning before.

    Raises:
        UsageError: an option is out of range.
    """

    papers: ClassVar[tuple[str, ...]] = ("madry2018pgd", "zhu2020freelb")
    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})

    def __init__(
        self,
        steps: int = 3,
        step_size: float = 0.1,
        epsilon: float = 0.3,
        init: float = 0.2,
        norm: Norm = "l2",
        noise: Literal["shared", "fresh"] = "shared",
        start_step: int = 0,
    ) -> None:
        typed("PGD", PGD.__init__, locals())
        at_least("PGD", 0, steps=steps, step_size=step_size, epsilon=epsilon, init=init, start_step=start_step)
        self.steps, self.step_size, self.epsilon, self.init = steps, step_size, epsilon, init
        self.norm: Norm = norm
        self.noise, self.start_step = noise, start_step

    def objective(self, step: Step) -> Scalar:
        if step.number < self.start_step:
            return step.loss()
        trace = Trace(step)
        delta = start(step.noise("delta", "uniform"), step.mask, self.init, self.norm)
        kept = step.embeds().detach()
        for _ in range(self.steps):
            losses = step.losses(delta.requires_grad_(), embeds=kept, dropout=self.noise)
            (slope,) = step.gradients(losses, [delta])
            assert slope is not None
            trace.add(delta, losses)
            step.count_non_finite(slope)
            delta = ascend(delta.detach(), slope, step.mask, self.step_size, self.epsilon, self.norm)
        losses = step.losses(delta, dropout=self.noise)
        trace.add(delta, losses)
        trace.log(self.norm, self.epsilon)
        return step.mean(losses)
