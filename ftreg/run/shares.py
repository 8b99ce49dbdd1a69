"""How the batches of runs were shared out, in words. Nothing here imports torch."""

from collections.abc import Mapping, Sequence
from typing import Any


def spoken(share: Mapping[str, Any]) -> str:
    """`2 processes × 4 micro-batches of 2 rows on cuda`."""
    ranks, accumulation = share["ranks"], share["accumulation"]
    parts = [
        f"{ranks} process{'es' * (ranks > 1)} × {accumulation} micro-batch{'es' * (accumulation > 1)}",
        f"of {share['rows']} rows" if "rows" in share else "",
        f"on {share['device']}" if "device" in share else "",
    ]
    return " ".join(part for part in parts if part)


def differing(records: Sequence[Mapping[str, Any]]) -> list[str]:
    """In words, how runs were shared out, if that differs and any of them has dropout; older records do not say it."""
    found = [record["sharding"] for record in records if record.get("sharding")]
    told = sorted({", then ".join(map(spoken, shares)) for shares in found})
    return told if len(told) > 1 and any(share.get("dropout", True) for shares in found for share in shares) else []
