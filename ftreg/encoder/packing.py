"""Packing lays the same batch out in fewer, fuller rows, without its padding.

Real batches are 40–60 % padding. Between the embeddings and the pooler, the sentences of a batch are laid end to end
in rows (first fit, longest first), kept apart by a block-diagonal attention mask, and laid back into [batch, tokens,
dim] afterwards. Positions are added before and heads act after, so the loss and its gradients are those of the padded
batch up to float rounding, and nothing outside this file knows.
"""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from ftreg.encoder.transformers_internals import attention_of

PACKABLE = frozenset({"bert", "roberta", "xlm-roberta", "camembert", "electra", "distilbert"})
"""Architectures with absolute positions, whose layer stack is a module that takes hidden states and a mask."""


class Layout:
    """A layout says where each token of a batch goes.

    Args:
        lengths: real tokens per example; they stand at the start of its row.
        device: where the hidden states are.
    """

    def __init__(self, lengths: Sequence[int], device: torch.device) -> None:
        self.width = max(lengths)
        free: list[int] = []
        place = [(0, 0)] * len(lengths)
        for example in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
            row = next((r for r, space in enumerate(free) if space >= lengths[example]), len(free))
            if row == len(free):
                free.append(self.width)
            place[example] = (row, self.width - free[row])
            free[row] -= lengths[example]
        self.rows = len(free)
        example_of = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        within = torch.cat([torch.arange(length) for length in lengths])
        starts = torch.tensor([row * self.width + offset for row, offset in place])
        segments = torch.full((self.rows * self.width,), -1)
        segments[starts[example_of] + within] = example_of
        self._example = example_of.to(device)
        self._within = within.to(device)
        self._packed = (starts[example_of] + within).to(device)
        self._segments = segments.view(self.rows, self.width).to(device)

    def pack(self, hidden: Float[Tensor, "batch tokens dim"]) -> Float[Tensor, "rows width dim"]:
        """Lay the examples' real tokens end to end, with zeros in what is left of a row."""
        tokens = hidden[self._example, self._within]
        packed = hidden.new_zeros(self.rows * self.width, hidden.shape[-1])
        return packed.index_copy(0, self._packed, tokens).view(self.rows, self.width, -1)

    def unpack(
        self, hidden: Float[Tensor, "rows width dim"], shape: tuple[int, int]
    ) -> Float[Tensor, "batch tokens dim"]:
        """Undo `pack`, with zeros on padding."""
        flat = hidden.new_zeros(shape[0] * shape[1], hidden.shape[-1])
        tokens = hidden.reshape(-1, hidden.shape[-1])[self._packed]
        return flat.index_copy(0, self._example * shape[1] + self._within, tokens).view(*shape, -1)

    def mask(self, additive: bool, dtype: torch.dtype) -> Tensor:
        """Return who attends to whom: [rows, 1, width, width], boolean, or additive for eager attention."""
        # Unused places attend to each other, so that no softmax row is empty.
        allowed = self._segments[:, None, :, None] == self._segments[:, None, None, :]
        if not additive:
            return allowed
        return torch.zeros(allowed.shape, dtype=dtype, device=allowed.device).masked_fill(
            ~allowed, torch.finfo(dtype).min
        )


class Packing:
    """A packing packs what goes into a stack of layers and unpacks what comes out, while a layout is set.

    Args:
        model: a Hugging Face model; `supported` says whether it can be packed.
        stack: the module that runs all its layers, between the embeddings and the pooler.
    """

    def __init__(self, model: nn.Module, stack: nn.Module) -> None:
        self.layout: Layout | None = None
        self._shape = (0, 0)
        self._additive = attention_of(model.config) == "eager"
        stack.register_forward_pre_hook(self._before, with_kwargs=True)
        stack.register_forward_hook(self._after)

    def _before(self, module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[Any, Any] | None:
        if self.layout is None:
            return None
        kwargs = dict(kwargs)
        hidden = args[0] if args else kwargs.pop("hidden_states")
        self._shape = tuple(hidden.shape[:2])
        kwargs["attention_mask"] = self.layout.mask(self._additive, hidden.dtype)
        kwargs.pop("position_ids", None)
        return (self.layout.pack(hidden),), kwargs

    def _after(self, module: nn.Module, args: tuple[Any, ...], output: Any) -> Any:
        if self.layout is None:
            return None
        output.last_hidden_state = self.layout.unpack(output.last_hidden_state, self._shape)
        return output


def supported(model: nn.Module) -> bool:
    """Return whether packing is exact for this architecture and attention implementation."""
    config: Any = model.config
    return (
        config.model_type in PACKABLE
        and attention_of(config) in ("eager", "sdpa")
        and not getattr(config, "is_decoder", False)
        and getattr(config, "position_embedding_type", None) in (None, "absolute")
    )
