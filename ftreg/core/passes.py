"""Methods make passes on one micro-batch, each with its weights, dropout, embeddings and precision."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Draw, Noise, StreamKey, seed_dropout

Place = Literal["word", "embedding_output"]
"""Where a perturbation is added: to the word embeddings, or to what the first layer takes.

Position, token type, LayerNorm and dropout come between, and a projection where the two differ in width.
"""
Dropout = Literal["shared", "fresh", "none"]
"""A pass's dropout masks: the clean pass's again, this method's next ones, or none at all (evaluation mode)."""


class Passes:
    """Passes are made of one micro-batch on one network; arguments as of `Step`."""

    def __init__(
        self,
        batch: Mapping[str, Any],
        encoder: Encoder,
        methods: Sequence[Any],
        key: StreamKey,
        noise: type[Noise] = Noise,
    ) -> None:
        self.batch, self._encoder, self._methods, self._key, self._noise = batch, encoder, methods, key, noise
        self.number = key.number
        """The optimizer step, from 0."""
        self.input_ids: Int[Tensor, "batch *choices tokens"] = batch["input_ids"]
        mask = batch.get("attention_mask")
        self._mask: Tensor = torch.ones_like(self.input_ids) if mask is None else mask
        self.mask: Int[Tensor, "batch tokens"] = self._mask.flatten(1)
        """1 on real tokens; of an example with several choices, on those of all of them."""
        rows, device = len(self.mask), self.mask.device
        self.row_ids: Int[Tensor, batch] = batch.get("row_ids", torch.arange(rows, device=device))
        self.valid: Bool[Tensor, batch] = batch.get("valid", torch.ones(rows, dtype=torch.bool, device=device))
        """False on filler rows, which count for nothing."""
        self._full_precision = {method.name for method in methods if method.full_precision}
        self._owner = ""
        self._passes: dict[str, int] = {}

    @property
    def params(self) -> dict[str, Tensor]:
        """The trainable parameters by name, for `autograd.grad`: the real ones, whatever the weights are mixed with."""
        return {name: p for name, p in self._encoder.weights.real.items() if p.requires_grad}

    def on_behalf_of(self, owner: str) -> None:
        """Name the method whose turn it is: fresh passes draw from its streams, diagnostics are logged as its."""
        self._owner = owner

    def generators(self, name: str, *, every_step: bool = True) -> list[torch.Generator]:
        """Return a generator a row, on the CPU, for draws that no sharding or packing changes.

        Args:
            name: of the draw; the stream is named by seed, method, optimizer step, this, and the row's id.
            every_step: False leaves the optimizer step out: a row then draws the same in every epoch.
        """
        stream = self._noise(self._key.seed, self._owner, self.number if every_step else 0)
        return [stream.generator(name, row) for row in self.row_ids.tolist()]

    def noise(self, name: str, kind: Draw = "normal", *, at: Place = "word") -> Float[Tensor, "batch tokens dim"]:
        """Draw noise on the embeddings that belongs to examples: no sharding, padding or packing changes it.

        Args:
            name: of the draw; the stream is named by seed, method, optimizer step, this, and the row's id.
            kind: `normal`, N(0, 1), or `uniform`, U(−1, 1); zero on padding.
            at: where it will be added, which decides `dim`.
        """
        with torch.no_grad():
            embeds = self._encoder.embed(self.input_ids).flatten(1, -2)
        dim = embeds.shape[-1] if at == "word" else self._encoder.architecture.layered(self._owner).width
        lengths = self.batch.get("lengths")
        places = [slice(length) for length in lengths] if lengths else [*self.mask.bool()]
        stream = self._noise(self._key.seed, self._owner, self.number)
        return stream.perturbation(name, self.row_ids.tolist(), places, embeds.new_zeros(*self.mask.shape, dim), kind)

    def embeds(self) -> Float[Tensor, "batch tokens dim"]:
        """Return the word embeddings before position, type and LayerNorm, with their graph."""
        if not self._encoder.weights.current:
            self._mix()
        return self._encoder.embed(self.input_ids).flatten(1, -2)

    def run(
        self,
        delta: Float[Tensor, "batch tokens dim"] | None = None,
        at: Place = "word",
        embeds: Float[Tensor, "batch tokens dim"] | None = None,
        params: Mapping[str, Tensor] | None = None,
        dropout: Dropout = "shared",
        clean: bool = False,
    ) -> Float[Tensor, "batch *answer"]:
        """Run one forward pass; arguments as of `Step.predict`, and whether it is the clean one."""
        weights = self._encoder.weights
        if params is None and (torch.is_grad_enabled() or not weights.current):
            with torch.enable_grad():
                self._mix()
        held = weights.current
        if params is not None:
            weights.put(params)
        if dropout != "none":
            self._seed(dropout)
        with self._precision(clean), self._encoder.evaluating() if dropout == "none" else nullcontext():
            logits = self._encoder.features(self.batch) if clean and self._encoder.features else None
            if logits is None:
                embeds = self._encoder.embed(self.input_ids) if embeds is None else embeds
                if delta is not None and at == "word":
                    embeds = embeds.view(*self.mask.shape, -1) + delta
                logits = self._encoder(
                    embeds.view(*self.input_ids.shape, -1),
                    self._mask,
                    self.batch.get("token_type_ids"),
                    self.batch.get("lengths"),
                    delta if at == "embedding_output" else None,
                    **self._ids(self.input_ids),
                )
        if params is not None:
            weights.put(held)
        return logits

    def read(
        self, input_ids: Int[Tensor, "batch tokens"]
    ) -> tuple[Float[Tensor, "batch tokens hidden"], Float[Tensor, "batch *answer"]]:
        """Return the last hidden states and the logits of other tokens in the places of this batch's."""
        with torch.enable_grad():
            self._mix()
        self._seed("shared")
        with self._precision(clean=False):
            embeds = self._encoder.embed(input_ids)
            types = self.batch.get("token_type_ids")
            return self._encoder.read_states(
                embeds, self._mask, types, self.batch.get("lengths"), **self._ids(input_ids)
            )

    def read_by(self, part: nn.Module, input_ids: Int[Tensor, "batch tokens"]) -> Any:
        """Return what a part that the method has added makes of other tokens, under the method's own dropout.

        Args:
            part: called as a Hugging Face model is.
            input_ids: in the places of this batch's.
        """
        with torch.enable_grad():
            self._mix()
        self._seed("fresh")
        types = self.batch.get("token_type_ids")
        with self._precision(clean=False):
            return part(
                input_ids=input_ids,
                attention_mask=self._mask,
                **({} if types is None else {"token_type_ids": types}),
            )

    def _mix(self) -> None:
        """Map the real weights by every method, in list order, and let the network use the result.

        Afresh for each pass, because each `autograd.grad` frees the map's graph.
        """
        weights, mixed = self._encoder.weights, dict[str, Tensor]()
        for method in self._methods:
            noise = self._noise(self._key.seed, method.name, self.number)
            mixed.update(method.map_weights({**weights.real, **mixed}, noise))
        weights.put(mixed)

    def _ids(self, input_ids: Tensor) -> dict[str, Any]:
        """Return what a model that is run by its tokens takes besides."""
        if not self._encoder.by_ids:
            return {}
        return {"ids": input_ids, "more": {k: v for k, v in self.batch.items() if k in self._encoder.takes}}

    @contextmanager
    def _precision(self, clean: bool) -> Iterator[None]:
        """Switch autocast off if the pass must be in float32."""
        if self._owner in self._full_precision or (clean and self._full_precision):
            with torch.autocast(self.mask.device.type, enabled=False):
                yield
        else:
            yield

    def _seed(self, dropout: str) -> None:
        stream: tuple[str | int, ...] = ()
        if dropout == "fresh":
            number = self._passes.get(self._owner, 0)
            self._passes[self._owner] = number + 1
            stream = (self._owner, number)
        seed_dropout(self._key.seed, self._key.micro_batch, self._key.rank, *stream)
