"""What one optimizer step has to say of itself: whether it is asked, what its micro-batches add up to."""

from dataclasses import dataclass, field

from torch import Tensor

from ftreg.core.tally import Tally


@dataclass
class StepLog:
    """The diagnostics of an optimizer step, on this rank.

    Args:
        logs: whether they are logged at this step: compute them only then.
        tally: adds them up over micro-batches.
        non_finite: by method, how many gradients of examples were not finite since training began.
    """

    logs: bool = False
    tally: Tally = field(default_factory=Tally)
    non_finite: dict[str, Tensor | int] = field(default_factory=dict)
