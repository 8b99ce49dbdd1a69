"""A model that somebody else has built is looked at: is it of a kind for methods to work on, what does it take?"""

import inspect
from typing import Any

from transformers import PreTrainedModel

from ftreg._base.errors import UsageError

NAMED = frozenset(
    {"input_ids", "attention_mask", "inputs_embeds", "labels", "start_positions", "end_positions"}
    | {"next_sentence_label", "sentence_order_label", "return_dict", "output_attentions", "output_hidden_states"}
    | {"past_key_values", "use_cache", "kwargs"}
)
"""Arguments of a model's forward that are given by name, are targets, or say how it answers."""


NOWHERE = "given"


def source(model: Any) -> str:
    """Return the folder or Hub id that a model was loaded from; `NOWHERE` where it was from none."""
    name = str(getattr(model.config, "name_or_path", "") or "")
    return NOWHERE if name in ("", "None") else name


def classes(config: Any) -> tuple[str, ...]:
    """Return the names of a model's classes in id order; none for one output, which is a score."""
    names = getattr(config, "id2label", None) or {}
    return tuple(str(names[place]) for place in sorted(names)) if len(names) > 1 else ()


def takes(model: Any) -> frozenset[str]:
    """Return the other arguments of a model's forward, such as `token_type_ids`."""
    return frozenset(inspect.signature(model.forward).parameters) - NAMED


def unwrapped(model: Any) -> Any:
    """Return the transformers model inside, which PEFT's layers are in.

    Raises:
        UsageError: there is none, or PEFT adds tokens rather than layers.
    """
    if isinstance(model, PreTrainedModel):
        return _whole(model)
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
    tuner = getattr(model, "base_model", None)
    own = next((cls for cls in type(tuner).__mro__ if "forward" in vars(cls)), None)
    if own is not None and own.__name__ != "BaseTuner":
        raise UsageError(
            f"the model is a {kind} with {config.peft_type.value}, whose {own.__name__} does more in a pass than its "
            f"layers do, such as adding to the loss; give LoRA, or another method of PEFT that changes layers alone"
        )
    return _whole(model.get_base_model())


def _whole(model: Any) -> Any:
    for part in model.modules():
        if getattr(part, "attention_type", None) == "block_sparse":
            raise UsageError(
                f"the model is a {type(model).__name__} with attention_type=block_sparse, which turns into full "
                f"attention for good at the first short batch; call model.set_attention_type('original_full') before"
            )
    return model


class Replaced:
    """Stands for the forward of a model whose head a method has replaced: nobody shall take its answer for the new one.

    Args:
        model: whose forward it is.
        user: the method's name.
    """

    def __init__(self, model: Any, user: str) -> None:
        self.__signature__ = inspect.signature(model.forward)
        self._line = (
            f"{user} has put a head of its own on {type(model).__name__}, whose own head is untrained: for logits call "
            f"engine.predict(batch) in place of the model; engine.method_state() holds the new head"
        )

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise UsageError(self._line)
