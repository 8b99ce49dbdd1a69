"""Every kind of head has its criterion; `criterion_of` says which one a transformers model's head has."""

from typing import Any

from ftreg._base.errors import UsageError
from ftreg.core.criteria.criterion import IGNORED as IGNORED
from ftreg.core.criteria.criterion import Criterion as Criterion
from ftreg.core.criteria.examples import ClassOrScore as ClassOrScore
from ftreg.core.criteria.examples import Custom as Custom
from ftreg.core.criteria.examples import MultiLabel as MultiLabel
from ftreg.core.criteria.examples import MultipleChoice as MultipleChoice
from ftreg.core.criteria.examples import Regression as Regression
from ftreg.core.criteria.examples import SingleLabel as SingleLabel
from ftreg.core.criteria.outputs import OfOutput as OfOutput
from ftreg.core.criteria.tokens import MaskedLanguageModel as MaskedLanguageModel
from ftreg.core.criteria.tokens import QuestionAnswering as QuestionAnswering
from ftreg.core.criteria.tokens import TokenClassification as TokenClassification

HEADS: dict[str, type[Criterion]] = {
    "ForTokenClassification": TokenClassification,
    "ForQuestionAnswering": QuestionAnswering,
    "ForMultipleChoice": MultipleChoice,
    "ForMaskedLM": MaskedLanguageModel,
}
PROBLEMS: dict[str, type[Criterion]] = {
    "regression": Regression,
    "single_label_classification": SingleLabel,
    "multi_label_classification": MultiLabel,
}
"""The criteria that a configuration's `problem_type` asks for."""


def criterion_of(model: Any, given: Any = None) -> Criterion:
    """Return the criterion of a model's head, or the given one.

    Args:
        model: a transformers model with a head.
        given: a `Criterion`, a function of the model's output and the batch, or None to go by the head.

    Raises:
        UsageError: the head is of no known kind, or what is given is no criterion.
    """
    if isinstance(given, Criterion):
        return given
    if given is not None:
        custom = Custom(given)
        custom.head = _of_head(model)
        return custom
    found = _of_head(model)
    if found is None:
        raise UsageError(
            f"criterion: {type(model).__name__} has no head that is known here; give criterion=, one of ftreg.criteria "
            f"or a function of the model's output and the batch that returns a loss for each example"
        )
    return found


def _of_head(model: Any) -> Criterion | None:
    """Return the criterion of a model's own head, if it is of a known kind."""
    kind = next((cls.__name__ for cls in type(model).__mro__ if "For" in cls.__name__), type(model).__name__)
    if kind.endswith("ForSequenceClassification"):
        return PROBLEMS.get(getattr(model.config, "problem_type", None) or "", ClassOrScore)()
    return next((criterion() for ending, criterion in HEADS.items() if kind.endswith(ending)), None)
