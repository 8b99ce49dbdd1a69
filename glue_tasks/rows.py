"""Rows of a TSV, CSV or JSONL file are read strictly: every refusal names the file, the line and the remedy."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glue_tasks.cells import Cells, perhaps_quoted, separated, tabbed
from glue_tasks.decoding import lines
from glue_tasks.errors import DataError
from glue_tasks.shown import nearest, quoted, shown

SUFFIXES = (".tsv", ".csv", ".jsonl")
DELIMITERS = {".tsv": ("tab", "\t"), ".csv": ("comma", ",")}
OTHERS = {";": "semicolons", "\t": "tabs", ",": "commas", "|": "bars"}

Rows = Iterator[tuple[int, Mapping[str, object]]]
"""(line number from 1, {column: value})"""


@dataclass(frozen=True)
class Table:
    """A table has the columns asked for, and the line of the file that each row starts on."""

    columns: dict[str, list[str]]
    lines: list[int]
    unnamed: tuple[int, ...] = ()
    """Lines with text in a column that has no name, which nothing reads."""


def read_table(
    file: Path,
    text: tuple[str, ...],
    label: str,
    label_required: bool = True,
    header: tuple[str, ...] = (),
    drop_short_rows: bool = False,
    may_be_quoted: bool = False,
    flags: tuple[str, ...] = (),
) -> Table:
    """Read the text columns and the label column; labels come as strings ("" for JSON's null).

    TSV: columns end at a tab, rows at a newline; never quoted, unless it `may_be_quoted` and can only be that (see
    `glue_tasks.cells`). CSV: quoted as in RFC 4180. JSONL: one object a line. A leading byte order mark, blank lines,
    empty rows at the end and columns that nobody asked for are passed over. `header` names the columns of a TSV without
    a header line; `drop_short_rows` leaves out TSV rows with too few columns. Without `label_required` the label column
    may be absent, and is then absent from the result. In place of it there may be a column for each of the `flags`.

    Raises `DataError`: unreadable or empty file, not UTF-8, missing column, ragged row, broken CSV or JSON, a text that
    is no string.
    """
    wanted, unnamed = (*text, label), list[int]()
    if file.suffix == ".jsonl":
        rows = objects(file)
    else:
        rows = _separated(_cells(file, may_be_quoted), file, (*wanted, *flags), header, drop_short_rows, unnamed)
    found: list[int] = []
    columns: dict[str, list[str]] = {}
    for line, row in rows:
        if not found:
            present = text if label not in row and not label_required else wanted
            if flags:
                present = _flagged(text, label, flags, row, file) or present
            columns = {name: [] for name in present}
        for name, values in columns.items():
            if name not in row:
                place = f"{file}:{line}" if found else str(file)
                raise DataError(f"{place}: {_no_column(name, list(row), wanted, file)}")
            values.append(_label(row[name]) if name == label or name in flags else _text(row[name], name, file, line))
        found.append(line)
    if not found:
        raise DataError(f"{file}: no rows; the file is empty, or has a header alone: fetch or write it again")
    return Table(columns, found, tuple(unnamed))


def _flagged(
    text: tuple[str, ...], label: str, flags: tuple[str, ...], row: Mapping[str, object], file: Path
) -> tuple[str, ...]:
    """Return the columns of a file with one for each flag; none if it has none of those."""
    there = [name for name in flags if name in row]
    if not there or (label in row and len(there) < len(flags)):
        return ()
    if label in row:
        raise DataError(
            f"{file}: a column {shown(label)}, and one for each of the labels; which of them are they in? Leave one out"
        )
    if len(there) < len(flags):
        lacking = quoted(name for name in flags if name not in row)
        raise DataError(f"{file}: columns for {quoted(there)}, but none for {lacking}; write 0 or 1 for every label")
    return (*text, *flags)


def _cells(file: Path, may_be_quoted: bool) -> Cells:
    if file.suffix == ".csv":
        return separated(lines(file), file)
    return perhaps_quoted(lines(file), file) if may_be_quoted else tabbed(lines(file))


def _separated(
    cells: Cells,
    file: Path,
    wanted: tuple[str, ...],
    header: tuple[str, ...],
    drop_short_rows: bool,
    unnamed: list[int],
) -> Rows:
    names, held, skipped = header, list[tuple[int, list[str]]](), 0
    for line, row in cells:
        blank = not "".join(row).strip()
        if not names:
            if not blank:
                names = _header(row, file, line, wanted)
            continue
        if blank and len(row) <= 1:
            # of one column, an empty line may be an empty text; csv gives no cell for a blank line
            skipped = skipped or (line if len(names) == 1 and row else 0)
            continue
        if skipped:
            raise DataError(
                f"{file}:{skipped}: an empty line between rows of one column; leave it out, or, "
                'if it is an empty text, write "" in a CSV'
            )
        if blank:
            held.append((line, row))  # a row without anything in it counts unless it is among the last
            continue
        for number, full in (*held, (line, row)):
            if drop_short_rows and len(full) < len(names):
                continue
            yield number, _row(full, names, file, number, unnamed)
        held.clear()


def _row(cells: list[str], names: tuple[str, ...], file: Path, line: int, unnamed: list[int]) -> dict[str, object]:
    """Return a row by column; cells beyond the last named column need not be there, and are counted where they are."""
    named = max((place for place, name in enumerate(names, start=1) if name.strip()), default=0)
    if len(cells) < named or any(cells[len(names) :]):
        what, delimiter = DELIMITERS[file.suffix]
        hint = "quote texts with commas" if delimiter == "," else "tabs cannot be quoted"
        found = f"found {len(cells)} column{'s' * (len(cells) != 1)}, expected {len(names)}"
        raise DataError(f"{file}:{line}: {found} {what}-separated columns; {hint}")
    if any(cells[named : len(names)]):
        unnamed.append(line)
    return dict(zip(names, cells, strict=False))


def objects(file: Path) -> Rows:
    """Yield the objects of a JSONL file, by line; `DataError` for a line that is none."""
    for number, line in enumerate(lines(file), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line, object_pairs_hook=_once)
        except (ValueError, RecursionError) as error:  # int() refuses 5,000 digits
            reason = error.msg if isinstance(error, json.JSONDecodeError) else str(error)[:100]
            raise DataError(
                f"{file}:{number}: not JSON ({reason}); one object per line, without commas between"
            ) from error
        if not isinstance(row, dict):
            raise DataError(f"{file}:{number}: found {shown(row)}; expected one JSON object per line")
        yield number, row


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    row = dict(pairs)
    if len(row) < len(pairs):
        raise ValueError(f"a key twice among {quoted(key for key, _ in pairs)}")
    return row


def _header(cells: list[str], file: Path, line: int, wanted: tuple[str, ...]) -> tuple[str, ...]:
    if any("\r" in name for name in cells):
        raise DataError(f"{file}: its lines end with CR alone; convert it by: tr '\\r' '\\n' < OLD > NEW")
    repeated = [name for name in wanted if cells.count(name) > 1]
    if repeated:
        remedy = "the first line must name each column once"
        raise DataError(f"{file}:{line}: the header repeats {quoted(repeated)}; {remedy}")
    return tuple(cells)


def _no_column(name: str, found: list[str], wanted: tuple[str, ...], file: Path) -> str:
    if len(found) == 1 and file.suffix in DELIMITERS:
        for delimiter, what in OTHERS.items():
            if name in (part.strip(' "') for part in found[0].split(delimiter)):
                right = "save it as .tsv" if delimiter == "\t" else f"write {DELIMITERS[file.suffix][0]}s instead"
                return f"its columns are separated by {what}, and those of a {file.suffix} file are not; {right}"
    near = nearest(name, [text for text in found if text.strip()])
    return f"no column {shown(name)} (found {quoted(found)}); {near}the task has {quoted(wanted)}"


def _text(value: object, name: str, file: Path, line: int) -> str:
    if not isinstance(value, str):
        raise DataError(f"{file}:{line}: {name!r} is {shown(value)}; expected a string of text, in quotes")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError as error:
            escape = f"\\u{ord(value[error.start]):04x}"
            raise DataError(f"{file}:{line}: {name!r} holds {escape}, half of a character; mend the text") from error
    return value


def _label(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)
