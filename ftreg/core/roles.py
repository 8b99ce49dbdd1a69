"""Methods have roles that a run asks for: a start from earlier fits, and a head for each of several tasks.

Whoever runs a fit looks for the role among the fit's methods, and never for a method by its name.
"""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Self

from ftreg.core.method import Regularizer


class StartsFromFits(Regularizer, ABC):
    """Such a method starts from the weights of other fits: `ftreg.run.stages` runs its `stages` before its own fit."""

    stages: list[dict[str, Any] | str] | None
    """Configurations of `ftreg fit`, as mappings or as paths of files; each starts from the one before."""
    checkpoint: str | None
    """That of a finished run, in place of stages."""
    weights: str
    """Which of a stage's checkpoints to start from: `best` or `last`."""
    store: str
    """The folder in which stages are kept, each under its identity."""

    @property
    @abstractmethod
    def keeps_head(self) -> bool:
        """Whether the last stage's head is kept too, which must then tell the same classes apart."""

    @property
    @abstractmethod
    def allows_overlap(self) -> bool:
        """Whether a stage may train on rows that the target is evaluated on."""

    @abstractmethod
    def within_stage(self, before: Sequence[dict[str, Any] | str]) -> Self:
        """Return the method for the last stage's own fit, which starts from the stages `before` it."""

    @abstractmethod
    def start_from(self, checkpoint: str) -> None:
        """Hear which checkpoint the last stage has left."""

    def cites_start(self, supervised: bool | None) -> tuple[str, ...]:
        """Return the papers that follow from the start.

        Args:
            supervised: whether the fit that it is from has learnt labels; None where nobody knows of such a fit.
        """
        return ()


class TaskHeads(Regularizer, ABC):
    """Such a method gives each of several tasks a head of its own beside the main task's."""

    heads: dict[str, list[str]]
    """Class names in id order of each task, by its name; empty for a regression."""

    @abstractmethod
    def __init__(self, heads: dict[str, list[str]]) -> None: ...
