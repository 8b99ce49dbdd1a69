"""Features are what the head reads of a frozen encoder: they are computed once a row, kept, and read again.

While nothing below the head trains, and without dropout there, a row's features never change: they are computed when
the row is first seen, and every later step costs the head alone. The head is the model's own, unchanged: for the time
of its pass, something that puts out the kept features stands in for the encoder.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from transformers.modeling_outputs import BaseModelOutputWithPooling

from ftreg._base.errors import UsageError
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.pooling import LSTM, Combine, Head, LayerAttention, ScalarMix
from ftreg.encoder.torch_internals import module_slots

TOLERANCE = 1e-5
"""How far the first batch's logits from its features may be from the full pass's, relative to the largest."""


class Features:
    """The features of training rows are kept in host memory, by task and row id, and make a batch's logits.

    The plain head reads the first token's last hidden state or the pooler's output; a head on several layers, of
    mixes that read vectors, one vector a layer. That the plain head reads nothing else is checked on the first batch.

    Args:
        encoder: frozen below its head.
        option: that asks for this, for messages.
        pooler: whether the pooler trains, and so runs in every step.

    Raises:
        UsageError: the head is one that reads hidden states.
    """

    def __init__(self, encoder: Encoder, option: str, pooler: bool = False) -> None:
        if not encoder.one_answer:
            raise encoder.architecture.refusal(
                option, "its answer is one for each token or choice, and what is kept is a vector a text"
            )
        if encoder.head is not None and not _reads_vectors(encoder.head):
            raise UsageError(
                f"{option} keeps a vector a layer, and this head reads more: one with tokens=cls, mean or max, a mix "
                "other than squeeze, squeeze_last and hire, and no layer_norm can go with it"
            )
        self._encoder, self._option, self._pooler = encoder, option, pooler
        self._kept: dict[tuple[str, int], tuple[Tensor, ...]] = {}

    def __call__(self, batch: Mapping[str, Any]) -> Tensor | None:
        """Compute the logits [batch, classes] of a batch as `Step` describes one; the head runs in its own mode.

        Returns:
            None if this architecture's head reads something else; the encoder then forgets this object.

        Raises:
            UsageError: the batch has no row ids, or something below the head trains.
        """
        if "row_ids" not in batch:
            raise UsageError(f"{self._option} needs row_ids in the training batches; add them, or give cache=false")
        rows = [(batch.get("task", ""), row) for row in batch["row_ids"].tolist()]
        missing = [place for place, row in enumerate(rows) if row not in self._kept]
        if missing:
            features, logits = self._compute(batch, missing)
            if not self._kept and not self._suffice(features, logits):
                model = type(self._encoder.model).__name__
                rank_zero_warn(f"{self._option}: {model}'s head takes more than the first token; nothing is cached")
                self._encoder.features = None
                return None
            # A copy even on the CPU: a view would keep all tokens.
            kept = [feature.detach().to("cpu", copy=True).unbind() for feature in features]
            self._kept.update(zip([rows[place] for place in missing], zip(*kept, strict=True), strict=True))
        columns = zip(*(self._kept[row] for row in rows), strict=True)
        return self._head([torch.stack(column).to(batch["input_ids"].device) for column in columns])

    def _compute(self, batch: Mapping[str, Any], places: list[int]) -> tuple[list[Tensor], Tensor]:
        """Compute features of some of the batch's rows, each [rows, …, dim], and the head's logits; without dropout."""
        encoder, lengths = self._encoder, batch.get("lengths")
        at = torch.tensor(places, device=batch["input_ids"].device)
        count = len(batch["input_ids"])
        some = {k: v[at] for k, v in batch.items() if isinstance(v, Tensor) and v.ndim and len(v) == count}
        ids = some["input_ids"]
        more = {"ids": ids, "more": {k: v for k, v in {**batch, **some}.items() if k in encoder.takes}}
        # With gradients, which frozen parts do not have: so features tell whether something below the head trains.
        with self._caught() as features, encoder.evaluating():
            logits = encoder(
                encoder.embed(ids),
                some.get("attention_mask", torch.ones_like(ids)),
                some.get("token_type_ids"),
                lengths and [lengths[place] for place in places],
                **(more if encoder.by_ids else {}),
            )
        if any(feature.requires_grad for feature in features):
            raise UsageError(
                f"{self._option}: something below the head trains, so nothing can be kept; give cache=false"
            )
        return features, logits

    @contextmanager
    def _caught(self) -> Iterator[list[Tensor]]:
        """Catch what passes between the encoder and its head meanwhile."""
        features: list[Tensor] = []
        head = self._encoder.head

        def of_base(module: nn.Module, args: Any, output: Any) -> None:
            features.append(output[0][:, :1])
            pooled = getattr(output, "pooler_output", None)
            if pooled is not None and not self._pooler:
                features.append(pooled)

        def of_layers(module: nn.Module, args: tuple[Sequence[Tensor], Tensor]) -> None:
            assert isinstance(head, Head)
            states, mask = args
            features.append(torch.stack([head.tokens(states[number], mask) for number in head.numbers], 1))

        if head is None:
            handle = self._encoder.model.base_model.register_forward_hook(of_base)
        else:
            handle = head.register_forward_pre_hook(of_layers)
        try:
            yield features
        finally:
            handle.remove()

    def _suffice(self, features: list[Tensor], logits: Tensor) -> bool:
        """Return whether the head makes the same of the features as of everything."""
        with self._encoder.evaluating():
            gap = (self._head(features) - logits).detach().abs().max()
        return bool(gap <= max(TOLERANCE, torch.finfo(logits.dtype).eps) * logits.detach().abs().max())

    def _head(self, features: list[Tensor]) -> Tensor:
        """Return the logits that the head makes of features."""
        first, head = features[0], self._encoder.head
        mask = torch.ones(len(first), 1, dtype=torch.long, device=first.device)
        if isinstance(head, Head):
            # Sequences of one token, of which every pooling makes that token.
            states = [first[:, :1]] * (1 + max(head.numbers))
            for place, number in enumerate(head.numbers):
                states[number] = first[:, place : place + 1]
            logits = head(states, mask)
        else:
            pooling = self._encoder.architecture.pooling if self._pooler else None
            pooled = pooling(first) if pooling is not None else features[1] if len(features) > 1 else None
            given = BaseModelOutputWithPooling(last_hidden_state=first, pooler_output=pooled)
            with _instead(self._encoder.model, given):
                logits = self._encoder.model(inputs_embeds=first, attention_mask=mask).logits
        assert isinstance(logits, Tensor)
        return logits


class _Given(nn.Module):
    """This module puts out what it is given."""

    def __init__(self, output: Any) -> None:
        super().__init__()
        self.output = output

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        return self.output


@contextmanager
def _instead(model: Any, output: Any) -> Iterator[None]:
    """Let the model's head read `output` in place of what its base model puts out."""
    name = model.base_model_prefix
    parts = module_slots(model)
    base, parts[name] = parts[name], _Given(output)
    try:
        yield
    finally:
        parts[name] = base


def _reads_vectors(head: nn.Module) -> bool:
    """Return whether a head reads one vector a layer, which no parameter makes."""
    if not isinstance(head, Head) or head.tokens.kind not in ("cls", "mean", "max"):
        return False
    mix = head.mix
    return isinstance(mix, Combine | LayerAttention | LSTM) or (isinstance(mix, ScalarMix) and not mix.layer_norm)
