"""Criteria that judge the whole output of a pass, and not what is read off it alone."""

from typing import Any, ClassVar

from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.core.criteria.criterion import Criterion


class OfOutput(Criterion):
    """A criterion whose losses are of a pass's output: it keeps the latest one, for the losses of its answer.

    A step asks for those at once, as the next pass has another output.
    """

    reads_output: ClassVar[bool] = True
    _latest: tuple[Any, Any] = (None, None)

    def keep(self, answer: Tensor, output: Any) -> Tensor:
        """Remember which output an answer was read off; return the answer."""
        self._latest = answer, output
        return answer

    def output_of(self, answer: Tensor) -> Any:
        """Return the output that an answer was read off, once.

        Raises:
            UsageError: it was read off none: a method has put a head of its own there, or keeps what the head reads.
        """
        read, output = self._latest
        self._latest = None, None
        if read is not answer:
            raise UsageError(
                "criterion: the function judges the model's whole output, and a method makes the logits without it; "
                "give one of ftreg.criteria in its place, or leave out what replaces or caches the head"
            )
        return output
