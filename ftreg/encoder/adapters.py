"""LoRA in a model: which of its parameters stand for a change of weights.

PEFT puts its layers into the model itself: W x becomes W x + s B A x. Nothing here imports it.
"""

from torch import nn

from ftreg._base.errors import UsageError


def low_rank(root: nn.Module) -> dict[str, str]:
    """Find LoRA's matrices A [rank, in], with ΔW = s B A: the name of each one's weight, and of the layer it is in.

    Raises:
        UsageError: one is of a kind in which the change of a weight is not linear in A.
    """
    found: dict[str, str] = {}
    for path, module in root.named_modules():
        inner = getattr(module, "lora_A", None)
        if not isinstance(inner, nn.ModuleDict):
            continue
        for adapter, matrix in inner.items():
            if not isinstance(matrix, nn.Linear):
                raise UsageError(f"LoRA on {path} is no product of two matrices; adapt Linear layers alone")
            if getattr(module, "use_dora", {}).get(adapter):
                raise UsageError(f"LoRA on {path} has use_dora, which is not linear in its matrices; leave it out")
            found[f"{path}.lora_A.{adapter}.weight"] = path
    return found
