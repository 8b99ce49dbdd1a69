"""GradualUnfreezing trains the head first, then one more layer at a time, from the top.

Howard, Ruder. *Universal Language Model Fine-tuning for Text Classification*. ACL 2018, arXiv 1801.06146.
"""

from collections.abc import Collection
from typing import ClassVar

from ftreg._base.checks import typed, within
from ftreg.encoder.encoder import Encoder
from ftreg.methods._freezing import Freezing


class GradualUnfreezing(Freezing):
    """Parts of the network join from the top at equal intervals, the embeddings last.

    Args:
        share: of the optimizer steps, after which all train; 0 is plain fine-tuning. The head, with the pooler if there
            is one, trains from the start.

    Raises:
        UsageError: the share is not between 0 and 1, or the encoder's layers were not found.
    """

    papers: ClassVar[tuple[str, ...]] = ("howard2018ulmfit",)

    def __init__(self, share: float = 0.5) -> None:
        typed("GradualUnfreezing", GradualUnfreezing.__init__, locals())
        within("GradualUnfreezing", 0, 1, share=share)
        super().__init__()
        self.share = share

    def remember(self, encoder: Encoder) -> None:
        if self.share:
            encoder.architecture.layered(self.name)
        super().remember(encoder)

    def frozen(self, parts: list[str], progress: float) -> Collection[str]:
        below = [part for part in parts if part not in ("pooler", "head")]
        if progress >= self.share:
            return ()
        # len(below) intervals, of which the first has the head alone
        joined = int(progress / self.share * len(below))
        return below[: len(below) - joined]
