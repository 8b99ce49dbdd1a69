"""Private members of transformers' models are used in this file alone; those of its Trainer in `ftreg.huggingface`."""

from typing import Any

from torch import nn


def attention_of(config: Any) -> str:
    """Return the attention implementation that a model of this configuration runs with: `eager`, `sdpa` or another."""
    return str(config._attn_implementation)


def has_sdpa(cls: Any) -> bool:
    """Return whether a class of models has an implementation of attention by `sdpa`."""
    return bool(cls._supports_sdpa)


def draw(model: Any, module: nn.Module) -> None:
    """Draw a part's weights afresh, as the model's architecture draws them: children first, as some correct theirs."""
    for child in module.children():
        draw(model, child)
    for parameter in module.parameters(recurse=False):
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    module._is_hf_initialized = False  # type: ignore[assignment]
    model._init_weights(module)


def finish_drawing(model: Any) -> None:
    """Draw what an architecture draws of the model as a whole once its parts are drawn: some, their last layer."""
    model._init_weights(model)
