"""Lines of a TSV or CSV file are split into cells, once it is known whether a TSV file's quotes are its texts' own.

The official GLUE files are never quoted. pandas and others quote what needs it (a tab, a newline, a quote) or all text.
"""

import csv
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from glue_tasks.errors import DataError

Cells = Iterator[tuple[int, list[str]]]
"""(line number from 1, the cells of the row that starts there)"""

QUOTED = re.compile(r'"((?:[^"]|"")*)"', re.DOTALL)
LIMIT = 2**31 - 1
"""Characters of a CSV cell; the csv module has 131,072 if it is not told."""


def separated(text: Iterator[str], file: Path) -> Cells:
    """Yield the rows of a CSV file, quoted as in RFC 4180; they end with any of LF, CRLF and CR."""
    csv.field_size_limit(LIMIT)
    reader = csv.reader(_at_returns(text), strict=True)
    start = 1
    try:
        for cells in reader:
            yield start, cells
            start = reader.line_num + 1
    except csv.Error as error:
        remedy = "a text that starts with a quote is quoted as a whole, and a quote within it is doubled"
        raise DataError(f"{file}:{start}: broken CSV ({error}); {remedy}") from error


def _at_returns(text: Iterator[str]) -> Iterator[str]:
    """Yield the lines, those cut that CR alone ends."""
    for line in text:
        if "\r" in line.removesuffix("\n").removesuffix("\r"):
            yield from re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", line)
        else:
            yield line


def tabbed(text: Iterator[str]) -> Cells:
    """Yield the rows of a TSV file that is not quoted: columns end at a tab, rows at a newline."""
    for number, line in enumerate(text, start=1):
        yield number, line.removesuffix("\n").removesuffix("\r").split("\t")


def perhaps_quoted(text: Iterator[str], file: Path) -> Cells:
    """Yield the rows of a TSV file of one's own, whose quotes are undone if all of it can only be quoted.

    It is, where quotes stand around whole cells alone, each of which needs them or each of which, the header's too,
    has them. A quote that only some cells start with is a text's own.

    Raises `DataError` where both may be meant.
    """
    rows = list(tabbed(text))
    width = max((len(cells) for _, cells in rows[:1]), default=0)
    if not any(cell.startswith('"') for _, cells in rows for cell in cells):
        yield from rows
        return
    if any(cells != [""] and len(cells) != width for _, cells in rows):
        joined = _joined(rows, width)
        if joined is not None:
            rows = joined
    yield from rows if not _quoted(rows, file) else [(line, [_undone(cell) for cell in cells]) for line, cells in rows]


def _quoted(rows: Sequence[tuple[int, list[str]]], file: Path) -> bool:
    needed, idle = 0, 0
    for line, cells in rows:
        for cell in cells:
            if not cell.startswith('"') or cell == '""':
                continue
            found = QUOTED.fullmatch(cell)
            if found is None:
                return False
            if re.search(r'["\t\r\n]', found[1]):
                needed = needed or line
            else:
                idle = idle or line
    everywhere = all(cell.startswith('"') for _, cells in rows[:1] for cell in cells)
    if needed and idle and not everywhere:
        raise DataError(
            f"{file}:{idle}: a text in quotes that it does not need, but line {needed} is quoted as pandas does it; "
            "whose quotes are they? Write CSV or JSONL instead"
        )
    return bool(needed) or everywhere


def _joined(rows: Sequence[tuple[int, list[str]]], width: int) -> list[tuple[int, list[str]]] | None:
    """Return rows whose quoted cells hold tabs and newlines; None where that gives no table."""
    whole = "\n".join("\t".join(cells) for _, cells in rows)
    found: list[tuple[int, list[str]]] = []
    cells: list[str] = []
    at, line, start = 0, rows[0][0] if rows else 1, 1
    cell_or_quoted = re.compile(rf"{QUOTED.pattern}(?=[\t\n]|\Z)|[^\t\n]*", re.DOTALL)
    while at <= len(whole):
        match = cell_or_quoted.match(whole, at)
        assert match is not None
        cells.append(match[0])
        line += match[0].count("\n")
        at = match.end() + 1
        if at > len(whole) or whole[at - 1] == "\n":
            if cells != [""] and len(cells) != width:
                return None
            found.append((start, cells))
            cells, line = [], line + 1
            start = line
    return found


def _undone(cell: str) -> str:
    found = QUOTED.fullmatch(cell)
    return found[1].replace('""', '"') if found else cell
