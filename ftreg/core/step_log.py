"""An optimizer step is logged where that is asked for: this holds what its micro-batches add up to."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from ftreg.core.collectives import all_ranks
from ftreg.core.tally import Tally


@dataclass
class StepLog:
    """A step log has the diagnostics of an optimizer step, on this rank.

    Args:
        logs: whether they are logged at this step: compute them only then.
        tally: adds them up over micro-batches.
        non_finite: by method, how many gradients of examples were not finite since training began.
    """

    logs: bool = False
    tally: Tally = field(default_factory=Tally)
    non_finite: dict[str, Tensor | int] = field(default_factory=dict)


def step_values(
    log: StepLog, methods: Sequence[Any], params: Sequence[Tensor], number: int, world: int
) -> dict[str, float]:
    """Return an optimizer step's loss, its terms and the methods' diagnostics by name: the global batch's.

    Call it on every rank.

    Args:
        log: of all of this rank's micro-batches of the step.
        methods: each is told of its own.
        params: those that train.
        number: of the step.
        world: the number of ranks.
    """
    for name, count in log.non_finite.items():
        log.tally.sum(f"{name}/non_finite", count)
    found = log.tally.values(params, world)
    for method in methods:
        own = f"{method.name}/"
        method.logged({name.removeprefix(own): v for name, v in found.items() if name.startswith(own)}, number)
    found["loss"] = log.tally.loss(found)
    return {name: value for name, value in found.items() if not name.endswith("/")}


def counted(counts: Mapping[str, Tensor | int], world: int) -> dict[str, int]:
    """Return each count's sum over the ranks. Call it on every rank."""
    everyones = all_ranks({name: int(count) for name, count in counts.items()}, world)
    return {name: sum(found.get(name, 0) for found in everyones) for name in sorted({n for f in everyones for n in f})}
