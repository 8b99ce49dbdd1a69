"""The current micro-batch as a method may see it.

One training step, in which every arrow is an ordinary tensor operation and there is one backward pass:

    weights ──mix──▶ mixed weights ─┐
    input_ids ──embeds()──▶ E (+ δ) ─┴─logits()──▶ losses() ──▶ loss()  or  objective(step) ─┐
                                          └────────────────────────────▶ penalty(step), … ───┴─▶ Σ ──▶ backward

The clean forward is run once: the task loss and all penalties share it. A perturbation δ is added to the word
embeddings, or to what the first layer takes (`at`).
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ftreg.core.tally import Tally
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Moment, Noise, seed_dropout
from ftreg.encoder.weights import Weights
from ftreg.functional.divergences import symmetric_kl
from ftreg.functional.perturbation import finite

Scalar = Float[Tensor, ""]
Place = Literal["word", "embedding_output"]
"""Where a perturbation is added: to the word embeddings, or to what the first layer takes.

Position, token type, LayerNorm and dropout come between, and a projection where the two differ in width.
"""
Dropout = Literal["shared", "fresh", "none"]
"""A pass's dropout masks: the clean pass's again, this method's next ones, or none at all (evaluation mode)."""


def task_losses(logits: Float[Tensor, "batch classes"], labels: Tensor) -> Float[Tensor, "batch"]:
    """The task loss per example: cross-entropy, or squared error where there is one output."""
    if logits.shape[-1] == 1:
        return (logits.squeeze(-1) - labels.to(logits.dtype)).square()
    return F.cross_entropy(logits, labels, reduction="none")


class Step:
    """One micro-batch of one optimizer step.

    Args:
        batch: `input_ids` and `attention_mask` [batch, tokens], `labels` [batch]; optionally `token_type_ids`,
            `row_ids` and `valid` [batch], `lengths` (host integers) and `scale`.
        encoder: the network.
        weights: those that the network uses.
        mix: maps the weights afresh; one call a pass, because each `autograd.grad` frees the map's graph.
        moment: names the streams.
        full_precision: the methods whose passes, and the clean one that they share, autocast must not touch.
        loss_scale: fp16's, for gradients that a method takes itself.
        logs: whether this step's diagnostics are logged: compute them only then.
        non_finite: by method, how many gradients of examples were not finite so far; counted on.
        tally: what adds up the diagnostics of all micro-batches of the optimizer step.
    """

    def __init__(
        self,
        batch: Mapping[str, Any],
        encoder: Encoder,
        weights: Weights,
        mix: Callable[[], None],
        moment: Moment,
        full_precision: Collection[str] = (),
        loss_scale: float = 1.0,
        logs: bool = False,
        non_finite: dict[str, Tensor | int] | None = None,
        tally: Tally | None = None,
    ) -> None:
        self._batch, self._encoder, self._weights, self._mix, self._moment = batch, encoder, weights, mix, moment
        self.number = moment.number
        """The optimizer step, from 0."""
        self.input_ids: Int[Tensor, "batch tokens"] = batch["input_ids"]
        self.labels: Int[Tensor, batch] | Float[Tensor, batch] = batch["labels"]
        self.mask: Int[Tensor, "batch tokens"] = batch["attention_mask"]
        rows = self.mask.shape[0]
        self.row_ids: Int[Tensor, batch] = batch.get("row_ids", torch.arange(rows, device=self.mask.device))
        self.valid: Bool[Tensor, batch] = batch.get("valid", torch.ones_like(self.row_ids, dtype=torch.bool))
        """False on filler rows, which count for nothing."""
        self.scale = float(batch.get("scale", 1 / rows))
        """What turns `sum` into `mean`."""
        self.logs = logs
        """Whether this step's diagnostics are logged: compute them only then."""
        self.tally = Tally() if tally is None else tally
        self._full_precision, self._loss_scale = full_precision, loss_scale
        self._non_finite = {} if non_finite is None else non_finite
        self._owner = ""
        self._passes: dict[str, int] = {}
        self._clean: Tensor | None = None

    @property
    def params(self) -> dict[str, Tensor]:
        """The trainable parameters by name, for `autograd.grad`: the real ones, whatever the weights are mixed with."""
        return {name: p for name, p in self._weights.real.items() if p.requires_grad}

    def on_behalf_of(self, owner: str) -> None:
        """Whose streams the next fresh passes draw from."""
        self._owner = owner

    def record(self, name: str, value: Tensor | float | int, among: Tensor | None = None) -> None:
        """Log a diagnostic of the method whose turn it is: the mean over the step's whole batch of one number, or of a
        number for every entry that is true in `among`; without that, the rows that are no filler."""
        among = self.valid if among is None else among
        values = torch.as_tensor(value, device=among.device)
        self.tally.mean(f"{self._owner}/{name}", values.detach().expand(among.shape), among)

    def record_largest(self, name: str, values: Float[Tensor, "batch *entries"]) -> None:
        """Log the largest of non-negative values over the optimizer step's batch; each row has its own."""
        self.tally.largest(f"{self._owner}/{name}", values.detach().flatten(1).amax(1), self.valid)

    def record_gradient_ratio(self, name: str, weight: float, losses: Float[Tensor, "batch"]) -> None:
        """Log weight · ‖∂ mean(losses) / ∂ params‖ as a share of the same of the task's losses; keeps the graph."""
        sides, params = (weight * self.scale * losses, self.scale * self.losses()), [*self.params.values()]
        self.tally.ratio(f"{self._owner}/{name}", *(self.gradients(x, params, keep_graph=True) for x in sides))

    def embeds(self) -> Float[Tensor, "batch tokens dim"]:
        """Word embeddings before position, type and LayerNorm, with their graph."""
        if not self._weights.current:
            self._mix()
        return self._encoder.embed(self.input_ids)

    def generators(self, name: str, *, every_step: bool = True) -> list[torch.Generator]:
        """A generator a row, on the CPU, for draws that belong to examples: no sharding or packing changes them.

        Args:
            name: of the draw; the stream is named by seed, method, optimizer step, this, and the row's id.
            every_step: False leaves the optimizer step out: a row then draws the same in every epoch.
        """
        stream = Noise(self._moment.seed, self._owner, self.number if every_step else 0)
        return [stream.generator(name, row) for row in self.row_ids.tolist()]

    def noise(
        self, name: str, kind: Literal["normal", "uniform"] = "normal", *, at: Place = "word"
    ) -> Float[Tensor, "batch tokens dim"]:
        """Noise on the embeddings that belongs to examples, so that no sharding, padding or packing changes it.

        Args:
            name: of the draw; the stream is named by seed, method, optimizer step, this, and the row's id.
            kind: `normal`, N(0, 1), or `uniform`, U(−1, 1); zero on padding.
            at: where it will be added, which decides `dim`.
        """
        with torch.no_grad():
            embeds = self._encoder.embed(self.input_ids)
        dim = embeds.shape[-1] if at == "word" else self._encoder.architecture.layered(self._owner).width
        out = embeds.new_zeros(*embeds.shape[:2], dim)
        stream = Noise(self._moment.seed, self._owner, self.number)
        lengths = self._batch.get("lengths") or self.mask.sum(1).tolist()
        for place, (row, length) in enumerate(zip(self.row_ids.tolist(), lengths, strict=True)):
            generator = stream.generator(name, row, device=out.device)
            values = out[place, :length]
            values.normal_(generator=generator) if kind == "normal" else values.uniform_(-1, 1, generator=generator)
        return out

    def logits(
        self,
        delta: Float[Tensor, "batch tokens dim"] | None = None,
        *,
        at: Place = "word",
        embeds: Float[Tensor, "batch tokens dim"] | None = None,
        params: Mapping[str, Tensor] | None = None,
        noise: Dropout = "shared",
    ) -> Float[Tensor, "batch classes"]:
        """One forward pass. With no argument it is the clean one, run once a step.

        Args:
            delta: the perturbation.
            at: what it is added to.
            embeds: these word embeddings in place of a fresh `embeds()`; detached ones save their backward.
            params: other weights for this pass (a teacher's), by name.
            noise: `shared` replays the clean pass's dropout masks; `fresh` draws this method's next ones; `none`
                runs without dropout.
        """
        clean = delta is None and embeds is None and params is None and noise == "shared" and torch.is_grad_enabled()
        if clean and self._clean is not None:
            return self._clean
        weights = self._weights
        if params is None and (torch.is_grad_enabled() or not weights.current):
            with torch.enable_grad():
                self._mix()
        held = weights.current
        if params is not None:
            weights.put(params)
        if noise != "none":
            self._seed(noise)
        with self._precision(clean), self._encoder.evaluating() if noise == "none" else nullcontext():
            out = self._encoder.features(self._batch) if clean and self._encoder.features else None
            if out is None:
                embeds = self._encoder.embed(self.input_ids) if embeds is None else embeds
                out = self._encoder(
                    embeds + delta if delta is not None and at == "word" else embeds,
                    self.mask,
                    self._batch.get("token_type_ids"),
                    self._batch.get("lengths"),
                    delta if at == "embedding_output" else None,
                )
        if params is not None:
            weights.put(held)
        if clean:
            self._clean = out
        assert isinstance(out, Tensor)
        return out

    def read(
        self, input_ids: Int[Tensor, "batch tokens"]
    ) -> tuple[Float[Tensor, "batch tokens hidden"], Float[Tensor, "batch classes"]]:
        """The last hidden states and the head's logits of other tokens in the places of this batch's."""
        with torch.enable_grad():
            self._mix()
        self._seed("shared")
        with self._precision(clean=False):
            embeds = self._encoder.embed(input_ids)
            types = self._batch.get("token_type_ids")
            return self._encoder.read(embeds, self.mask, types, self._batch.get("lengths"))

    def read_by(self, part: nn.Module, input_ids: Int[Tensor, "batch tokens"]) -> Any:
        """What a part that the method has added makes of other tokens, in a pass under the method's own dropout.

        Args:
            part: called as a Hugging Face model is.
            input_ids: in the places of this batch's.
        """
        with torch.enable_grad():
            self._mix()
        self._seed("fresh")
        types = self._batch.get("token_type_ids")
        with self._precision(clean=False):
            return part(
                input_ids=input_ids,
                attention_mask=self.mask,
                **({} if types is None else {"token_type_ids": types}),
            )

    def losses(
        self,
        delta: Float[Tensor, "batch tokens dim"] | None = None,
        *,
        embeds: Float[Tensor, "batch tokens dim"] | None = None,
        params: Mapping[str, Tensor] | None = None,
        noise: Dropout = "shared",
    ) -> Float[Tensor, "batch"]:
        """The task loss per example: cross-entropy, or squared error for regression. Arguments as of `logits`."""
        return task_losses(self.logits(delta, embeds=embeds, params=params, noise=noise), self.labels)

    def loss(self) -> Scalar:
        """The clean task loss of this micro-batch's share of the global batch."""
        return self.mean(self.losses())

    def mean(self, values: Float[Tensor, "batch"]) -> Scalar:
        """The outer reduction: averaged over micro-batches and ranks, it is the mean over the global batch."""
        return self.scale * self.sum(values)

    def sum(self, values: Float[Tensor, "batch"]) -> Scalar:
        """The inner reduction, for an ascent: it must not depend on the batch size. Filler rows count for nothing."""
        return torch.where(self.valid, values, 0).sum()

    def divergence(
        self, p: Float[Tensor, "batch classes"], q: Float[Tensor, "batch classes"]
    ) -> Float[Tensor, "batch"]:
        """How far two predictions are apart: symmetric Kullback–Leibler, or squared error for regression."""
        return symmetric_kl(p, q)

    def gradients(
        self, values: Float[Tensor, "batch"], inputs: Sequence[Tensor], *, keep_graph: bool = False
    ) -> list[Tensor | None]:
        """∂ sum(values) / ∂ inputs: the gradient that an ascent follows; None where there is none.

        Under fp16 the values are scaled for the backward as the trainer scales its loss, and the gradients back.
        """
        total = self.sum(values) * self._loss_scale
        found = torch.autograd.grad(total, inputs, retain_graph=keep_graph, allow_unused=True)
        return [g if g is None or self._loss_scale == 1 else g / self._loss_scale for g in found]

    def count_non_finite(self, gradient: Float[Tensor, "batch tokens dim"]) -> None:
        """Count, and log as `non_finite`, the examples that an ascent leaves where they are."""
        before = self._non_finite.get(self._owner, 0)
        self._non_finite[self._owner] = before + (~finite(gradient) & self.valid).sum()

    @contextmanager
    def _precision(self, clean: bool) -> Iterator[None]:
        """Without autocast, if the pass must be in float32."""
        if self._owner in self._full_precision or (clean and self._full_precision):
            with torch.autocast(self.mask.device.type, enabled=False):
                yield
        else:
            yield

    def _seed(self, noise: str) -> None:
        stream: tuple[str | int, ...] = ()
        if noise == "fresh":
            number = self._passes.get(self._owner, 0)
            self._passes[self._owner] = number + 1
            stream = (self._owner, number)
        seed_dropout(self._moment.seed, self._moment.micro_batch, self._moment.rank, *stream)
