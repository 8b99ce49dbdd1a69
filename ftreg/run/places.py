"""What lies where in a run's folder, for those that only look. Nothing here imports torch."""

from pathlib import Path

FOLDERS = ("checkpoints", "predictions")
"""Of a run, below its own."""
REPLACED = ".replaced-"
"""Before a number, in the name of a run's folder that `ftreg fit --overwrite` has moved aside."""


def resumable(folder: Path) -> Path | None:
    """Find the checkpoint that a run goes on from: its last, or its best where a kill came between the first two."""
    places = (folder / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    return next((place for place in places if place.is_file()), None)
