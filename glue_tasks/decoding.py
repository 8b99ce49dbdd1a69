"""Files are read as lines of UTF-8 text; one that is none is refused with the line, and what it looks like instead."""

import codecs
from collections.abc import Iterator
from pathlib import Path

from glue_tasks.errors import DataError
from glue_tasks.files import ordinary
from glue_tasks.shown import shown

PACKED = {
    b"\x1f\x8b": ("compressed with gzip", "unpack it: gunzip, or gzip -d"),
    b"PK\x03\x04": ("a zip file or an Excel workbook", "unpack it, or export it as CSV in UTF-8"),
    b"\xd0\xcf\x11\xe0": ("an old Excel workbook", "export it as CSV in UTF-8"),
    b"PAR1": ("a Parquet file", "write it as CSV, TSV or JSONL"),
    b"BZh": ("compressed with bzip2", "unpack it: bunzip2"),
    b"\xfd7zXZ": ("compressed with xz", "unpack it: unxz"),
    b"(\xb5/\xfd": ("compressed with zstd", "unpack it: unzstd"),
}
WIDE = {  # UTF-32 first: its mark begins with that of UTF-16
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
AROUND = 12
"""Characters that are shown on either side of what cannot be decoded."""


def lines(file: Path) -> Iterator[str]:
    r"""Yield the lines with their ends, which are `\n`, without a byte order mark.

    Raises `DataError`: it cannot be read, is no ordinary file, is in another encoding or none, holds a NUL.
    """
    at = 0
    try:
        with ordinary(file).open("rb") as stream:
            for number, line in enumerate(stream, start=1):
                if number == 1:
                    _check_start(file, line)
                    at = len(line) - len(line.removeprefix(codecs.BOM_UTF8))
                    line = line[at:]
                if b"\0" in line:
                    raise _nul(file, number, line)
                try:
                    # by the line: the place of an error in a text stream is that within its last block
                    yield line.decode()
                except UnicodeDecodeError as error:
                    raise _undecoded(file, number, at + error.start, line, error) from error
                at += len(line)
    except OSError as error:
        raise DataError(f"{file}: cannot be read ({error.strerror}); check data.path") from error


def _check_start(file: Path, line: bytes) -> None:
    for mark, (what, remedy) in PACKED.items():
        if line.startswith(mark):
            raise DataError(f"{file}: {what}, not text; {remedy}")
    for mark, name in WIDE.items():
        if line.startswith(mark):
            raise DataError(f"{file}: {name} text, not UTF-8; {_convert(name)}")


def _nul(file: Path, number: int, line: bytes) -> DataError:
    if line.count(0) * 3 > len(line):
        return DataError(f"{file}:{number}: every second byte is NUL, as in UTF-16 text; {_convert('UTF-16LE')}")
    return DataError(f"{file}:{number}: holds a NUL byte, which no text does; mend or leave out the line")


def _undecoded(file: Path, number: int, at: int, line: bytes, error: UnicodeDecodeError) -> DataError:
    start, end = max(0, error.start - AROUND), error.start + AROUND
    try:
        name, text = "Windows-1252", line[start:end].decode("cp1252")
    except UnicodeDecodeError:
        name, text = "Latin-1", line[start:end].decode("latin-1")
    return DataError(
        f"{file}:{number}: not UTF-8 text (byte {at} of the file is 0x{line[error.start]:02x}; as {name} it reads "
        f"{shown(text.strip())}); {_convert(name)}"
    )


def _convert(name: str) -> str:
    return f"if that is right, convert it by: iconv -f {name.upper()} -t UTF-8 OLD > NEW"
