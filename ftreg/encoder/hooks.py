"""Hooks change what a model computes, or read it off, for the time of one pass."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import PreTrainedModel


@contextmanager
def watched(base: nn.Module) -> Iterator[list[Tensor]]:
    """Collect the last hidden states of each pass, unpacked."""
    seen: list[Tensor] = []
    # Not output_hidden_states, for which transformers hangs hooks on every layer and leaves them there.
    handle = base.register_forward_hook(lambda module, args, output: seen.append(output[0]))
    try:
        yield seen
    finally:
        handle.remove()


@contextmanager
def shifted(entrance: nn.Module, offset: Tensor) -> Iterator[None]:
    """Add `offset` to what enters the layers; `entrance` as in `Architecture`."""

    def before(module: nn.Module, args: Any, kwargs: dict[str, Any]) -> tuple[Any, Any]:
        given = kwargs["inputs_embeds"]
        return args, {**kwargs, "inputs_embeds": given + offset.reshape(given.shape)}

    # On what precedes the layers, never on one of them: a layer may run more than once, and in the backward again.
    if isinstance(entrance, PreTrainedModel):
        handle = entrance.register_forward_pre_hook(before, with_kwargs=True)
    else:
        handle = entrance.register_forward_hook(lambda module, args, output: output + offset.reshape(output.shape))
    try:
        yield
    finally:
        handle.remove()


@contextmanager
def substituted(words: nn.Module, embeds: Tensor) -> Iterator[None]:
    """Put `embeds` in the place of what the word embeddings look up; a choice's rows may be laid one below another."""
    handle = words.register_forward_hook(lambda module, args, output: embeds.reshape(output.shape))
    try:
        yield
    finally:
        handle.remove()
