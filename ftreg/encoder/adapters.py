"""The Linear layers of a network, and LoRA's matrices, which stand for a change of a layer's weight.

PEFT puts its layers into the model itself: W x becomes W x + s B A x. Nothing here imports it.
"""

from collections.abc import Iterator
from typing import Any

from torch import nn

from ftreg._base.errors import UsageError

UNCHANGED = (True, False, "gaussian", "eva", "orthogonal", None)
"""LoRA's first weights that leave W as it was pre-trained; others take a part of it out."""


def linears(root: nn.Module) -> Iterator[tuple[str, nn.Linear]]:
    """Yield every Linear layer, by the name of its weight; LoRA's matrices are none."""
    own = dict(root.named_parameters())
    low = [f"{path}.lora_" for path, _ in _adapted(root)]
    for path, module in root.named_modules():
        # Not the output matrix of a decoder, which is the word embeddings.
        if isinstance(module, nn.Linear) and f"{path}.weight" in own and not path.startswith(tuple(low)):
            yield f"{path}.weight", module


def low_rank(root: nn.Module) -> dict[str, str]:
    """Find LoRA's matrices A [rank, in] that train, with ΔW = s B A, and the weight W that each of them changes.

    Raises:
        UsageError: there are adapters whose change of a weight is not s B A in all that a layer does, or not a change
            of the pre-trained weight.
    """
    for root_path, module in root.named_modules():
        kinds = getattr(module, "peft_config", None)
        if isinstance(kinds, dict):
            _check_kinds(root_path or type(module).__name__, kinds)
    found: dict[str, str] = {}
    for path, module in _adapted(root):
        active = [name for name in _names(module, "active_adapters") if name in module.lora_A]
        if not active:
            continue
        if len(active) > 1:
            raise UsageError(f"{path} has {len(active)} active adapters ({', '.join(active)}); leave one active")
        _check_layer(path, module, active[0])
        if module.lora_A[active[0]].weight.requires_grad:
            found[f"{path}.lora_A.{active[0]}.weight"] = f"{path}.base_layer.weight"
    return found


def _adapted(root: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the layers that LoRA is in."""
    for path, module in root.named_modules():
        if isinstance(module, nn.Module) and hasattr(module, "lora_A"):
            yield path, module


def _check_kinds(where: str, kinds: dict[str, Any]) -> None:
    for config in kinds.values():
        kind = str(getattr(config.peft_type, "value", config.peft_type))
        if kind != "LORA":
            raise UsageError(f"{where} is adapted by {kind}, whose change of a weight is no product B A; give LoRA")
        first = getattr(config, "init_lora_weights", None)
        if first not in UNCHANGED:
            raise UsageError(
                f"{where} has LoRA with init_lora_weights={first!r}, which takes a part out of the pre-trained weight: "
                f"without ΔW it is another one; give True or 'gaussian'"
            )


def _check_layer(path: str, module: Any, adapter: str) -> None:
    matrix, base = module.lora_A[adapter], getattr(module, "base_layer", None)
    dense = isinstance(base, nn.Linear) or type(base).__name__ == "Conv1D"
    if not isinstance(matrix, nn.Linear) or not dense or hasattr(module, "parameter_name"):
        raise UsageError(f"{path} is a {type(base).__name__} with LoRA on what is no Linear layer; adapt those alone")
    if adapter in getattr(module, "lora_variant", {}):
        kind = type(module.lora_variant[adapter]).__name__
        raise UsageError(f"{path} has LoRA of a kind ({kind}) that is not linear in A, such as DoRA; give plain LoRA")
    if getattr(module, "merged", False) or getattr(module, "disable_adapters", False):
        raise UsageError(f"LoRA on {path} is merged or disabled, so its matrices do nothing; unmerge or enable it")


def _names(module: Any, attribute: str) -> list[str]:
    names = getattr(module, attribute, ())
    return [names] if isinstance(names, str) else [*names]
