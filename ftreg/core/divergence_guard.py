"""At the end of an optimizer step's accumulation, the guard checks that training has not diverged."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ftreg._base.errors import DivergedError
from ftreg.core.collectives import all_ranks, any_rank


class DivergenceGuard:
    """The guard has the terms of the loss that this rank's micro-batches had since the last optimizer step."""

    def __init__(self) -> None:
        self._terms: list[dict[str, Tensor]] = []
        self._again: Callable[[], Mapping[str, Tensor]] = dict

    def add(self, terms: Mapping[str, Tensor], again: Callable[[], Mapping[str, Tensor]]) -> None:
        """Take one micro-batch's terms by name, and how to compute them again, with their graph."""
        self._terms.append({name: term.detach() for name, term in terms.items()})
        self._again = again

    def close(self, norm: Tensor | None, number: int, params: Sequence[Tensor], world: int = 1) -> None:
        """End the optimizer step: all ranks go on, or none does. One host synchronisation.

        Args:
            norm: of the whole gradient; None where infinities are expected and dealt with (fp16's scaler).
            number: of the optimizer step.
            params: what the gradient is of.
            world: the number of ranks.

        Raises:
            DivergedError: a term or the gradient is not finite; names the step, the method and the term, and the rank
                where there are several. The same on all ranks.
        """
        seen, self._terms = self._terms, []
        values = [value.float() for terms in seen for value in terms.values()]
        values += [] if norm is None else [norm.float()]
        if not any_rank(~torch.stack(values).isfinite().all(), world):
            return
        found = _first(all_ranks(_not_finite(seen), world))
        if found is None:
            found = _first(all_ranks(self._culprit(norm, params), world))
        what, rank = found or (f"the gradient's norm is {norm}, though the loss is finite: {self._others(seen)}", -1)
        where = f"on rank {rank}, " if world > 1 and rank >= 0 else ""
        raise DivergedError(
            f"training diverged at optimizer step {number}: {where}{what}. Lower model.lr or the method's step, or let "
            f"it go on with model.stop_when_diverged=false"
        )

    @staticmethod
    def _others(seen: Sequence[Mapping[str, Tensor]]) -> str:
        names = dict.fromkeys(name for terms in seen for name in terms)
        return f"it comes from an earlier micro-batch; the terms are {', '.join(map(_spoken, names))}"

    def _culprit(self, norm: Tensor | None, params: Sequence[Tensor]) -> str | None:
        """Return which term of the latest micro-batch has the gradient that is not finite."""
        with torch.enable_grad():
            for name, term in self._again().items():
                found = torch.autograd.grad(term, params, retain_graph=True, allow_unused=True)
                if not all(bool(g.isfinite().all()) for g in found if g is not None):
                    return f"the gradient's norm is {norm}, though the loss is finite: it comes from {_spoken(name)}"
        return None


def _not_finite(seen: Sequence[Mapping[str, Tensor]]) -> str | None:
    """Return which term of a micro-batch is not finite."""
    named = ((name, value) for terms in seen for name, value in terms.items())
    return next((f"{_spoken(name)} is {value.item()}" for name, value in named if not value.isfinite()), None)


def _first(said: Sequence[str | None]) -> tuple[str, int] | None:
    """Return the first rank that knows, and what it says."""
    return next(((what, rank) for rank, what in enumerate(said) if what is not None), None)


def _spoken(name: str) -> str:
    method, _, term = name.partition("/")
    return f"{method}'s term {term}" if term else "the task loss" if name == "task" else f"{method}'s term"
