"""Another backbone of the same architecture gives values for methods to pull towards."""

from collections.abc import Sequence

from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.encoder.encoder import Encoder


def values_of(encoder: Encoder, backbone: str, names: Sequence[str]) -> dict[str, Tensor]:
    """Return the named parameters' values in another backbone.

    Args:
        encoder: whose parameters they stand beside.
        backbone: `demo`, `tiny`, a folder or a Hub id.
        names: of parameters.

    Raises:
        UsageError: a parameter is missing there, or has another shape.
    """
    other = Encoder(backbone, encoder.labels, encoder.seed, head="keep" if any(map(encoder.in_head, names)) else "new")
    values = {name: p.detach() for name, p in other.named_parameters() if name in other.start.pretrained}
    for name in names:
        shape = encoder.get_parameter(name).shape
        if name not in values or values[name].shape != shape:
            raise UsageError(f"backbone {backbone} has no {name} of shape {list(shape)}")
    return {name: values[name] for name in names}
