"""Training starts from weights of which this is the one snapshot, the same before and after a checkpoint is restored.

Values are kept as they are asked for, while the network still has them; what is asked for once training has begun is
read again from the backbone's files, with what a method had loaded over it.
"""

from collections.abc import Callable, Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from ftreg._base.errors import UsageError


class Start:
    """A start is what one network's training starts from.

    Args:
        network: whose parameters it is of.
        pretrained: the names of those that have their pre-trained values.
        in_head: whether a parameter, by name, belongs to the head.
        again: reads the backbone's values again, by name; None where there is nothing to read them from.
    """

    def __init__(
        self,
        network: nn.Module,
        pretrained: frozenset[str],
        in_head: Callable[[str], bool],
        again: Callable[[], Mapping[str, Tensor]] | None = None,
    ) -> None:
        # Not as an attribute of a module: the network has this as one of its own.
        self._network, self._in_head, self._again = network, in_head, again
        self.pretrained = pretrained
        self.redrawn: frozenset[str] = frozenset()
        """Parameters of the pre-trained model that a method has drawn afresh."""
        self.passed = False
        """Whether training has begun, or a checkpoint was restored: the network has other values since."""
        self._kept: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] = {}

    def value(self, name: str, keep: bool = True) -> Tensor:
        """Return the value that a parameter starts from, for what pulls towards it; see `load`.

        Args:
            name: of the parameter.
            keep: whether this holds on to it; where it does not, it may be the parameter's own memory.

        Raises:
            UsageError: training has begun, and there is nothing to read the value from.
        """
        if name not in self._kept:
            if not self.passed and not keep:
                return self._network.get_parameter(name).detach()
            if not self.passed:
                self._kept[name] = self._network.get_parameter(name).detach().clone()
            else:
                self._read_again()
        return self._kept[name]

    def anchored(self, name: str) -> bool:
        """Return whether a parameter has a pre-trained value to stay near; see `Encoder.anchored`."""
        return name in self.pretrained and not self._in_head(name)

    def load(self, values: Mapping[str, Tensor], anchor: Literal["pretrained", "intermediate"]) -> None:
        """Start from other weights than the backbone's; does nothing once training has begun.

        Args:
            values: by parameter's name.
            anchor: whether `value` gives the backbone's or these.
        """
        if self.passed:
            return
        for name, value in values.items():
            if anchor == "pretrained" and self.anchored(name):
                self.value(name)
            elif anchor == "intermediate":
                self._kept.pop(name, None)  # asked for before this start was
                self._loaded[name] = value
            with torch.no_grad():
                self._network.get_parameter(name).copy_(value)

    def signs(self) -> dict[str, float]:
        """Return an entry of each value that is kept, by which another start is told."""
        return {name: float(value.flatten()[0]) for name, value in self._kept.items()}

    def redraw(self, names: frozenset[str]) -> None:
        """Forget the pre-trained values of parameters that are drawn afresh."""
        self.pretrained -= names
        self.redrawn |= names

    def _read_again(self) -> None:
        if self._again is None:
            raise UsageError(
                "the weights that training started from are asked for after it has begun, and nothing has kept them; "
                "build the engine before the model's weights are restored"
            )
        start = {name: value.detach() for name, value in self._again().items()} | self._loaded
        # In the precision in which training started, so that it means the same as before a resumption.
        like = dict(self._network.named_parameters())
        self._kept = {name: start[name].to(like[name].dtype) for name in start if name in like} | self._kept
