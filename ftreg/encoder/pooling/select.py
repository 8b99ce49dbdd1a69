"""The layers that a head reads are selected by an option."""

from ftreg._base.errors import UsageError


def select_layers(layers: list[int] | int | None, depth: int, option: str) -> list[int]:
    """Return the numbers of the layers, ascending: 1 to `depth`, and 0 for the embeddings' output.

    Args:
        layers: None for 1 to `depth`, k for the last k, or numbers, of which negative ones count from the top.
        depth: how many layers the encoder has.
        option: by whose value they are chosen, for messages.

    Raises:
        UsageError: a layer does not exist, or is named twice.
    """
    if layers is None:
        found = list(range(1, depth + 1))
    elif isinstance(layers, int):
        if not 1 <= layers <= depth:
            raise UsageError(f"{option} is {layers}; the encoder has {depth}, so 1 to {depth}")
        found = list(range(depth - layers + 1, depth + 1))
    else:
        wrong = [number for number in layers if not -depth <= number <= depth]
        if wrong or not layers:
            raise UsageError(
                f"{option} has {wrong[0] if wrong else 'no number'}; the encoder has 1 to {depth} from "
                f"the bottom, −1 to −{depth} from the top, and 0 for the embeddings' output"
            )
        found = sorted(number if number >= 0 else depth + 1 + number for number in layers)
    if len(set(found)) < len(found):
        raise UsageError(f"{option} is {layers}, which names a layer twice")
    return found
