"""Token objectives hide tokens and learn from what was there; this is what they have in common."""

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

from jaxtyping import Float
from torch import Tensor, nn

from ftreg._base.checks import at_least, within
from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.given import NOWHERE
from ftreg.methods.pretraining.decoder import freeze_unread
from ftreg.methods.pretraining.masking import MaskedBatch, Masking, Unit, mask_tokens
from ftreg.methods.pretraining.vocabulary import Vocabulary, vocabulary

Replacement = Literal["mask", "unk"]


class TokenObjective(Regularizer, ABC):
    """A token objective is one on masked tokens, alone or beside the task: E_i [L_i] + w E_i [ℓ(f(x̃_i), y_i)].

    Args:
        rate: the share of a row's tokens to choose; 0 leaves the network and the tokens alone.
        unit, span_p, span_max, mask_share, random_share: as of `Masking`.
        replacement: what hides a token.
        dynamic: whether a row's places and tokens are others at every step.
        task_weight: w.

    Raises:
        UsageError: an option is out of range, or nothing is left to learn.
    """

    claims: ClassVar[frozenset[Slot]] = frozenset({Slot.OBJECTIVE})

    def __init__(
        self,
        rate: float,
        unit: Unit,
        span_p: float,
        span_max: int,
        dynamic: bool,
        task_weight: float,
        replacement: Replacement = "mask",
        mask_share: float = 1.0,
        random_share: float = 0.0,
    ) -> None:
        within(self.name, 0, 1, rate=rate, span_p=span_p, mask_share=mask_share, random_share=random_share)
        at_least(self.name, 1, span_max=span_max)
        at_least(self.name, 0, task_weight=task_weight)
        if mask_share + random_share > 1 + 1e-9:
            raise UsageError(f"{self.name}.mask_share and {self.name}.random_share are shares of one whole; give less")
        if not rate and not task_weight:
            raise UsageError(f"{self.name}.rate and {self.name}.task_weight are 0: there is nothing to learn")
        self.rate, self.span_p, self.span_max = rate, span_p, span_max
        self.mask_share, self.random_share = mask_share, random_share
        self.dynamic, self.task_weight = dynamic, task_weight
        self.unit: Unit = unit
        self.replacement: Replacement = replacement
        self._vocabulary: Vocabulary | None = None

    @property
    def supervised(self) -> bool:
        return self.task_weight > 0

    @property
    def cites(self) -> tuple[str, ...]:
        return tuple(paper for paper in self.papers if paper != "joshi2020spanbert" or self.unit == "span")

    @abstractmethod
    def part(self, encoder: Encoder) -> nn.Module:
        """Build what the objective adds to the network."""

    @abstractmethod
    def losses(self, step: Step, found: MaskedBatch) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
        """Compute L_i of each row, and the task's logits on the tokens that the encoder has read meanwhile."""

    def attach(self, encoder: Encoder) -> None:
        if not self.rate:
            return
        if encoder.choices:
            raise encoder.architecture.refusal(self.name, "its rows are of several choices, and it hides tokens of one")
        if self._vocabulary is None or self._vocabulary.backbone != encoder.backbone:
            self._vocabulary = self._read(encoder)
        self._masking = self._checked(self._vocabulary)
        if self.name not in encoder.parts:
            encoder.parts[self.name] = self.part(encoder)
        self._part = encoder.parts[self.name]
        self.start(encoder)

    def start(self, encoder: Encoder) -> None:
        # Again once all are attached: one of them may have brought another head.
        if not self.task_weight:
            freeze_unread(encoder)

    def objective(self, step: Step) -> Scalar:
        if not self.rate:
            return self.task_weight * step.loss()
        assert self._vocabulary is not None
        draws = step.generators("corruption", every_step=self.dynamic)
        losses, logits = self.losses(
            step, mask_tokens(step.input_ids, step.mask, self._vocabulary, self._masking, draws)
        )
        if self.task_weight:
            losses = losses + self.task_weight * step.losses_of(logits)
        return step.mean(losses)

    def _read(self, encoder: Encoder) -> Vocabulary:
        """Read the vocabulary of the tokenizer that lies where the model is from."""
        if encoder.by_ids and encoder.backbone == NOWHERE:
            raise encoder.architecture.refusal(
                self.name, "it is from no folder and not from the Hub, where its tokenizer lies; load it from there"
            )
        try:
            return vocabulary(encoder.backbone, encoder.model.get_input_embeddings().weight.shape[0])
        except UsageError as error:
            raise encoder.architecture.refusal(self.name, str(error)) if encoder.by_ids else error from error

    def _checked(self, vocabulary: Vocabulary) -> Masking:
        """Return how to mask with this vocabulary, if it has what that takes."""
        hidden = vocabulary.mask if self.replacement == "mask" else vocabulary.unk
        if hidden is None:
            raise UsageError(
                f"{self.name}.replacement is {self.replacement}: the tokenizer of backbone {vocabulary.backbone} has "
                f"no such token"
            )
        if self.unit != "token" and vocabulary.starts is None:
            raise UsageError(
                f"{self.name}.unit is {self.unit}: the tokenizer of backbone {vocabulary.backbone} does not mark "
                f"where words start; give token"
            )
        return Masking(self.rate, self.unit, self.span_p, self.span_max, hidden, self.mask_share, self.random_share)
