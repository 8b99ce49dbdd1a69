"""A network's forward uses other weights here, swapped without renaming and held until after the backward.

Mixed weights stay in the modules until the backward has run, because activation checkpointing recomputes the
forward during the backward: a swap undone earlier (or `torch.func.functional_call`) recomputes with other weights
and gives wrong gradients, silently.
"""

from collections.abc import Mapping

from torch import Tensor, nn

from ftreg.encoder.torch_internals import parameter_slots


class Weights:
    """This has all parameters of `root` by name, and every place where each of them is used.

    Build it after the structure is final. `state_dict` keys never change; while swapped, `root.named_parameters()`
    yields the swapped tensors, so gradients and norms are taken of `real`.
    """

    def __init__(self, root: nn.Module) -> None:
        self.real: dict[str, Tensor] = dict(root.named_parameters())
        self.current: Mapping[str, Tensor] = {}
        names = {id(parameter): name for name, parameter in self.real.items()}
        # A tied parameter sits in several modules: all of its places are swapped together.
        self._places = [
            (
                parameter_slots(root.get_submodule(path.rpartition(".")[0])),
                path.rpartition(".")[2],
                names[id(parameter)],
            )
            for path, parameter in root.named_parameters(remove_duplicate=False)
        ]

    def put(self, new: Mapping[str, Tensor]) -> None:
        """Let the network use `new` where given and its real parameters elsewhere."""
        if not new and not self.current:
            return
        for slots, key, name in self._places:
            slots[key] = new.get(name, self.real[name])
        self.current = new

    def restore(self) -> None:
        """Put the real parameters back."""
        self.put({})
