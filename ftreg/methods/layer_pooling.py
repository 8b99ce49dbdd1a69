"""With LayerPooling the head reads several layers of the encoder in place of the last one alone.

Lower layers know more of syntax, middle ones transfer best (Rogers, Kovaleva, Rumshisky, TACL 2020). With h_k the
hidden states after layer k (h_0: the embeddings' output), t the pooling of a layer's tokens and m the mix of layers:

    logits = W dropout(m(t(h_{k_1}), …, t(h_{k_n}))) + b

Tokens are pooled first and layers mixed after: `cls` and `mean` keep n vectors an example for the backward. What the
mix learns is its own parameter group, with a higher learning rate and no decay: at an encoder's 2e-5 a softmax over
layers never leaves uniform. The papers are named in `ftreg.encoder.pooling`, one module a mix.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytorch_lightning as pl
from torch import Tensor, nn

from ftreg._base.checks import at_least, typed, within
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Step
from ftreg.core.tally import Tally
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import seeded, stream_seed
from ftreg.encoder.pooling import (
    HIRE,
    LSTM,
    Combine,
    Head,
    LayerAttention,
    ScalarMix,
    SqueezeExcitation,
    TokenPooling,
    Tokens,
    select_layers,
)
from ftreg.methods import _plots

Mix = Literal[
    "last", "second_to_last", "concat", "sum", "mean", "scalar", "attention", "lstm", "squeeze", "squeeze_last", "hire"
]


class LayerPooling(Regularizer):
    """LayerPooling puts a head on several layers.

    Args:
        mix: `last`, `second_to_last`, `concat`, `sum`, `mean` (BERT's feature-based variants); `scalar` (ELMo; UDify
            with `layer_dropout`); `attention` or `lstm` over layers (Song et al.); `squeeze` (SesameBERT) or
            `squeeze_last`, as its released code; `hire` (HIRE).
        tokens: `cls`, `mean`, `max`, `attention`, or `pooler`, the pre-trained one.
        layers: None for all, k for the last k, or a list of numbers: from 1 at the bottom, −1 at the top; 0 is the
            embeddings' output.
        hidden: size of what `attention`, `lstm` and the GRU of `hire` make.
        layer_norm: of `scalar`: normalise each layer first.
        layer_dropout: of `scalar`: the probability of leaving a layer out, in training.
        lr: peak learning rate of the mix's and the token attention's parameters.

    Raises:
        UsageError: an option is out of range, a layer does not exist, or the model has no pre-trained pooler.
    """

    papers: ClassVar[tuple[str, ...]] = (
        "devlin2019bert",
        "peters2018elmo",
        "kondratyuk2019udify",
        "song2020intermediate",
        "su2019sesamebert",
        "yang2019hire",
    )
    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.POOLER})

    def __init__(
        self,
        mix: Mix = "scalar",
        tokens: Tokens = "cls",
        layers: list[int] | int | None = None,
        hidden: int = 128,
        layer_norm: bool = False,
        layer_dropout: float = 0.0,
        lr: float = 1e-3,
    ) -> None:
        typed("LayerPooling", LayerPooling.__init__, locals())
        at_least("LayerPooling", 1, hidden=hidden)
        at_least("LayerPooling", 0, lr=lr)
        within("LayerPooling", 0, 1, layer_dropout=layer_dropout)
        if layer_norm and tokens in ("attention", "pooler"):
            raise UsageError(
                f"LayerPooling.layer_norm does not go with tokens={tokens}, which is not linear in a layer"
            )
        self.mix: Mix = mix
        self.tokens: Tokens = tokens
        self.layers, self.hidden, self.lr = layers, hidden, lr
        self.layer_norm, self.layer_dropout = layer_norm, layer_dropout
        self._history: dict[int, dict[int, float]] = {}
        self._encoder: Encoder | None = None
        self._seen = Tally()

    @property
    def cites(self) -> tuple[str, ...]:
        match self.mix:
            case "scalar":
                return ("peters2018elmo", *(("kondratyuk2019udify",) if self.layer_dropout else ()))
            case "attention" | "lstm":
                return ("song2020intermediate",)
            case "squeeze" | "squeeze_last":
                return ("su2019sesamebert",)
            case "hire":
                return ("yang2019hire",)
            case "last" | "second_to_last" | "concat" | "sum" | "mean":
                return ("devlin2019bert",)

    def attach(self, encoder: Encoder) -> None:
        if encoder.head is not None and not isinstance(encoder.head, Head):
            raise UsageError("LayerPooling: another method has put a head of its own on the network; keep one of them")
        if encoder.head is not None:
            return
        architecture = encoder.architecture.layered(self.name)
        pooling = architecture.pooling if self.tokens == "pooler" else None
        if self.tokens == "pooler" and pooling is None:
            model = type(encoder.model).__name__
            raise UsageError(f"LayerPooling.tokens is pooler: {model} has no pre-trained one; use cls or mean")
        numbers = self.numbers(len(architecture.layers))
        with seeded(stream_seed(encoder.seed, self.name)):
            tokens = TokenPooling(self.tokens, encoder.hidden_size, pooling)
            mix = self._mix(len(numbers), encoder.hidden_size)
            head = Head(numbers, tokens, mix, encoder.model.config, _dropout(encoder))
        encoder.replace_head(head, self.name)

    def learning_rates(self, encoder: Encoder) -> Mapping[str, float]:
        named = encoder.named_parameters()
        return {name: self.lr for name, _ in named if name.startswith(("head.mix.", "head.tokens."))}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        # Before a checkpoint's history is restored.
        if stage == "fit":
            self._history = {}

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        self._encoder, self._seen = encoder, Tally()

    def observe(self, step: Step) -> None:
        if step.logs and self._encoder is not None:
            for number, weight in self.weights(self._encoder).items():
                self._seen.mean(str(number), weight.expand(step.valid.shape), step.valid)

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        super().on_train_batch_end(trainer, pl_module, *args)
        every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
        weights = {} if self._encoder is None else self.weights(self._encoder)
        step = trainer.global_step
        # Once a step, by the micro-batch that completed it: those that follow see the same number.
        if weights and step and every > 0 and step % every == 0 and step not in self._history:
            means = self._seen.values(world=trainer.world_size)
            self._seen = Tally()
            found = {n: means[str(n)] if w.ndim else float(w) for n, w in weights.items()}
            self._history[step] = found
            pl_module.log_dict({f"layer_weight/{n:02d}": w for n, w in found.items()}, batch_size=1)

    def on_fit_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        folder = trainer.log_dir if trainer.loggers else None  # every rank must ask
        if folder and self._history and trainer.is_global_zero:
            layers = next(iter(self._history.values()))
            weights = {number: [at[number] for at in self._history.values()] for number in layers}
            _plots.layer_weights(Path(folder) / "layer_weights.png", [*self._history], weights)

    def state_dict(self) -> dict[str, Any]:
        return {"history": self._history}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._history = dict(state_dict["history"])

    def weights(self, encoder: Encoder) -> dict[int, Tensor]:
        """Return layers' weights by number, none for some mixes; of the latest pass's rows, where the input decides."""
        head = encoder.head
        assert isinstance(head, Head)
        found = getattr(head.mix, "weights", None)
        return {} if found is None else dict(zip(head.numbers, found.unbind(-1), strict=True))

    def numbers(self, depth: int) -> list[int]:
        """Return the layers that are read, lowest first, of an encoder with `depth` of them.

        Raises:
            UsageError: a layer does not exist, is named twice, or there are too few for the mix.
        """
        found = select_layers(self.layers, depth, f"{self.name}.layers")
        if self.mix == "second_to_last" and len(found) < 2:
            raise UsageError("LayerPooling.mix is second_to_last, which needs two layers or more")
        return found

    def _mix(self, layers: int, dim: int) -> nn.Module:
        match self.mix:
            case "scalar":
                return ScalarMix(layers, dim, self.layer_norm, self.layer_dropout)
            case "attention":
                return LayerAttention(dim, self.hidden)
            case "lstm":
                return LSTM(dim, self.hidden)
            case "squeeze" | "squeeze_last":
                return SqueezeExcitation(layers, dim, last_only=self.mix == "squeeze_last")
            case "hire":
                return HIRE(dim, self.hidden)
            case "last" | "second_to_last" | "concat" | "sum" | "mean":
                return Combine(self.mix, layers, dim)


def _dropout(encoder: Encoder) -> float:
    """Return the plain head's dropout rate, before its last layer; 0 where it has none."""
    parts = encoder.model.named_modules()
    rates = [part.p for path, part in parts if isinstance(part, nn.Dropout) and encoder.in_head(f"model.{path}")]
    return rates[-1] if rates else 0.0
