"""These functions put back what an engine has saved into one with the same methods, or refuse it."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ftreg._base.errors import UsageError


def refuse_other(state: Any, methods: Sequence[Any]) -> None:
    """Refuse what an engine with other methods has saved, and what no engine has.

    Raises:
        UsageError: names both lists of methods.
    """
    if not isinstance(state, Mapping) or not {"counts", "methods", "added"} <= state.keys():
        raise UsageError("this is no state of an engine's; give what engine.method_state() has returned")
    own = [method.name for method in methods]
    if [*state["methods"]] != own:
        raise UsageError(
            f"the state is of {', '.join(state['methods']) or 'no methods'}, and the engine has "
            f"{', '.join(own) or 'none'}; give the methods that it was saved with, in their order"
        )


def put_back(added: Mapping[str, Tensor], network: nn.Module) -> None:
    """Copy the values of what methods have added into a network that they have been attached to.

    Raises:
        UsageError: it has no such parameters: the methods have other options.
    """
    parameters = dict(network.named_parameters())
    own = {name: p.shape for name, p in parameters.items() if not name.startswith("model.")}
    saved = {name: value.shape for name, value in added.items()}
    if own != saved:
        name = next(name for name in own | saved if own.get(name) != saved.get(name))
        raise UsageError(f"the state does not fit the methods: {name} differs; give the options that it was saved with")
    with torch.no_grad():
        for name, value in added.items():
            parameters[name].copy_(value)
