"""Parameters belong to parts of a network, which are named from the bottom up."""

from ftreg.encoder.encoder import Encoder


def group(encoder: Encoder, name: str) -> str:
    """Return the part of the network that a parameter belongs to: `embeddings`, `layer_00` …, `pooler` or `head`.

    The head is whatever pre-training did not have: DeBERTa's pooler too. What runs before the layers counts as
    embeddings: ELECTRA's projection, DeBERTa's relative positions with their LayerNorm. What runs after a layer counts
    as that layer: ModernBERT's last LayerNorm. Layers that share their weights are one, the lowest. Where no layers
    were found, everything below the head is `encoder`.

    Args:
        encoder: whose parameter it is.
        name: as in `encoder.named_parameters()`.
    """
    if encoder.in_head(name):
        return "head"
    base = f"model.{encoder.model.base_model_prefix}."
    path = name.removeprefix(base).rpartition(".")[0]
    if "pooler" in path.split("."):
        return "pooler"
    if not encoder.architecture.layers:
        return "encoder"
    layer = encoder.architecture.where.get(path)
    return "embeddings" if layer is None else f"layer_{layer:02d}"


def groups(encoder: Encoder) -> list[str]:
    """Return every part that an encoder may have, lowest first."""
    layers = [f"layer_{number:02d}" for number in range(len(encoder.architecture.layers))]
    return [*(["embeddings", *layers] if layers else ["encoder"]), "pooler", "head"]
