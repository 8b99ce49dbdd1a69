"""SMART makes predictions smooth around each example, and lets weights move in small, remembered steps.

Jiang, He, Chen, Liu, Gao, Zhao. *SMART: Robust and Efficient Fine-Tuning for Pre-trained Natural Language Models
through Principled Regularized Optimization*. ACL 2020, arXiv 1911.03437.

    min_θ L(θ) + λ_s R_s(θ) + μ D(θ, θ̃_t)

Smoothness-inducing adversarial regularisation, with ℓ_s the symmetric KL, or the squared error in regression:

    R_s(θ) = mean_i max_{‖r‖_∞ ≤ ε} ℓ_s(f(E_i + r; θ), f(E_i; θ))
    r ~ N(0, σ²);  T_x times:  r ← Π_ε(r + η g / max|g|),  g = ∇_r ℓ_s(f(E + r; θ), f(E; θ))

Bregman proximal point optimisation. Vanilla proximal point iteration is θ_{t+1} = argmin_θ F(θ) + μ D(θ, θ_t), with
F = L + λ_s R_s and D(θ, θ') = mean_i ℓ_s(f(x_i; θ), f(x_i; θ')): a step may lower F only as far as it leaves the
predictions near those of θ_t. Here D is a distance of functions, not of weights. Its momentum form (mean teacher)
remembers more than the last iterate: θ_t is replaced by θ̃_t, where θ̃_0 = θ_0 and

    θ̃_{t+1} = β θ̃_t + (1 − β) θ_{t+1}

With one optimizer step an iteration (the paper's S = 1), the step is taken along ∇F(θ_t) + μ ∇_θ D(θ, θ̃_t) at θ = θ_t.
Were θ̃_t = θ_t, D would be at its minimum there and add nothing: the term acts through momentum, by which θ̃_t lags
behind, as (θ_t − θ̃_t) pulled back by the Fisher information of the predictions (ℓ_s ≈ (θ − θ̃)ᵀ F (θ − θ̃)); and through
dropout, where the student's is on. β rises once, as θ̃ should follow fast while the weights still move far.

Of the public code (https://github.com/namisan/mt-dnn), `variant="max_rescale"` replicates the smoothness term: no
projection, its own divergences. The proximal term is not in it.
"""

import math
from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from ftreg._base.checks import at_least, typed, within
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer
from ftreg.core.step import Place, Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.functional.divergences import symmetric_kl
from ftreg.functional.perturbation import TINY, ascend, finite_rows
from ftreg.functional.smart import max_rescale, momentum, stable_kl, stopped_kl

WEAK = 1e-3
"""Below this share of the task's gradient, the smoothness term does nothing to speak of."""


class SMART(Regularizer):
    """SMART has two halves: `weight` is of the smoothness term, `mu` of the proximal term; 0 leaves one out.

    Args:
        weight: λ_s. The paper: 1, 3, 5.
        mu: μ of the proximal term. The paper: 1.
        epsilon: ε, the largest entry of a perturbation; for `max_rescale`, what guards its division.
        step_size: η, of an ascent step; 0 keeps the random start, as a control of what the adversary adds.
        sigma: σ, the standard deviation of the random start.
        steps: T_x, ascent steps, 1 or more.
        variant: `projected`, the paper's, or `max_rescale`, the published code's.
        perturb: what r is added to: `word` embeddings, or the `embedding_output` that the first layer takes.
        noise: dropout of the perturbed passes: `fresh` masks, as published, or `shared`, the clean pass's. With fresh
            ones the term also measures dropout; at the paper's ε it measures little else.
        beta: β at first. The paper: 0.99.
        beta_late: β later. The paper: 0.999.
        beta_switch: the share of the optimizer steps after which it is later. The paper: 0.1.
        teacher_mode: `eval`, a teacher without dropout, or `train`, one with the dropout that `noise` says.

    Raises:
        UsageError: an option is out of range.
    """

    papers: ClassVar[tuple[str, ...]] = ("jiang2020smart", "liu2020alum")
    family: ClassVar[str] = "smoothness"
    needs_trained_head: ClassVar[bool] = True

    def __init__(
        self,
        weight: float = 1.0,
        mu: float = 1.0,
        epsilon: float = 1e-5,
        step_size: float = 1e-3,
        sigma: float = 1e-5,
        steps: int = 1,
        variant: Literal["projected", "max_rescale"] = "projected",
        perturb: Place = "word",
        noise: Literal["fresh", "shared"] = "fresh",
        beta: float = 0.99,
        beta_late: float = 0.999,
        beta_switch: float = 0.1,
        teacher_mode: Literal["eval", "train"] = "eval",
    ) -> None:
        typed("SMART", SMART.__init__, locals())
        at_least("SMART", 0, weight=weight, mu=mu, epsilon=epsilon, step_size=step_size, sigma=sigma)
        at_least("SMART", 1, steps=steps)
        within("SMART", 0, 1, beta=beta, beta_late=beta_late, beta_switch=beta_switch)
        self.weight, self.mu, self.epsilon, self.step_size = weight, mu, epsilon, step_size
        self.sigma, self.steps, self.variant, self.noise = sigma, steps, variant, noise
        self.perturb: Place = perturb
        self.beta, self.beta_late, self.beta_switch, self.teacher_mode = beta, beta_late, beta_switch, teacher_mode
        self._teacher: dict[str, Tensor] = {}
        self._late_from = 0
        self._warned = False

    @property
    def full_precision(self) -> bool:
        return bool(self.weight or self.mu)

    @property
    def cites(self) -> tuple[str, ...]:
        alum = self.perturb == "embedding_output" and self.variant == "projected" and not self.mu
        return self.papers if alum else self.papers[:1]

    def penalty(self, step: Step) -> Mapping[str, Scalar]:
        terms = {}
        if self.weight:
            terms["smoothness"] = self.weight * step.mean(self.smoothness(step))
        if self.mu:
            terms["bregman"] = self.mu * step.mean(self.proximal(step))
        return terms

    def smoothness(self, step: Step) -> Tensor:
        """Compute ℓ_s between the adversarial and the clean prediction, per example [batch], with both gradients."""
        published = self.variant == "max_rescale"
        inner, outer = (stable_kl, stopped_kl) if published else (symmetric_kl, symmetric_kl)
        clean = step.logits()
        r = self.sigma * step.noise("r", at=self.perturb)
        for _ in range(self.steps):
            moved = step.logits(r.requires_grad_(), at=self.perturb, dropout=self.noise)
            (g,) = step.gradients(step.divergence(moved, clean.detach(), inner), [r])
            assert g is not None
            step.count_non_finite(g)
            r = self._step(r.detach(), g, step.mask)
        losses = step.divergence(step.logits(r, at=self.perturb, dropout=self.noise), clean, outer)
        if step.logs:
            step.record_gradient_ratio("gradient_ratio", self.weight, losses)
            step.record_largest("delta_max", r.abs())
        return losses

    def proximal(self, step: Step) -> Tensor:
        """Compute ℓ_s between the prediction and the teacher's, per example [batch], with the former's gradient."""
        with torch.no_grad():
            taught = step.logits(params=self._teacher, dropout="none" if self.teacher_mode == "eval" else self.noise)
        return step.divergence(step.logits(), taught)

    def _step(self, r: Tensor, g: Tensor, mask: Tensor) -> Tensor:
        if self.variant == "projected":
            if self.epsilon == 0:  # for `ball`, no bound
                return torch.zeros_like(r)
            return ascend(r, g, mask, self.step_size, self.epsilon, "linf", TINY)
        usable = finite_rows(g)[:, None, None]
        g = torch.where(usable & mask.bool().unsqueeze(-1), g, 0)
        return torch.where(usable, max_rescale(r + self.step_size * g, self.epsilon), r)

    def logged(self, values: Mapping[str, float], number: int) -> None:
        """Say so if the term does not bite: its gradient is next to nothing beside the task's."""
        ratio = values.get("gradient_ratio", math.inf)
        if ratio < WEAK and not self._warned:
            self._warned = True
            rank_zero_warn(
                f"SMART: at step {number} the smoothness term's gradient is {ratio:.1e} of the task's: it does next to "
                f"nothing; raise SMART.epsilon, with step_size and sigma"
            )

    # The teacher: θ̃, which starts where the weights start, and follows them

    def remember(self, encoder: Encoder) -> None:
        if self.weight and self.perturb == "embedding_output":
            encoder.architecture.entered(f"{self.name}.perturb={self.perturb}")
        if self.mu:
            named = encoder.named_parameters()
            self._teacher = {name: p.detach().clone() for name, p in named if p.requires_grad}

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        if total is None and self.mu and self.beta != self.beta_late:
            rank_zero_warn(
                f"SMART: how many optimizer steps there are is not known, so beta is beta_late={self.beta_late} in all "
                f"of them; give Engine(total_steps=...) for beta={self.beta} in the first {self.beta_switch:.0%}"
            )
        self._late_from = 0 if total is None else round(self.beta_switch * total)
        like = dict(encoder.named_parameters())
        self._teacher = {name: average.to(like[name]) for name, average in self._teacher.items()}

    def after_step(self, encoder: Encoder, number: int) -> None:
        beta = self.beta if number < self._late_from else self.beta_late
        momentum(self._teacher, {name: p.detach() for name, p in encoder.named_parameters()}, beta)

    def state_dict(self) -> dict[str, Any]:
        return {"teacher": self._teacher}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        teacher = {name: average.clone() for name, average in state_dict["teacher"].items()}
        if self._teacher and teacher.keys() != self._teacher.keys():
            raise UsageError(
                "SMART: the saved teacher is of other parameters, or there is none; give the mu of that run"
            )
        self._teacher = teacher
