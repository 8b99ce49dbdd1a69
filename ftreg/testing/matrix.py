"""Each pair of a method and an architecture takes one step, without a trainer.

A pair either works, and then the method changes the gradient, and at its null settings is plain fine-tuning bit for
bit; or it is refused in a line, before anything is computed. Every method with a row in `CASES` is in the matrix.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.core.method import Regularizer
from ftreg.lightning.finetuner import FineTuner
from ftreg.testing.cases import Case
from ftreg.testing.contracts import EFFECT, require

LENGTHS = [8, 5, 3]

Gradient = dict[str, Tensor]
"""A gradient by parameter; zeros where it has none."""


def pair(case: Case, architecture: str, backbone: str) -> str:
    """Raise AssertionError if a method neither works with an architecture nor is refused; why it is refused, if it is.

    Args:
        case: the method's settings.
        architecture: one of `ftreg.testing.encoders`.
        backbone: a checkpoint of it.
    """
    method = case.card() if case.on is None else case.on(architecture)
    where = f"{method.name} with {architecture}"
    try:
        found = step(backbone, method)
    except UsageError as refusal:
        line = str(refusal)
        require(line.startswith(method.name) and backbone in line, f"{where} is refused without a name: {line}")
        require("\n" not in line and len(line) < 500, f"{where} is not refused in a line: {line}")
        return line
    plain = _plain(backbone)
    shared = plain.keys() & found.keys()
    change = _norm({name: found[name] - plain[name] for name in shared}) / _norm(plain)
    require(all(g.isfinite().all() for g in found.values()), f"{where}: the gradient is not finite")
    require(change >= EFFECT, f"{where} changes the gradient by {change:.1e} of its norm, less than {EFFECT}")
    if case.null is not None:
        null = step(backbone, case.null())
        require(
            null.keys() == plain.keys() and all(torch.equal(null[name], plain[name]) for name in plain),
            f"{where}: at its null settings it is not plain fine-tuning",
        )
    return ""


def step(backbone: str, method: Regularizer | None = None, **options: Any) -> Gradient:
    """Compute the gradient of one step with dropout on, by parameter; zeros where it has none.

    Args:
        backbone: a folder.
        method: None for plain fine-tuning.
        options: of the `FineTuner`.
    """
    model = FineTuner(backbone, **options)
    model.configure_model()
    model.engine.adopt([] if method is None else [method])
    model.engine.total_steps = 10
    model.encoder.train()
    model.engine(rows()).backward()
    named = model.encoder.named_parameters()
    return {name: torch.zeros_like(p) if p.grad is None else p.grad for name, p in named if p.requires_grad}


def rows() -> dict[str, Any]:
    """Return a batch of random tokens, padded right."""
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    ids = torch.randint(5, 120, mask.shape, generator=torch.Generator().manual_seed(0))
    return {
        "input_ids": torch.where(mask, ids, 1),
        "attention_mask": mask.long(),
        "labels": torch.tensor([0, 1, 1]),
        "row_ids": torch.arange(len(LENGTHS)),
        "lengths": LENGTHS,
    }


@cache
def _plain(backbone: str) -> Gradient:
    return step(backbone)


def _norm(gradient: Gradient) -> float:
    return float(torch.nn.utils.get_total_norm([*gradient.values()]))
