"""`metrics.csv` gets a row each time that something is logged.

A row is appended; a new column has the whole file written beside and moved. So a kill, a full disk or a power cut can
only tear the last line, and that is of a step after the last checkpoint, which is done again.

Nothing here imports torch.
"""

import csv
import io
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftreg._base.atomic import one_line_errors, write_atomically
from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary

STEP = "step"
HEADER = re.compile(r"[^\s\0\ufffd]*")
"""What a header may be torn to."""


@dataclass(frozen=True)
class Content:
    """The content of a file is its columns, rows of as many cells, and the number of lines that are no row."""

    columns: list[str]
    rows: list[list[str]]
    torn: int = 0


class History:
    """The `metrics.csv` of one run, for its writer.

    Args:
        path: where it is, or will be.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._columns: list[str] | None = None

    def add(self, values: Mapping[str, Any], step: int) -> None:
        """Append a row.

        Raises:
            UsageError: the disk is full, say, or something else lies at the path.
        """
        row = {name: _plain(value) for name, value in values.items()} | {STEP: str(step)}
        if self._columns is None:
            before = read_history(self.path)
            if before.torn:
                self._write(before.columns, before.rows)
            self._columns = before.columns
        if not self.path.is_file() or not row.keys() <= {*self._columns}:
            before = read_history(self.path)
            columns = sorted({*before.columns, *row})
            rows = [dict(zip(before.columns, cells, strict=True)) for cells in before.rows]
            self._write(columns, [[each.get(name, "") for name in columns] for each in [*rows, row]])
        else:
            self._append(_line([row.get(name, "") for name in self._columns]).encode(errors="backslashreplace"))

    def forget(self, step: int, due: Mapping[str, Any] | None = None) -> str:
        """Take the rows at the end away that a run wrote after the checkpoint that it now goes on from.

        Args:
            step: optimizer steps at the checkpoint.
            due: what the last of them logs, if the checkpoint is from before that.

        Returns:
            a line that says what was lost; empty if nothing was.

        Raises:
            UsageError: the file cannot be one that ftreg wrote.
        """
        before = read_history(self.path)
        kept = list(before.rows)
        at = before.columns.index(STEP) if kept else 0
        while kept and int(kept[-1][at]) >= step:
            kept.pop()
        if before.torn or len(kept) < len(before.rows):
            self._write(before.columns, kept)
        if due is not None and (not kept or int(kept[-1][at]) < step - 1):
            self.add(due, step - 1)
        lost = [f"{before.torn} torn line{'s' * (before.torn > 1)}"] if before.torn else []
        lost += [f"the steps after {step}, which are done again"] if len(kept) < len(before.rows) else []
        return f"{self.path}: goes on without {' and '.join(lost)}" if lost else ""

    def sync(self) -> None:
        """Put the file onto the disk."""
        if self.path.is_file():
            with one_line_errors(self.path), open(self.path, "rb+") as file:
                os.fsync(file.fileno())

    def _write(self, columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
        text = "".join(map(_line, [columns, *rows] if columns else []))
        write_atomically(self.path, lambda temporary: temporary.write_bytes(text.encode(errors="backslashreplace")))
        self._columns = list(columns)

    def _append(self, line: bytes) -> None:
        with one_line_errors(self.path), open(self.path, "ab", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            try:
                while line:
                    line = line[file.write(line) :]
            except OSError:
                file.truncate(size)
                raise


def read_history(path: Path) -> Content:
    """Return the columns and rows of a file; none where there is no file.

    What a kill or a power cut leaves is no row: a last line without its end, a blank one, one of NUL bytes, one with
    too few or too many cells, a second header.

    Raises:
        UsageError: no header with a step, or no row at all under it: the file is of something else.
    """
    try:
        lines = ordinary(path, most=None).read_bytes().decode("utf-8-sig", errors="replace").split("\n")
    except FileNotFoundError:
        return Content([], [])
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); move it away") from None
    *whole, tail = lines
    filled = [line for line in whole if line.strip("\0 \t\r")]
    torn = len(whole) - len(filled) + bool(tail)
    if not filled and HEADER.fullmatch(tail.rstrip("\0")):
        return Content([], [], torn)
    head, *rest = map(_cells, filled or [tail])
    if STEP not in head or len({*head}) < len(head) or not all(name.isprintable() for name in head):
        raise UsageError(f"{path}: not the CSV file that ftreg writes: its first line has no {STEP!r}; move it away")
    at = head.index(STEP)
    rows = [cells for cells in rest if len(cells) == len(head) and _is_step(cells[at])]
    if not rows and len(rest) > 1:
        raise UsageError(f"{path}: not the CSV file that ftreg writes: no line has a {STEP}; move it away")
    return Content(head, rows, torn + len(rest) - len(rows))


def _cells(line: str) -> list[str]:
    try:
        return next(csv.reader([line.removesuffix("\r")]), [])
    except csv.Error:
        return []


def _is_step(cell: str) -> bool:
    return cell.isascii() and cell.isdecimal() and len(cell) < 18


def _line(cells: Sequence[str]) -> str:
    text = io.StringIO(newline="")
    csv.writer(text).writerow(cells)
    return text.getvalue()


def _plain(value: Any) -> str:
    """Return a value as a cell, in one line, since every line is a row."""
    plain = value.item() if hasattr(value, "item") else value
    return "" if plain is None else " ".join(str(plain).split())
