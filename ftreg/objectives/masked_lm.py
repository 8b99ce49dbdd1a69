"""MaskedLM: predict tokens that are hidden, from the others.

Devlin, Chang, Lee, Toutanova. *BERT: Pre-training of Deep Bidirectional Transformers for Language Understanding*. NAACL
2019, arXiv 1810.04805. Spans: Joshi et al. *SpanBERT*. TACL 2020, arXiv 1907.10529. As a stage before fine-tuning:
Gururangan et al. *Don't Stop Pretraining*. ACL 2020, arXiv 2004.10964.

    L = E_i [ 1/|M_i| Σ_{t ∈ M_i} −log p(x_it | x̃_i) ] + w E_i [ ℓ(f(x̃_i), y_i) ]

for the tokens x_i of example i, its chosen places M_i, and x̃_i, the tokens with those at M_i replaced.

The mean is over a row's places first, and over rows then. BERT's is over all places of a batch at once, so a place's
weight depends on which rows share its micro-batch: split over ranks or accumulated, the same batch would have another
gradient.
"""

from typing import ClassVar, Literal

import torch.nn.functional as F
from torch import nn

from ftreg.checks import at_least, one_of, within
from ftreg.encoder import Encoder
from ftreg.errors import UsageError
from ftreg.objectives.corruption import Corrupted, Masking, Unit, corrupt
from ftreg.objectives.decoder import decoder, freeze_unread
from ftreg.objectives.vocabulary import Vocabulary, vocabulary
from ftreg.regularizer import Regularizer, Slot
from ftreg.step import Scalar, Step, task_losses

Replacement = Literal["mask", "unk"]


class MaskedLM(Regularizer):
    """Masked language modelling, alone or beside the task.

    Args:
        rate: the share of a row's tokens to predict; at least one is. 0 leaves the tokens alone.
        unit: what is hidden together: `token`, `word`, or a `span` of words.
        span_p: p of the geometric distribution of a span's length.
        span_max: the longest span, in words.
        replacement: what hides a token: [MASK], or [UNK], which the task's own text may hold too.
        mask_share: the share of the chosen tokens that are hidden.
        random_share: that become a random token; the others stay as they are.
        dynamic: draw anew at every step (RoBERTa); otherwise a row's places and tokens are the same in every epoch.
        task_weight: w, of the task's loss on the corrupted tokens; 0 needs no labels.

    Raises:
        UsageError: an option is out of range, or the backbone has no tokenizer or no such token.
    """

    papers: ClassVar[tuple[str, ...]] = ("devlin2019bert", "gururangan2020dont", "joshi2020spanbert", "sun2019finetune")
    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})
    supervised: ClassVar[bool] = False

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
        within("MaskedLM", 0, 1, rate=rate, span_p=span_p, mask_share=mask_share, random_share=random_share)
        # A tenth more than 1 by rounding alone is no mistake.
        within("MaskedLM", 0, 1, **{"mask_share + random_share": round(mask_share + random_share, 9)})
        at_least("MaskedLM", 1, span_max=span_max)
        at_least("MaskedLM", 0, task_weight=task_weight)
        one_of("MaskedLM", unit=(unit, Unit), replacement=(replacement, Replacement))
        if not rate and not task_weight:
            raise UsageError("MaskedLM.rate and MaskedLM.task_weight are 0: there is nothing to learn")
        self.rate, self.span_p, self.span_max = rate, span_p, span_max
        self.mask_share, self.random_share = mask_share, random_share
        self.dynamic, self.task_weight = dynamic, task_weight
        self.unit: Unit = unit
        self.replacement: Replacement = replacement
        self._decoder: nn.Module
        self._vocabulary: Vocabulary
        self._masking: Masking

    def attach(self, encoder: Encoder) -> None:
        if not self.rate:
            return
        if self.name not in encoder.parts:
            encoder.parts[self.name] = decoder(encoder, self.name)
        self._decoder = encoder.parts[self.name]
        self._vocabulary = vocabulary(encoder.backbone, encoder.model.get_input_embeddings().num_embeddings)
        hidden = self._vocabulary.hiding(self.name, self.replacement, self.unit != "token", encoder.backbone)
        self._masking = Masking(
            self.rate, self.unit, self.span_p, self.span_max, hidden, self.mask_share, self.random_share
        )
        self.start(encoder)

    def start(self, encoder: Encoder) -> None:
        # Again after every method's `attach`: one of them may have brought the head.
        if not self.task_weight:
            freeze_unread(encoder)

    def objective(self, step: Step) -> Scalar:
        if not self.rate:
            return self.task_weight * step.loss()
        draws = step.generators("corruption", every_step=self.dynamic)
        found = corrupt(step.input_ids, step.mask, self._vocabulary, self._masking, draws)
        hidden, logits = step.read(found.ids)
        guesses, targets = self._decoder(found.pick(hidden)), found.pick(step.input_ids)
        loss = step.mean(found.means(F.cross_entropy(guesses, targets, reduction="none")))
        if self.task_weight:
            loss = loss + self.task_weight * step.mean(task_losses(logits, step.labels))
        if step.logs:
            self._report(step, found, (guesses.argmax(1) == targets)[step.valid[found.rows]].float())
        return loss
