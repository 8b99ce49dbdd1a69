"""A model that somebody else has built is looked at: is it of a kind for methods to work on, what does it take?"""

import inspect
from typing import Any

from transformers import PreTrainedModel

from ftreg._base.errors import UsageError

NAMED = frozenset(
    {"input_ids", "attention_mask", "token_type_ids", "inputs_embeds", "labels", "start_positions", "end_positions"}
    | {"next_sentence_label", "sentence_order_label", "return_dict", "output_attentions", "output_hidden_states"}
    | {"past_key_values", "use_cache", "kwargs"}
)
"""Arguments of a model's forward that are given by name, are targets, or say how it answers."""


def source(model: Any) -> str:
    """Return the folder or Hub id that a model was loaded from; `given` where it was from none."""
    name = str(getattr(model.config, "name_or_path", "") or "")
    return "given" if name in ("", "None") else name


def takes(model: Any) -> frozenset[str]:
    """Return the other arguments of a model's forward."""
    return frozenset(inspect.signature(model.forward).parameters) - NAMED


def unwrapped(model: Any) -> Any:
    """Return the transformers model inside, which PEFT's layers are in.

    Raises:
        UsageError: there is none, or PEFT adds tokens rather than layers.
    """
    if isinstance(model, PreTrainedModel):
        return model
    kind = type(model).__name__
    config = getattr(model, "active_peft_config", None)
    if config is None or not hasattr(model, "get_base_model"):
        raise UsageError(
            f"the model is a {kind}, and neither a transformers model with a head nor one that PEFT has wrapped; give "
            f"one of AutoModelFor..., before DDP, Fabric or accelerate wrap it: what they wrap is the engine"
        )
    if getattr(config, "is_prompt_learning", False):
        raise UsageError(
            f"the model is a {kind} with {config.peft_type.value}, which puts tokens of its own before the text, where "
            f"no perturbation or mask of ours reaches; give LoRA, or another method of PEFT that changes layers"
        )
    return model.get_base_model()
