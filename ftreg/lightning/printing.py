"""A line is printed once, however many processes there are."""

from pytorch_lightning.utilities import rank_zero_only


@rank_zero_only
def say(text: str) -> None:
    """Print a line, on the first process alone."""
    print(text, flush=True)
