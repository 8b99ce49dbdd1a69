"""HeadFirst: train the head on the pre-trained features, then everything.

Kumar, Raghunathan, Jones, Ma, Liang. *Fine-Tuning can Distort Pretrained Features and Underperform
Out-of-Distribution*. ICLR 2022, arXiv 2202.10054 (LP-FT: linear probing, then fine-tuning).

A fresh head sends large, random gradients into the encoder; a head that fits already sends small ones.
"""

from collections.abc import Collection
from typing import ClassVar

from ftreg.checks import within
from ftreg.freezing import Freezing


class HeadFirst(Freezing):
    """Everything but the head is frozen for the first part of the training.

    Args:
        share: of the optimizer steps; 0 is plain fine-tuning, 1 is linear probing.
        pooler: whether the pre-trained pooler trains with the head.

    Raises:
        UsageError: the share is not between 0 and 1.
    """

    papers: ClassVar[tuple[str, ...]] = ("kumar2022lpft",)

    def __init__(self, share: float = 0.2, pooler: bool = False) -> None:
        within("HeadFirst", 0, 1, share=share)
        super().__init__()
        self.share, self.pooler = share, pooler

    def frozen(self, parts: list[str], progress: float) -> Collection[str]:
        if progress >= self.share:
            return ()
        return [part for part in parts if part != "head" and not (self.pooler and part == "pooler")]
