"""Every method ends alike in every loop and goes on exactly, and the document says no more than that."""

import re
from pathlib import Path

import pytest

from ftreg.testing import CASES, drivers
from ftreg.testing.contract_table import EXACT, in_loops
from ftreg.testing.encoders import ARCHITECTURES
from ftreg.testing.given_models import HEADS

DOCUMENT = (Path(__file__).parent.parent / "experiments" / "contracts.md").read_text(encoding="utf-8")
TODAY = ("FreeLB", "Mixout", "SMART", "LayerPooling")


def table(heading: str) -> dict[tuple[str, str], str]:
    """The cells of one of the document's tables."""
    (part,) = re.findall(rf"\n## {heading}[^\n]*\n\n((?:\|.*\n)+)", DOCUMENT)
    head, _, *rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in part.splitlines()]
    return {(row[0], column): cell for row in rows for column, cell in zip(head[1:], row[1:], strict=True)}


LOOPS, ENCODERS, ON_HEADS = table("Methods × loops"), table("Methods × encoders"), table("Methods × heads")


@pytest.mark.parametrize(
    ("name", "encoder"), [*((name, "bert") for name in CASES), *((m, "modernbert") for m in TODAY)]
)
def test_every_loop_ends_alike_and_goes_on_exactly(name: str, encoder: str) -> None:
    found = in_loops(name, encoder)
    assert set(found.values()) == {EXACT}, found
    assert all(LOOPS[name, loop] == EXACT for loop in found)
    assert ENCODERS[name, encoder] == EXACT


def test_the_document_is_of_everything() -> None:
    assert LOOPS.keys() == {(method, loop) for method in CASES for loop in drivers.DRIVERS}
    assert ENCODERS.keys() == {(method, encoder) for method in CASES for encoder in ARCHITECTURES}
    assert ON_HEADS.keys() == {(method, head) for method in CASES for head in HEADS}
    cells = [*LOOPS.values(), *ENCODERS.values(), *ON_HEADS.values()]
    notes = set(re.findall(r"^(\d+)\. ", DOCUMENT, re.MULTILINE))
    assert {number for cell in cells for number in re.findall(r"\[(\d+)\]", cell)} == notes
    assert all(cell == EXACT or cell.startswith("[") for cell in cells)
