"""Encoders whose head is LayerPooling's, without a trainer."""

from typing import Any, get_args

import torch
from torch import Tensor

from ftreg.encoder.encoder import Encoder
from ftreg.encoder.pooling import Tokens
from ftreg.methods import LayerPooling
from ftreg.methods.layer_pooling import Mix
from tests.steps import encoder_of

MIXES: tuple[Any, ...] = get_args(Mix)
TOKENS: tuple[Any, ...] = get_args(Tokens)
LABELS = ("a", "b", "c")
LENGTHS = [9, 4, 1, 12, 3, 2]
DEPTH = 5


def pooling(folder: str, scatter: float = 0.3, **options: Any) -> Encoder:
    """An encoder in evaluation mode and float64, its new head's and LayerNorms' weights moved from their start."""
    encoder = encoder_of(folder, LABELS, torch.float64)
    torch.set_default_dtype(torch.float64)
    try:
        LayerPooling(hidden=7, **options).attach(encoder)
    finally:
        torch.set_default_dtype(torch.float32)
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, p in encoder.named_parameters():
            # LayerNorm too: straight from its start, the mean of any token's entries is 0
            if name.startswith("head.") or "LayerNorm" in name:
                p.add_(scatter * torch.randn(p.shape, generator=generator, dtype=p.dtype))
    return encoder.eval()


def head_of(encoder: Encoder) -> Any:
    assert encoder.head is not None
    return encoder.head


def logits(encoder: Encoder, inputs: dict[str, Any], packed: bool = True, **options: Any) -> Tensor:
    embeds = encoder.embed(inputs["input_ids"])
    return encoder(embeds, inputs["attention_mask"], None, inputs["lengths"] if packed else None, **options)
