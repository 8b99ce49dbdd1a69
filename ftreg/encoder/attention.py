"""An architecture runs with the first of the wanted attention implementations that serves."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from ftreg._base.errors import UsageError
from ftreg.encoder.transformers_internals import attention_of, has_sdpa


def implementation(config: Any, wanted: str | Sequence[str], backbone: str) -> str:
    """Return the first of the wanted implementations that serves.

    Args:
        config: the model's.
        wanted: `eager`, `sdpa`, or both, the better one first.
        backbone: for messages.

    Raises:
        UsageError: none of them does.
    """
    names = [wanted] if isinstance(wanted, str) else [*wanted]
    reasons = {name: _objection(config, name) for name in names}
    found = next((name for name, reason in reasons.items() if not reason), None)
    if found is None:
        other = "sdpa" if names[0] == "eager" else "eager"
        raise UsageError(
            f"model.attention is {names[0]}: not with backbone {backbone} ({config.model_type}): {reasons[names[0]]}; "
            f"give {other} or auto"
        )
    return found


def _objection(config: Any, name: str) -> str:
    """Why an implementation does not serve; empty if it does."""
    cls: Any = MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING.get(type(config), None)
    if name == "sdpa" and cls is not None and not has_sdpa(cls):
        return "transformers has none for it"
    if name == "eager" and _windows(config) and torch.get_default_dtype() == torch.float64:
        # transformers adds float64's least number as a mask and takes the softmax in float32, where that is −∞.
        return "in float64 its softmax is NaN where all tokens of a window are padding"
    return ""


def check_windows(model: Any, mask: Tensor) -> None:
    """Refuse a batch in which a window holds nothing but padding, where that makes NaN: see `_objection`.

    Args:
        model: that somebody else has built.
        mask: 1 on real tokens [batch, tokens].

    Raises:
        UsageError: says what to do.
    """
    config: Any = model.config
    if model.dtype != torch.float64 or attention_of(config) != "eager" or not _windows(config):
        return
    reach = int(config.sliding_window)
    seen = torch.nn.functional.max_pool1d(mask.double(), 2 * reach + 1, stride=1, padding=reach)
    if not bool(seen.all()):
        raise UsageError(
            f"{type(model).__name__} with eager attention in float64 makes NaN of this batch, where all that a token "
            f"sees within {reach} places is padding; load the model with attn_implementation='sdpa'"
        )


def _windows(config: Any) -> bool:
    return "sliding_attention" in (getattr(config, "layer_types", None) or ())
