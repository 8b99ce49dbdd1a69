"""A step is the current micro-batch as a method may see it.

One training step, in which every arrow is an ordinary tensor operation and there is one backward pass:

    weights ──mix──▶ mixed weights ─┐
    input_ids ──embeds()──▶ E (+ δ) ─┴─predict()──▶ losses ──▶ loss()  or  objective(step) ─┐
                                          └──────────────────▶ penalty(step), … ────────────┴─▶ Σ ──▶ backward

The clean forward is run once: the task loss and all penalties share it. A perturbation δ is added to the word
embeddings, or to what the first layer takes (`at`).
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.core.criteria import Criterion
from ftreg.core.criteria.criterion import Between
from ftreg.core.passes import Dropout as Dropout
from ftreg.core.passes import Passes
from ftreg.core.passes import Place as Place
from ftreg.core.step_log import StepLog
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Noise, StreamKey
from ftreg.functional.divergences import symmetric_kl
from ftreg.functional.perturbation import finite_rows

Scalar = Float[Tensor, ""]


class Prediction:
    """A prediction is what one pass comes to.

    Args:
        logits: as the criterion reads them off the model's output.
        step: that judges them.
    """

    def __init__(self, logits: Float[Tensor, "batch *answer"], step: "Step") -> None:
        self.logits = logits
        self._step = step
        self._losses: Tensor | None = None

    @property
    def losses(self) -> Float[Tensor, "batch"]:
        """The task loss of each example."""
        if self._losses is None:
            self._losses = self._step.losses_of(self.logits)
        return self._losses


class Step(Passes):
    """A step is one micro-batch of one optimizer step, with the passes that methods make on it.

    Args:
        batch: `input_ids` and `attention_mask` [batch, tokens], or [batch, choices, tokens], and the criterion's
            targets; optionally `token_type_ids`, `row_ids` and `valid` [batch], `lengths` (host integers), `scale`, and
            what else the model takes.
        encoder: the network.
        methods: `Regularizer`s, in the order in which they map weights.
        criterion: of the task.
        key: names the streams.
        log: of the optimizer step's diagnostics.
        loss_scale: fp16's, for gradients that a method takes itself; None where it is not known.
        noise: makes the methods' draws.
    """

    def __init__(
        self,
        batch: Mapping[str, Any],
        encoder: Encoder,
        methods: Sequence[Any],
        criterion: Criterion,
        key: StreamKey,
        log: StepLog | None = None,
        loss_scale: float | None = 1.0,
        noise: type[Noise] = Noise,
    ) -> None:
        super().__init__(batch, encoder, methods, key, noise)
        self.criterion, self._loss_scale = criterion, loss_scale
        self._scale = batch.get("scale")
        self.log = StepLog() if log is None else log
        self._clean: Prediction | None = None

    @cached_property
    def _counts(self) -> Tensor | None:
        """How much each row counts in a mean; None where all count alike."""
        return self.criterion.weights(self.batch)

    @property
    def labels(self) -> Tensor:
        """The first of the criterion's targets."""
        return self.criterion.target(self.batch, self.criterion.targets[0])

    @property
    def scale(self) -> float:
        """What turns `sum` into `mean`."""
        if self._scale is None:
            alike = self._counts is None and "valid" not in self.batch
            total = float(len(self.mask) if alike else self.sum(torch.ones_like(self.mask[:, 0], dtype=torch.float32)))
            self._scale = 1 / max(total, 1.0)
        return float(self._scale)

    @property
    def logs(self) -> bool:
        """Whether this step's diagnostics are logged: compute them only then."""
        return self.log.logs

    def terms(self) -> dict[str, Scalar]:
        """Compute the summands of the loss, by name: `task` or the objective's method, and each penalty."""
        terms: dict[str, Scalar] = {}
        objective: Any = next((method for method in self._methods if method.is_objective), None)
        if objective is None:
            terms["task"] = self.loss()
        else:
            self.on_behalf_of(objective.name)
            terms[objective.name] = objective.objective(self)
        for method in self._methods:
            self.on_behalf_of(method.name)
            method.observe(self)
            penalty = method.penalty(self)
            if isinstance(penalty, Mapping):
                terms |= {f"{method.name}/{name}": term for name, term in penalty.items()}
            elif penalty is not None:
                terms[f"{method.name}/penalty" if method is objective else method.name] = penalty
        return terms

    # Diagnostics

    def record(self, name: str, value: Tensor | float | int, among: Tensor | None = None) -> None:
        """Log a diagnostic of the method whose turn it is: the mean over the step's whole batch of one number, or of a
        number for every entry that is true in `among`; without that, the rows that are no filler."""
        among = self.valid if among is None else among
        values = torch.as_tensor(value, device=among.device)
        self.log.tally.mean(f"{self._owner}/{name}", values.detach().expand(among.shape), among)

    def record_largest(self, name: str, values: Float[Tensor, "batch *entries"]) -> None:
        """Log the largest of non-negative values over the optimizer step's batch; each row has its own."""
        self.log.tally.largest(f"{self._owner}/{name}", values.detach().flatten(1).amax(1), self.valid)

    def record_gradient_ratio(self, name: str, weight: float, losses: Float[Tensor, "batch"]) -> None:
        """Log weight · ‖∂ mean(losses) / ∂ params‖ as a share of the same of the task's losses; keeps the graph."""
        sides, params = (weight * self.scale * losses, self.scale * self.losses()), [*self.params.values()]
        self.log.tally.ratio(f"{self._owner}/{name}", *(self.gradients(x, params, keep_graph=True) for x in sides))

    def count_non_finite(self, gradient: Float[Tensor, "batch tokens dim"]) -> None:
        """Count, and log as `non_finite`, the examples that an ascent leaves where they are."""
        before = self.log.non_finite.get(self._owner, 0)
        self.log.non_finite[self._owner] = before + (~finite_rows(gradient) & self.valid).sum()

    # Passes

    def predict(
        self,
        delta: Float[Tensor, "batch tokens dim"] | None = None,
        *,
        at: Place = "word",
        embeds: Float[Tensor, "batch tokens dim"] | None = None,
        params: Mapping[str, Tensor] | None = None,
        dropout: Dropout = "shared",
    ) -> Prediction:
        """Run one forward pass. With no argument it is the clean one, run once a step.

        Args:
            delta: the perturbation.
            at: what it is added to.
            embeds: these word embeddings in place of a fresh `embeds()`; detached ones save their backward.
            params: other weights for this pass (a teacher's), by name.
            dropout: `shared` replays the clean pass's masks; `fresh` draws this method's next ones; `none` runs
                without.
        """
        clean = delta is None and embeds is None and params is None and dropout == "shared" and torch.is_grad_enabled()
        if clean and self._clean is not None:
            return self._clean
        prediction = Prediction(self.run(delta, at, embeds, params, dropout, clean), self)
        if self.criterion.reads_output:
            _ = prediction.losses  # now: the next pass has another output
        if clean:
            self._clean = prediction
        return prediction

    def logits(self, delta: Tensor | None = None, **options: Any) -> Float[Tensor, "batch *answer"]:
        """Return the logits of one pass; arguments as of `predict`."""
        return self.predict(delta, **options).logits

    def losses(self, delta: Tensor | None = None, **options: Any) -> Float[Tensor, "batch"]:
        """Return the task loss per example of one pass; arguments as of `predict`."""
        return self.predict(delta, **options).losses

    # Reductions

    def losses_of(self, logits: Float[Tensor, "batch *answer"]) -> Float[Tensor, "batch"]:
        """Return the task loss per example of logits that are there already."""
        self.criterion.check_targets(logits, self.batch)
        return self.criterion.losses(logits, self.batch)

    def loss(self) -> Scalar:
        """Return the clean task loss of this micro-batch's share of the global batch."""
        return self.mean(self.losses())

    def mean(self, values: Float[Tensor, "batch"]) -> Scalar:
        """Reduce for the loss: averaged over micro-batches and ranks, it is the mean over the global batch."""
        return self.scale * self.sum(values)

    def sum(self, values: Float[Tensor, "batch"]) -> Scalar:
        """Reduce for an ascent, which must not depend on the batch size. Filler rows count for nothing."""
        values = values if self._counts is None else values * self._counts.to(values.dtype)
        return torch.where(self.valid, values, 0).sum()

    def divergence(
        self, p: Float[Tensor, "batch *answer"], q: Float[Tensor, "batch *answer"], between: Between = symmetric_kl
    ) -> Float[Tensor, "batch"]:
        """Return how far two answers are apart, per example.

        Args:
            p: logits.
            q: others, of the same examples.
            between: of two distributions, as the criterion makes them of the logits; see `ftreg.functional`.
        """
        return self.criterion.divergence(p, q, self._mask, between)

    def gradients(
        self, values: Float[Tensor, "batch"], inputs: Sequence[Tensor], *, keep_graph: bool = False
    ) -> list[Tensor | None]:
        """Compute ∂ sum(values) / ∂ inputs: the gradient that an ascent follows; None where there is none.

        Under fp16 the values are scaled for the backward as the trainer scales its loss, and the gradients back.

        Raises:
            UsageError: it is fp16, and the scale of the loss is not known.
        """
        if self._loss_scale is None:
            raise UsageError(
                f"{self._owner} takes gradients under fp16, where they vanish unless they are scaled as the loss is; "
                f"give Engine(scaler=...) the GradScaler, or use bf16"
            )
        total = self.sum(values) * self._loss_scale
        found = torch.autograd.grad(total, inputs, retain_graph=keep_graph, allow_unused=True)
        return [g if g is None or self._loss_scale == 1 else g / self._loss_scale for g in found]
