"""MaskedLM predicts tokens that are hidden, from the others.

Devlin, Chang, Lee, Toutanova. *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*. NAACL
2019, arXiv 1810.04805. Spans: Joshi et al. *SpanBERT*. TACL 2020, arXiv 1907.10529. Anew at every step: Liu et al.
*RoBERTa*. 2019, arXiv 1907.11692.

    L = E_i [ 1/|M_i| Σ_{t ∈ M_i} −log p(x_it | x̃_i) ] + w E_i [ ℓ(f(x̃_i), y_i) ]

for the tokens x_i of example i, its chosen places M_i, and x̃_i, the tokens with those at M_i replaced.

The mean is over a row's places first, and over rows then. BERT's is over all places of a batch at once: how much a
place counts depends on the rows beside it, so a batch that is split over ranks or accumulated would have another
gradient.
"""

from typing import ClassVar

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from ftreg._base.checks import typed
from ftreg.core.step import Step
from ftreg.encoder.encoder import Encoder
from ftreg.methods.pretraining.decoder import decoder
from ftreg.methods.pretraining.masking import MaskedBatch, Unit
from ftreg.methods.pretraining.token_objective import Replacement, TokenObjective


class MaskedLM(TokenObjective):
    """MaskedLM is masked language modelling, alone or beside the task.

    Args:
        rate: the share of a row's tokens to predict, at least one of them; 0 leaves the tokens alone.
        unit: what is chosen together: `token`, `word`, or a `span` of words.
        span_p: p of the geometric distribution of a span's length.
        span_max: the longest span, in words.
        replacement: what hides a token: `mask`, or `unk`, for a token that the task's own text may hold too.
        mask_share: the share of the chosen tokens that are hidden.
        random_share: that become a random token; the others stay as they are.
        dynamic: draw anew at every step; otherwise a row is the same in every epoch.
        task_weight: w, of the task's loss on the corrupted tokens; at 0 no labels are read.

    Raises:
        UsageError: an option is out of range, or the backbone lacks a tokenizer or what masking takes of it.
    """

    papers: ClassVar[tuple[str, ...]] = ("devlin2019bert", "joshi2020spanbert", "gururangan2020dont", "sun2019finetune")

    def __init__(
        self,
        rate: float = 0.15,
        unit: Unit = "token",
        span_p: float = 0.2,
        span_max: int = 10,
        replacement: Replacement = "mask",
        mask_share: float = 0.8,
        random_share: float = 0.1,
        dynamic: bool = True,
        task_weight: float = 0.0,
    ) -> None:
        typed("MaskedLM", MaskedLM.__init__, locals())
        super().__init__(rate, unit, span_p, span_max, dynamic, task_weight, replacement, mask_share, random_share)

    def part(self, encoder: Encoder) -> nn.Module:
        return decoder(encoder, self.name)

    def losses(self, step: Step, found: MaskedBatch) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
        hidden, logits = step.read(found.ids)
        guesses, targets = self._part(found.pick(hidden)), found.pick(step.input_ids)
        if step.logs:
            counted = step.valid[found.rows]
            step.record("accuracy", guesses.argmax(1) == targets, counted)
            step.record("corrupted", found.ids != step.input_ids, step.mask.bool() & step.valid[:, None])
        return found.means(F.cross_entropy(guesses, targets, reduction="none")), logits
