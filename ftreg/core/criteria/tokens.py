"""These criteria are for tasks with an answer at many positions of an example: tags, spans, hidden tokens."""

from collections.abc import Mapping
from typing import Any, ClassVar, Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from ftreg._base.checks import typed, within
from ftreg.core.criteria.criterion import IGNORED, Between, Criterion, mean_over


class TokenClassification(Criterion):
    """The loss is cross-entropy at labelled positions: logits [batch, tokens, classes], labels with −100 ignored.

    With `reduction="example"` every example counts alike, whatever its length: the mean over its labelled positions
    first, over examples then. Any sharding of a batch gives the same gradient, as every part knows how many examples
    there are. With `reduction="batch"`, which is transformers', every labelled position counts alike. A part of a batch
    then has to know how many positions the whole has: a micro-batch that is averaged by itself weighs its own positions
    more the fewer it has. `scale` in the batch (1 / positions of the whole) makes it exact; ftreg's drivers set it.

    The divergence of an example is the mean over its real tokens, labelled or not.

    Args:
        reduction: whether all examples count alike, or all labelled positions.
        label_smoothing: the share of the target that is spread over all classes.

    Raises:
        UsageError: an option is out of range.
    """

    def __init__(self, reduction: Literal["example", "batch"] = "example", label_smoothing: float = 0.0) -> None:
        typed(self.name, TokenClassification.__init__, {"reduction": reduction, "label_smoothing": label_smoothing})
        within(self.name, 0, 1, label_smoothing=label_smoothing)
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        labels = self.target(batch)
        entropy = F.cross_entropy(
            answer.flatten(0, 1), labels.flatten(), reduction="none", label_smoothing=self.label_smoothing,
            ignore_index=IGNORED,
        )  # fmt: skip
        return mean_over(entropy.view(labels.shape), labels != IGNORED)

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        return mean_over(between(p, q), mask.bool())

    def weights(self, batch: Mapping[str, Any]) -> Float[Tensor, "batch"] | None:
        return (self.target(batch) != IGNORED).sum(1).float() if self.reduction == "batch" else None

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:
        self.expect("labels", batch, tuple(answer.shape[:2]), "integers")


class MaskedLanguageModel(TokenClassification):
    """The loss is cross-entropy of the tokens to predict: logits [batch, tokens, vocabulary], labels with −100 ignored.

    transformers' mean is over the positions of a whole batch: `reduction="batch"`; see `TokenClassification`.
    """


class QuestionAnswering(Criterion):
    """The loss is the mean of the cross-entropies of where an answer starts and where it ends.

    Logits of both [batch, tokens], stacked to [batch, tokens, 2]; `start_positions` and `end_positions` [batch].
    Positions beyond the text are ignored, as transformers' models do: an example without any counts as a loss of 0.
    """

    targets: ClassVar[tuple[str, ...]] = ("start_positions", "end_positions")

    def answer(self, output: Any) -> Tensor:
        return torch.stack([output.start_logits, output.end_logits], -1)

    def losses(self, answer: Tensor, batch: Mapping[str, Any]) -> Float[Tensor, "batch"]:
        length = answer.shape[1]
        sides = []
        for place, key in enumerate(self.targets):
            position = self.target(batch, key).view(len(answer))
            inside = (position >= 0) & (position < length)
            loss = F.cross_entropy(answer[..., place], torch.where(inside, position, 0), reduction="none")
            sides.append(torch.where(inside, loss, 0))
        return (sides[0] + sides[1]) / 2

    def divergence(self, p: Tensor, q: Tensor, mask: Tensor, between: Between) -> Float[Tensor, "batch"]:
        # Distributions over positions: those of padding have none of the probability.
        least = torch.finfo(p.dtype).min / 2
        p, q = (torch.where(mask.bool().unsqueeze(-1), x, least).transpose(1, 2) for x in (p, q))
        return between(p, q).mean(1)

    def check_targets(self, answer: Tensor, batch: Mapping[str, Any]) -> None:
        for key in self.targets:
            if self.target(batch, key).numel() != len(answer):
                self.expect(key, batch, (len(answer),), "integers")
