"""An architecture runs with the first of the wanted attention implementations that serves."""

from collections.abc import Sequence
from typing import Any

import torch
from transformers import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING

from ftreg._base.errors import UsageError


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
    if name == "sdpa" and cls is not None and not cls._supports_sdpa:
        return "transformers has none for it"
    windows = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if name == "eager" and windows and torch.get_default_dtype() == torch.float64:
        # transformers adds float64's least number as a mask and takes the softmax in float32, where that is −∞.
        return "in float64 its softmax is NaN where all tokens of a window are padding"
    return ""
