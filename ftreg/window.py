"""An optimizer step's accumulation window, and the check at its end that training has not diverged."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from ftreg.errors import DivergedError


class Window:
    """The terms of the loss that this rank's micro-batches had since the last optimizer step."""

    def __init__(self) -> None:
        self._terms: list[dict[str, Tensor]] = []
        self._again: Callable[[], Mapping[str, Tensor]] = dict

    def add(self, terms: Mapping[str, Tensor], again: Callable[[], Mapping[str, Tensor]]) -> None:
        """One micro-batch's terms by name, and how to compute them again, with their graph."""
        self._terms.append({name: term.detach() for name, term in terms.items()})
        self._again = again

    def close(self, norm: Tensor | None, number: int, params: Sequence[Tensor]) -> None:
        """End the window. One host synchronisation.

        Args:
            norm: of the whole gradient; None where infinities are expected and dealt with (fp16's scaler).
            number: of the optimizer step.
            params: what the gradient is of.

        Raises:
            DivergedError: a term or the gradient is not finite; names the step, the method and the term.
        """
        seen, self._terms = self._terms, []
        values = [value.float() for terms in seen for value in terms.values()]
        values += [] if norm is None else [norm.float()]
        if not values or bool(torch.stack(values).isfinite().all()):
            return
        for terms in seen:
            for name, value in terms.items():
                if not value.isfinite():
                    raise _diverged(number, f"{_spoken(name)} is {value.item()}")
        raise _diverged(number, f"the gradient's norm is {norm}, though the loss is finite: {self._culprit(params)}")

    def _culprit(self, params: Sequence[Tensor]) -> str:
        """Which term of the latest micro-batch has the gradient that is not finite."""
        with torch.enable_grad():
            terms = self._again()
            for name, term in terms.items():
                found = torch.autograd.grad(term, params, retain_graph=True, allow_unused=True)
                if not all(bool(g.isfinite().all()) for g in found if g is not None):
                    return f"it comes from {_spoken(name)}"
        return f"it comes from another micro-batch or rank; the terms are {', '.join(map(_spoken, terms))}"


def _spoken(name: str) -> str:
    method, _, term = name.partition("/")
    return f"{method}'s term {term}" if term else "the task loss" if name == "task" else f"{method}'s term"


def _diverged(number: int, what: str) -> DivergedError:
    return DivergedError(
        f"training diverged at optimizer step {number}: {what}. Lower model.lr or the method's step, or let it go on "
        f"with model.stop_when_diverged=false"
    )
