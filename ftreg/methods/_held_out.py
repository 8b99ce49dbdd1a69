"""Parameters are held out of an optimizer step: they get no gradient, so no decay, no moments and no step counted.

DDP waits for a gradient of every parameter that it has counted, in every step. A held-out one therefore gets zeros in
the backward, and those are taken away once the gradients are complete and before the optimizer sees them.
"""

from collections.abc import Collection, Mapping

import torch

from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.functional.deposit import deposit


def zeros(step: Step, names: Collection[str]) -> Mapping[str, Scalar] | None:
    """Return a penalty of 0 whose backward gives the named parameters zeros; None where no other process waits.

    Args:
        step: the micro-batch's.
        names: of parameters; those that are not of this step's passes are left alone.
    """
    held = [parameter for name, parameter in step.params.items() if name in names]
    if not held or not torch.distributed.is_initialized():
        return None
    return {"": deposit(held[0].new_zeros(()), held, [torch.zeros_like(parameter) for parameter in held])}


def withhold(encoder: Encoder, names: Collection[str]) -> None:
    """Take the named parameters' gradients away: None rather than zeros, with which AdamW would decay them."""
    for name in names:
        encoder.get_parameter(name).grad = None
