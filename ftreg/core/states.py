"""These functions put back what an engine has saved into one with the same methods, or refuse it."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from ftreg._base.errors import UsageError


def refuse_other(
    saved: Sequence[str], methods: Sequence[Any], what: str = "the state", here: str = "the engine"
) -> None:
    """Refuse what an engine with other methods has saved.

    Args:
        saved: their names.
        methods: of the engine.
        what: was saved, for the message.
        here: has the methods, for the message.

    Raises:
        UsageError: names both lists of methods.
    """
    own = [method.name for method in methods]
    if [*saved] != own:
        raise UsageError(
            f"{what} is of {', '.join(saved) or 'no methods'}, and {here} has {', '.join(own) or 'none'}; "
            f"give the methods that it was saved with, in their order"
        )


def refuse_unfit(state: Any, methods: Sequence[Any], start: Mapping[str, float]) -> None:
    """Refuse what is no engine's state, or one of other methods or another start.

    Args:
        state: as `Engine.method_state` returns it.
        methods: of the engine.
        start: as `Start.signs` returns it.

    Raises:
        UsageError: says what differs.
    """
    if not isinstance(state, Mapping) or not {"counts", "methods", "added"} <= state.keys():
        raise UsageError("this is no state of an engine's; give what engine.method_state() has returned")
    refuse_other([*state["methods"]], methods)
    for name, sign in state.get("start", {}).items():
        if name in start and not math.isclose(sign, start[name], rel_tol=1e-6, abs_tol=1e-9):
            raise UsageError(
                f"the state is of a training that started from another model ({name} differs): build the engine on "
                f"that one, then load the trained weights into it and this state"
            )


def added_to(network: nn.Module) -> dict[str, nn.Parameter]:
    """Return the parameters that methods have added to an encoder's model, by name."""
    return {name: p for name, p in network.named_parameters() if not name.startswith("model.")}


def collected(engine: Any) -> dict[str, Any]:
    """Return what `Engine.method_state` does."""
    return {
        "counts": engine.counts(),
        "methods": {method.name: method.state_dict() for method in engine.methods},
        "added": {name: p.detach() for name, p in added_to(engine.encoder).items()},
        "start": engine.encoder.start.signs(),
    }


def put_back(state: Mapping[str, Any], engine: Any) -> None:
    """Put the methods' states, and the values of what they have added, back into an engine.

    Raises:
        UsageError: it is of other methods, or of other options of theirs, or of another start.
    """
    refuse_unfit(state, engine.methods, engine.encoder.start.signs())
    parameters = added_to(engine.encoder)
    own = {name: p.shape for name, p in parameters.items()}
    saved = {name: value.shape for name, value in state["added"].items()}
    if own != saved:
        name = next(name for name in own | saved if own.get(name) != saved.get(name))
        raise UsageError(f"the state does not fit the methods: {name} differs; give the options that it was saved with")
    with torch.no_grad():
        for name, value in state["added"].items():
            parameters[name].copy_(value)
    for method in engine.methods:
        method.load_state_dict(state["methods"][method.name])


def refuse_taken(methods: Sequence[Any], token: object) -> None:
    """Refuse methods that another engine has taken since: their anchors and teachers are of its model.

    Raises:
        UsageError: names the first of them.
    """
    for method in methods:
        if method.driven_by is not token:
            raise UsageError(f"{method.name} was given to another engine since; give each engine methods of its own")
