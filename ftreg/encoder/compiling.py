"""An encoder's layers are compiled with `torch.compile`; names of parameters stay."""

from ftreg.encoder.architecture import Architecture
from ftreg.encoder.torch_internals import keep_buffers


def compile_layers(architecture: Architecture) -> None:
    """Compile every layer by itself: one graph then serves them all, and packing happens between them.

    Raises:
        UsageError: no layers were found.
    """
    # A method may ask a pass for its gradients more than once.
    keep_buffers()
    for layer in dict.fromkeys(architecture.layered("model.compile").layers):
        layer.compile(dynamic=True)
