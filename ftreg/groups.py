"""The parts of a network that parameters belong to, from the bottom up."""

from ftreg.encoder import Encoder


def group(encoder: Encoder, name: str) -> str:
    """The part of the network that a parameter belongs to: `embeddings`, `layer_00` and so on, `pooler` or `head`.

    The head is whatever pre-training did not have: DeBERTa's pooler too. What the pre-trained layers share counts as
    embeddings: ELECTRA's projection, DeBERTa's relative positions with their LayerNorm.

    Args:
        encoder: whose parameter it is.
        name: as in `encoder.named_parameters()`.
    """
    if encoder.in_head(name):
        return "head"
    parts = name.split(".")
    depth = next((part for part in parts if part.isdecimal()), None)
    if depth is not None:
        return f"layer_{int(depth):02d}"
    return "pooler" if "pooler" in parts else "embeddings"


def groups(encoder: Encoder) -> list[str]:
    """Every part that an encoder may have, lowest first."""
    return ["embeddings", *(f"layer_{number:02d}" for number in range(encoder.depth)), "pooler", "head"]
