"""Wrappers put prefixes before, or into, the names of weights; they are found here, and taken away."""

from collections import Counter
from collections.abc import Collection, Mapping

from torch import Tensor

from ftreg._base.errors import UsageError

BEFORE = frozenset(
    {"module", "model", "encoder", "network", "net", "backbone", "auto_model", "base_model", "0"}
    | {"_forward_module", "_fsdp_wrapped_module", "_orig_mod"}
)
"""Names that DataParallel, Lightning, torch.compile, sentence-transformers and people give to what they wrap."""
WITHIN = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""What torch puts into a name, wherever it wraps a part."""


def stripped(
    tensors: Mapping[str, Tensor], encoder: Collection[str], base: str, file: str
) -> tuple[dict[str, Tensor], list[str]]:
    """Return tensors by names that the model knows, or knows without its base-model prefix; and what was taken away.

    Args:
        tensors: as a file has them.
        encoder: the names of the encoder's weights, each with the base-model prefix.
        base: that prefix, without a dot.
        file: its name, for messages.

    Raises:
        UsageError: the encoder is there under an unknown prefix, or more than once.
    """
    taken = [part for part in WITHIN if any(part in key for key in tensors)]
    for part in taken:
        tensors = {key.replace(part, ""): tensor for key, tensor in tensors.items()}
    found = places(tensors, encoder, base)
    whole = [prefix for prefix, count in found.items() if 2 * count > len(encoder)]
    if len(whole) > 1:
        raise UsageError(
            f"{file} holds several encoders, under {' and '.join(prefix_shown(p) for p in whole[:3])}; save one alone"
        )
    if not whole or whole[0] in ("", f"{base}."):
        return dict(tensors), taken
    unknown = [part for part in whole[0].split(".")[:-1] if part not in BEFORE | {base}]
    if unknown:
        raise UsageError(
            f"{file} has its encoder's weights under {prefix_shown(whole[0])}, where this architecture has {base}.; "
            "if they are this architecture's, rename them, else mend config.json"
        )
    outer = whole[0].removesuffix(f"{base}.") if whole[0].endswith(f".{base}.") else whole[0]
    return {key.removeprefix(outer): tensor for key, tensor in tensors.items()}, [*taken, outer]


def places(keys: Collection[str], encoder: Collection[str], base: str) -> Counter[str]:
    """Return how many of the encoder's weights stand under each prefix, which ends with a dot or is empty."""
    known = {name.removeprefix(f"{base}.") for name in encoder}
    found: Counter[str] = Counter()
    for key in keys:
        parts = key.split(".")
        found.update(".".join([*parts[:n], ""]) for n in range(len(parts)) if ".".join(parts[n:]) in known)
    return found


def prefix_shown(prefix: str) -> str:
    """Return a prefix as a complaint writes it."""
    return f"{prefix[:80]!r}" if prefix else "no prefix"
