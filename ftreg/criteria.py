"""Criteria of every kind of head are public here; `ftreg.core.criteria` has what each computes."""

from ftreg.core.criteria import ClassOrScore as ClassOrScore
from ftreg.core.criteria import Criterion as Criterion
from ftreg.core.criteria import Custom as Custom
from ftreg.core.criteria import MaskedLanguageModel as MaskedLanguageModel
from ftreg.core.criteria import MultiLabel as MultiLabel
from ftreg.core.criteria import MultipleChoice as MultipleChoice
from ftreg.core.criteria import QuestionAnswering as QuestionAnswering
from ftreg.core.criteria import Regression as Regression
from ftreg.core.criteria import SingleLabel as SingleLabel
from ftreg.core.criteria import TokenClassification as TokenClassification
from ftreg.core.criteria import criterion_of as criterion_of
