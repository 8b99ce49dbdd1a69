"""HeadFirst trains the head on the pre-trained features, then everything.

Kumar, Raghunathan, Jones, Ma, Liang. *Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution*. ICLR 2022, arXiv 2202.10054 (LP-FT: linear probing, then fine-tuning).

A fresh head sends large, random gradients into the encoder; a head that fits already sends small ones.
"""

from collections.abc import Collection, Sequence
from typing import ClassVar

from ftreg._base.checks import typed, within
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.features import Features
from ftreg.methods._freezing import Freezing


class HeadFirst(Freezing):
    """Everything but the head is frozen for the first part of the training.

    With `cache`, the frozen part runs without dropout, as LP-FT's features are made, and once a row: what the head
    reads of it is kept in host memory, and a row that has been seen costs the head alone. The head's own dropout stays.
    A row takes the encoder's `dim` numbers, twice as many where there is a pooler that does not train (6 KiB for BERT
    base in float32: 2.3 GiB for MNLI), `dim` for each layer that a `LayerPooling` head reads; each rank keeps the rows
    that it has seen. A resumed run computes them again, in other batches, and agrees with the whole one up to rounding
    (1e-12 in float64), not bit for bit. Training data must be the same tokens whenever a row returns.

    Args:
        share: of the optimizer steps; 0 is plain fine-tuning, 1 is linear probing.
        pooler: whether the pre-trained pooler trains with the head.
        cache: compute the frozen part once a row. Not beside methods that map weights or add passes of their own.

    Raises:
        UsageError: the share is not between 0 and 1; `cache` beside a method that needs more than clean passes, or with
            a head that reads more than a vector a layer.
    """

    papers: ClassVar[tuple[str, ...]] = ("kumar2022lpft",)

    def __init__(self, share: float = 0.2, pooler: bool = False, cache: bool = False) -> None:
        typed("HeadFirst", HeadFirst.__init__, locals())
        within("HeadFirst", 0, 1, share=share)
        super().__init__()
        self.share, self.pooler, self.cache = share, pooler, cache

    def frozen(self, parts: list[str], progress: float) -> Collection[str]:
        if progress >= self.share:
            return ()
        return [part for part in parts if part != "head" and not (self.pooler and part == "pooler")]

    def check(self, methods: Sequence[Regularizer]) -> None:
        for other in methods if self.cache else ():
            for part in ("map_weights", "objective", "penalty"):
                if other is not self and getattr(type(other), part) is not getattr(Regularizer, part):
                    raise UsageError(
                        f"HeadFirst.cache serves clean passes of unchanged weights, and {other.name} has a {part} that "
                        f"may need others; give cache=false"
                    )

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        super().begin(encoder, number, total)
        if self.cache and self._names(number):
            encoder.features = Features(encoder, f"{self.name}.cache", self.pooler)

    def after_step(self, encoder: Encoder, number: int) -> None:
        if self.cache and not self._names(number + 1):
            encoder.features = None

    def end(self, encoder: Encoder) -> None:
        encoder.features = None
