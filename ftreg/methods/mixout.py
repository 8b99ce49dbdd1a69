"""Mixout is dropout towards the pre-trained weights.

Lee, Cho, Kang. *Mixout: Effective Regularization to Finetune Large-scale Pretrained Language Models*. ICLR 2020,
arXiv 1909.11299.

    W̃ = [m ⊙ W + (1 − m) ⊙ U − p U] / (1 − p) = U + m/(1 − p) ⊙ (W − U),      m_j ~ Bernoulli(1 − p)

for the weight W [out, in] of each Linear, its anchor U (the pre-trained weight) and one mask entry per input unit,
shared by all outputs, tokens and examples. E[W̃] = W, and ∂ℓ/∂W = m/(1 − p) ⊙ ∂ℓ/∂W̃. Biases, embeddings and LayerNorm
are not mixed. Evaluation uses W.

On LoRA's layers, whose weight is W + s B A with a frozen W, the pre-trained weight is at ΔW = 0, and mixing the columns
of A towards zero mixes exactly that: s B A diag(m/(1 − p)) = m/(1 − p) ⊙ (W + s B A − W), with one m for each input.

The published code's hand-written backward lacks the factor 1/(1 − p) (https://github.com/bloodwass/mixout,
`mixout/mixout.py`); `gradient="reference"` replicates it. Its masks are one per forward; here they are one per
optimizer step, so that a step is the same algorithm however the batch is sharded.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, ClassVar, Literal

import torch
from torch import Tensor, nn

from ftreg._base.checks import typed
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer
from ftreg.encoder.adapters import linears, low_rank
from ftreg.encoder.architecture import is_random
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Noise
from ftreg.encoder.other_backbone import values_of
from ftreg.functional.mixout import mixout


class Mixout(Regularizer):
    """Mixout mixes the weights of every pre-trained Linear of the encoder.

    Args:
        p: probability of falling back to the anchor, in [0, 1]. The paper: 0.7, 0.8, 0.9.
        granularity: `unit`, one mask entry per input unit, as in the paper; `weight`, one per weight.
        anchor: what the mix falls back to: `pretrained`, `zero` (dropout on weights), or a folder or Hub id of the
            same architecture.
        include_head: also mix the head, whose anchor is its random start.
        replace_dropout: which dropouts are switched off in training: `none`, `preceding` (those whose next module
            is a mixed Linear) or `all`. The head's dropout stays unless the head is included.
        gradient: `exact`, or `reference` for the published code's.

    Raises:
        UsageError: an option is out of range, there is no Linear to mix, or a dropout to replace that is not found.
    """

    papers: ClassVar[tuple[str, ...]] = ("lee2020mixout",)

    def __init__(
        self,
        p: float = 0.7,
        granularity: Literal["unit", "weight"] = "unit",
        anchor: str = "pretrained",
        include_head: bool = False,
        replace_dropout: Literal["none", "preceding", "all"] = "none",
        gradient: Literal["exact", "reference"] = "exact",
    ) -> None:
        typed("Mixout", Mixout.__init__, locals())
        if not 0 <= p <= 1:
            raise UsageError(f"Mixout.p is {p}; it is a probability, from 0 to 1")
        self.p, self.granularity, self.anchor = p, granularity, anchor
        self.include_head, self.replace_dropout, self.gradient = include_head, replace_dropout, gradient
        self._anchors: dict[str, Tensor] = {}
        self._masks: dict[str, str] = {}
        """The weight whose mask each one is mixed with, where it is another: LoRA's A goes with the layer it is in."""
        self._dropouts: list[tuple[nn.Module, str, float]] = []

    def remember(self, encoder: Encoder) -> None:
        names = [
            name for name, module in linears(encoder) if module.weight.requires_grad and self._wanted(encoder, name)
        ]
        self._masks = self._low_rank(encoder)
        if not names and not self._masks:
            raise UsageError(
                "Mixout: no trainable Linear with a pre-trained weight to mix (is the encoder frozen, or wrapped in "
                "adapters?); leave Mixout out, or let the encoder train"
            )
        if self.anchor == "zero":
            self._anchors = {name: torch.zeros_like(encoder.get_parameter(name)) for name in names}
        elif self.anchor == "pretrained":
            self._anchors = {name: encoder.start.value(name) for name in names}
        else:
            self._anchors = values_of(encoder, self.anchor, names)
        self._anchors |= {name: torch.zeros_like(encoder.get_parameter(name)) for name in self._masks}
        if self.replace_dropout == "all":
            self._dropouts = [(module, rate, getattr(module, rate)) for module, rate in self._replaced(encoder)]
            with self.during(encoder, {}):
                left = is_random(encoder.model)
            if left:
                raise encoder.architecture.refusal(
                    "Mixout.replace_dropout=all", "some of its dropouts cannot be found to be switched off"
                )

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        self._anchors = {name: anchor.to(encoder.get_parameter(name)) for name, anchor in self._anchors.items()}
        self._dropouts = [(module, rate, getattr(module, rate)) for module, rate in self._replaced(encoder)]

    @contextmanager
    def during(self, encoder: Encoder, batch: Mapping[str, Any]) -> Iterator[None]:
        for module, rate, _ in self._dropouts:
            setattr(module, rate, 0.0)
        try:
            yield
        finally:
            for module, rate, p in self._dropouts:
                setattr(module, rate, p)

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        if self.p == 0:
            return {}
        mixed = {}
        for name, anchor in self._anchors.items():
            whose = self._masks.get(name, name)
            keep = noise.mask(whose, anchor[0] if self.granularity == "unit" else anchor, self.p)
            mixed[name] = mixout(params[name], anchor, keep, self.p, self.gradient)
        return mixed

    def _wanted(self, encoder: Encoder, name: str) -> bool:
        return encoder.anchored(name) or (self.include_head and encoder.in_head(name))

    def _low_rank(self, encoder: Encoder) -> dict[str, str]:
        """Find LoRA's matrices to mix towards zero, and the weights whose masks they take.

        Raises:
            UsageError: there are adapters that cannot be mixed, or not with these options.
        """
        try:
            found = {a: weight for a, weight in low_rank(encoder).items() if self._wanted(encoder, weight)}
        except UsageError as error:
            raise encoder.architecture.refusal(self.name, str(error)) from error
        for option, only in {"granularity": "unit", "anchor": "pretrained", "gradient": "exact"}.items():
            value = getattr(self, option)
            if found and value != only:
                raise encoder.architecture.refusal(
                    f"{self.name}.{option}={value}",
                    f"LoRA's B A falls back to zero by whole inputs; give {only}",
                )
        return found

    def _replaced(self, encoder: Encoder) -> list[tuple[nn.Module, str]]:
        """Return the dropouts to switch off, in module order: the module and its attribute that holds the rate."""
        leaves = [(path, module) for path, module in encoder.named_modules() if not list(module.children())]
        following = [*leaves[1:], ("", None)]
        mixed = {*self._anchors, *self._masks.values()}
        found: list[tuple[nn.Module, str]] = [
            (module, "p")
            for (path, module), (next_path, _) in zip(leaves, following, strict=True)
            if isinstance(module, nn.Dropout)
            and (self.include_head or not encoder.in_head(path))
            and (
                self.replace_dropout == "all"
                or (self.replace_dropout == "preceding" and f"{next_path}.weight" in mixed)
            )
        ]
        if self.replace_dropout == "all":
            # Newer architectures drop attention without a module for it.
            below = [module for path, module in encoder.named_modules() if not encoder.in_head(path)]
            found += [
                (m, key) for m in below for key, p in vars(m).items() if "dropout" in key and isinstance(p, float)
            ]
        return found
