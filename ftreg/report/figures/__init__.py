"""A report's figures are PDF and PNG, and need matplotlib, the extra `plots`, imported when they are drawn."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from ftreg._base.atomic import write_atomically
from ftreg._base.errors import UsageError
from ftreg.report import style
from ftreg.report.model import Report

if TYPE_CHECKING:
    from matplotlib.figure import Figure


def draw(report: Report, out: Path) -> dict[str, Path]:
    """Draw every figure that the report has the data of.

    Args:
        out: the folder, made where it is missing.

    Returns:
        the PNG of each by its name, of `seeds, curves, expected, cost, wins`; the PDF lies beside it.

    Raises:
        UsageError: matplotlib is missing.
    """
    try:
        import matplotlib
    except ImportError:
        raise UsageError("figures need matplotlib, which is missing; pip install 'ftreg[plots]'") from None
    from ftreg.report.figures import cost, curves, expected, seeds, wins

    found: dict[str, Path] = {}
    with matplotlib.rc_context(style.RC):
        for module in (seeds, curves, expected, cost, wins):
            drawn = module.figure(report)
            if drawn is not None:
                found[module.__name__.rpartition(".")[2]] = _save(drawn, out / module.__name__.rpartition(".")[2])
    return found


def _save(drawn: "Figure", stem: Path) -> Path:
    # No date: the same report gives the same file.
    kinds: tuple[tuple[str, dict[str, None]], ...] = (("pdf", {"CreationDate": None}), ("png", {"Software": None}))
    for kind, metadata in kinds:
        save = partial(drawn.savefig, format=kind, dpi=style.DPI, metadata=metadata)
        write_atomically(stem.with_suffix(f".{kind}"), save)
    return stem.with_suffix(".png")
