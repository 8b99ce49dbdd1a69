"""A run's folder has its files under these names. Nothing here imports torch."""

from pathlib import Path

RESULT, CONFIG, METRICS = "result.json", "config.yaml", "metrics.csv"
"""Files that a fit leaves in its folder: its record, its configuration, and what it logged."""
CELL, ERROR = "cell.json", "error.json"
"""Files that `ftreg bench` leaves beside them: which cell of a grid the run is, and how it failed."""
GRID = "grid.json"
"""The file that `ftreg bench` keeps of a grid, in the folder of all its runs."""
FOLDERS = ("checkpoints", "predictions")
"""Folders that a fit makes below its own."""
REPLACED = ".replaced-"
"""What stands before a number in the name of a folder that `ftreg fit --overwrite` has moved aside."""


def resumable(folder: Path) -> Path | None:
    """Find the checkpoint that a run goes on from: its last, or its best where a kill came between the first two."""
    places = (folder / "checkpoints" / f"{name}.ckpt" for name in ("last", "best"))
    return next((place for place in places if place.is_file()), None)
