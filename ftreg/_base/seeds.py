"""A run has three seeds."""

from dataclasses import dataclass

PARTS = ("init", "order", "split")


@dataclass(frozen=True, order=True)
class Seeds:
    """The three seeds of a run.

    Args:
        init: of the head's first weights, dropout and the methods' noise.
        order: of the order of the training rows.
        split: of the selection split and of train_subset.
    """

    init: int = 0
    order: int = 0
    split: int = 0

    def __str__(self) -> str:
        numbers = (self.init, self.order, self.split)
        return str(self.init) if len({*numbers}) == 1 else "-".join(map(str, numbers))
