"""Rows of a TSV, CSV or JSONL file, read strictly: every refusal names the file, the line and the remedy."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from glue_tasks.errors import DataError
from glue_tasks.files import ordinary

SUFFIXES = (".tsv", ".csv", ".jsonl")

Rows = Iterator[tuple[int, Mapping[str, object]]]
"""(line number from 1, {column: value})"""


@dataclass(frozen=True)
class Table:
    """The columns asked for, and the line of the file that each row starts on."""

    columns: dict[str, list[str]]
    lines: list[int]


def read(
    file: Path,
    text: tuple[str, ...],
    label: str,
    label_required: bool = True,
    header: tuple[str, ...] = (),
    drop_short_rows: bool = False,
) -> Table:
    """Read the text columns and the label column; labels come as strings ("" for JSON's null).

    TSV: never quoted, columns end at a tab, rows at a newline. CSV: quoted as in RFC 4180. JSONL: one object
    a line. A leading byte order mark is dropped. `header` names the columns of a TSV without a header line;
    `drop_short_rows` leaves out TSV rows with too few columns. Without `label_required` the label column may
    be absent, and is then absent from the result.

    Raises `DataError`: unreadable or empty file, missing column, ragged row, broken CSV or JSON, a text that
    is no string.
    """
    if file.suffix == ".tsv":
        rows = _tsv(file, header, drop_short_rows)
    else:
        rows = _csv(file) if file.suffix == ".csv" else _jsonl(file)
    lines: list[int] = []
    wanted = (*text, label)
    columns: dict[str, list[str]] = {}
    try:
        for line, row in rows:
            if not lines:
                present = text if label not in row and not label_required else wanted
                columns = {name: [] for name in present}
            for name, values in columns.items():
                if name not in row:
                    place = f"{file}:{line}" if lines else file
                    raise DataError(
                        f"{place}: no column {name!r} (found {_quoted(row)}); the task has {_quoted(wanted)}"
                    )
                values.append(_label(row[name]) if name == label else _text(row[name], name, file, line))
            lines.append(line)
    except UnicodeDecodeError as error:
        raise DataError(f"{file}: not UTF-8 text ({error.reason} at byte {error.start}); convert it") from error
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check data.path") from error
    if not lines:
        raise DataError(f"{file}: no rows; the file is empty, fetch or write it again")
    return Table(columns, lines)


def _tsv(file: Path, header: tuple[str, ...], drop_short_rows: bool) -> Rows:
    # newline="\n" and split, never splitlines or the csv module: GLUE's texts hold lone quotes and U+2028
    with ordinary(file).open(encoding="utf-8-sig", newline="\n") as stream:
        names = header
        for number, line in enumerate(stream, start=1):
            cells = line.removesuffix("\n").removesuffix("\r").split("\t")
            if not names:
                names = _header(cells, file)
            elif len(cells) == len(names):
                yield number, dict(zip(names, cells, strict=True))
            elif not (drop_short_rows and len(cells) < len(names)):
                raise _ragged(file, number, len(cells), names, "tab-separated columns; tabs cannot be quoted")


def _csv(file: Path) -> Rows:
    with ordinary(file).open(encoding="utf-8-sig", newline="") as stream:
        reader = csv.reader(stream, strict=True)
        names: tuple[str, ...] = ()
        start = 1
        try:
            for cells in reader:
                if not names:
                    names = _header(cells, file)
                elif len(cells) != len(names):
                    raise _ragged(file, start, len(cells), names, "comma-separated columns; quote texts with commas")
                else:
                    yield start, dict(zip(names, cells, strict=True))
                start = reader.line_num + 1
        except csv.Error as error:
            raise DataError(f"{file}:{start}: broken CSV ({error}); a quote within a text is doubled") from error


def _jsonl(file: Path) -> Rows:
    with ordinary(file).open(encoding="utf-8-sig", newline="\n") as stream:
        for number, line in enumerate(stream, start=1):
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise DataError(f"{file}:{number}: not JSON ({error.msg}); one object per line") from error
            if not isinstance(row, dict):
                raise DataError(f"{file}:{number}: found {_shown(row)}; expected one JSON object per line")
            yield number, row


def _header(cells: list[str], file: Path) -> tuple[str, ...]:
    repeated = sorted({name for name in cells if cells.count(name) > 1})
    if repeated:
        raise DataError(f"{file}:1: the header repeats {_quoted(repeated)}; the first line must name each column once")
    return tuple(cells)


def _ragged(file: Path, line: int, found: int, names: tuple[str, ...], what: str) -> DataError:
    return DataError(f"{file}:{line}: found {found} column{'s' * (found != 1)}, expected {len(names)} {what}")


def _text(value: object, name: str, file: Path, line: int) -> str:
    if not isinstance(value, str):
        raise DataError(f"{file}:{line}: {name!r} is {_shown(value)}; expected a string of text")
    return value


def _label(value: object) -> str:
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def _quoted(names: Mapping[str, object] | list[str] | tuple[str, ...]) -> str:
    return ", ".join(repr(name) for name in names)


def _shown(value: object) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= 40 else f"{shown[:37]}..."
