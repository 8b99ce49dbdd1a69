"""A tally adds up what is logged of a step: the global batch's values, however dealt to micro-batches and ranks.

A cell is what one rank sees in one micro-batch. Cells may differ in size, and some have no row at all: a mean over rows
or tokens is kept as its sum and its count until all cells are together, a norm of a gradient as the gradient.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from torch import Tensor

from ftreg.core.collectives import all_ranks, summed

Kind = Literal["term", "mean", "largest", "sum", "ratio"]
Part = tuple[Kind, float, float]
"""How it adds up, and two numbers: the second is what a mean or a ratio is divided by."""
Gradient = Sequence[Tensor | None]


class Tally:
    """A tally adds up the cells of one optimizer step.

    Args:
        cells: how many there are, ranks × micro-batches.
    """

    def __init__(self, cells: int = 1) -> None:
        self.cells = cells
        self._parts: dict[str, tuple[Kind, Tensor, Tensor]] = {}
        self._gradients: dict[str, tuple[list[Tensor | None], list[Tensor | None]]] = {}

    def terms(self, terms: Mapping[str, Tensor]) -> None:
        """Add the summands of one cell's loss by name: their global value is the mean over all cells."""
        for name, term in terms.items():
            self._add(name, "term", term, torch.ones_like(term))

    def mean(self, name: str, values: Tensor, among: Tensor) -> None:
        """Log the mean of `values` over the entries that are true in `among`, of the same shape."""
        self._add(name, "mean", torch.where(among, values, 0).sum(), among.sum())

    def largest(self, name: str, values: Tensor, among: Tensor) -> None:
        """Log the largest of the non-negative `values` at entries that are true in `among`, of the same shape."""
        value = torch.where(among, values, 0).amax()
        self._add(name, "largest", value, torch.ones_like(value))

    def sum(self, name: str, value: Tensor | float) -> None:
        """Add a count of this rank's."""
        count = torch.as_tensor(value)
        self._add(name, "sum", count, torch.ones_like(count))

    def ratio(self, name: str, above: Gradient, below: Gradient) -> None:
        """Log the ratio of the norms of two gradients, each the mean of those of all cells."""
        if self.cells == 1:  # nothing to wait for: a gradient takes as much memory as the model
            self._add(name, "ratio", _norm(above), _norm(below))
            return
        before = self._gradients.get(name)
        if before is None:
            self._gradients[name] = [*above], [*below]
        else:
            self._gradients[name] = _plus(before[0], above), _plus(before[1], below)

    def values(self, params: Sequence[Tensor] = (), world: int = 1) -> dict[str, float]:
        """Gather everything by name, on every rank. Call it on all of them.

        Args:
            params: what the gradients are of.
            world: the number of ranks.
        """
        for name in sorted({name for names in all_ranks([*self._gradients], world) for name in names}):
            sides = self._gradients.pop(name, ([None] * len(params), [None] * len(params)))
            norms = [
                _norm(
                    summed([torch.zeros_like(p) if g is None else g for p, g in zip(params, side, strict=True)], world)
                )
                for side in sides
            ]
            self._add(name, "ratio", *norms)
        found: dict[str, Part] = {}
        for parts in all_ranks(self._numbers(), world):
            for name, part in parts.items():
                found[name] = _together(found[name], part) if name in found else part
        return {name: self._value(part) for name, part in found.items()}

    def loss(self, values: Mapping[str, float]) -> float:
        """Return the sum of the terms among `values`."""
        return math.fsum(value for name, value in values.items() if self._parts.get(name, ("",))[0] == "term")

    def _add(self, name: str, kind: Kind, a: Tensor, b: Tensor) -> None:
        a, b = a.detach(), b.detach()
        if name in self._parts:
            _, c, d = self._parts[name]
            a, b = torch.maximum(a, c) if kind == "largest" else a + c, b + d
        self._parts[name] = kind, a, b

    def _numbers(self) -> dict[str, Part]:
        """Return this rank's numbers, on the host: one synchronisation."""
        if not self._parts:
            return {}
        flat = [x for _, a, b in self._parts.values() for x in (a, b)]
        device = next((x.device for x in flat if x.device.type != "cpu"), torch.device("cpu"))
        exact = any(x.dtype == torch.float64 for x in flat)
        dtype = torch.float64 if exact else torch.float32
        numbers = iter(torch.stack([x.to(device, dtype) for x in flat]).tolist())
        return {name: (kind, next(numbers), next(numbers)) for name, (kind, _, _) in self._parts.items()}

    def _value(self, part: Part) -> float:
        kind, a, b = part
        if kind == "term":
            return a / self.cells
        if kind == "mean":
            return a / max(b, 1.0)
        if kind == "ratio":
            return a / b if b else math.inf if a else 0.0
        return a


def _plus(a: Gradient, b: Gradient) -> list[Tensor | None]:
    return [y if x is None else x if y is None else x + y for x, y in zip(a, b, strict=True)]


def _norm(gradient: Gradient) -> Tensor:
    return torch.nn.utils.get_total_norm([g for g in gradient if g is not None])


def _together(one: Part, other: Part) -> Part:
    """Add up what two ranks have."""
    kind, a, b = one
    _, c, d = other
    if kind == "ratio":  # of all ranks already
        return one
    if kind == "largest":
        return kind, a if math.isnan(a) or a > c else c, b  # `max` would lose a NaN
    return kind, a + c, b + d
