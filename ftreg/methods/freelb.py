"""FreeLB is adversarial training on word embeddings that trains on every step of the ascent.

Zhu, Cheng, Gan, Sun, Goldstein, Liu. *FreeLB: Enhanced Adversarial Training for Natural Language Understanding*. ICLR
2020, arXiv 1909.11764.

    min_θ E [ 1/K Σ_{k=1..K} ℓ(f(E + δ_k; θ), y) ],      δ_{k+1} = Π_{‖δ‖_F ≤ ε} (δ_k + α g_k / ‖g_k‖_F),
    g_k = ∇_δ ℓ(f(E + δ_k; θ), y),                       δ_1 = s u / √(n d),  u ~ U(−1, 1)^{n×d}

for the word embeddings E [n, d] of each example's n real tokens, with norms over the whole example. K forward and
backward passes and K − 1 ascents; the gradients of all passes train θ. `linf` divides by max|g| (it takes no sign) and
clamps. All passes see one dropout mask, as in the paper's §3.3.

The authors' code has s apart from ε (https://github.com/zhuchen03/FreeLB); its RoBERTa half makes one pass more than
its option says: `adv_steps=3` there is `steps=4` here.
"""

from typing import ClassVar, Literal

from ftreg._base.checks import at_least, typed
from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Scalar, Step
from ftreg.functional.perturbation import Norm, ascend, start
from ftreg.methods._ascent import Trace, accumulate


class FreeLB(Regularizer):
    """FreeLB replaces the task loss by its mean over the steps of an ascent on the word embeddings.

    Args:
        steps: K, forward and backward passes; 1 or more. The paper: 2 to 4.
        step_size: α, the length of an ascent step.
        epsilon: ε, the radius of each example's ball; 0 for no bound.
        init: s, the size of the random start, whose l2 norm is about s / √3; 0 makes the first pass the clean one.
        norm: `l2` or `linf`, of the step and the ball.
        noise: the passes' dropout: `shared`, one mask for all of them, or `fresh`.
        start_step: the optimizer step at which the attack begins; plain fine-tuning before.

    Raises:
        UsageError: an option is out of range.
    """

    papers: ClassVar[tuple[str, ...]] = ("zhu2020freelb", "li2021freelbpp")
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
        typed("FreeLB", FreeLB.__init__, locals())
        at_least("FreeLB", 1, steps=steps)
        at_least("FreeLB", 0, step_size=step_size, epsilon=epsilon, init=init, start_step=start_step)
        self.steps, self.step_size, self.epsilon, self.init = steps, step_size, epsilon, init
        self.norm: Norm = norm
        self.noise, self.start_step = noise, start_step

    @property
    def cites(self) -> tuple[str, ...]:
        # FreeLB++ is FreeLB without a ball and with more steps; FreeLB's ALBERT has no ball either, at 2 to 4.
        return self.papers if self.epsilon == 0 and self.steps > 4 else self.papers[:1]

    def objective(self, step: Step) -> Scalar:
        if step.number < self.start_step:
            return step.loss()
        trace = Trace(step)
        loss = accumulate(
            step,
            delta=start(step.noise("delta", "uniform"), step.mask, self.init, self.norm),
            weights=[1 / self.steps] * self.steps,
            climb=lambda d, g: ascend(d, g, step.mask, self.step_size, self.epsilon, self.norm),
            dropout=self.noise,
            trace=trace,
        )
        trace.log(self.norm, self.epsilon)
        return loss
