"""The GLUE server takes one TSV of predictions per test split, zipped together."""

import math
import operator
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from glue_tasks.atomic import together
from glue_tasks.errors import DataError
from glue_tasks.files import ordinary
from glue_tasks.shown import listed, nearest, shown
from glue_tasks.tasks import GLUE, Task

PLACEHOLDER = "placeholder"
ZIP = "submission.zip"
LARGEST = 100 * 10**6
"""Bytes of a file of predictions."""
_HEADER = "index\tprediction"


@dataclass(frozen=True)
class _Slot:
    """A slot is one server file."""

    task: Task
    file: str
    rows: int
    values: tuple[str, ...]
    """How the classes are written, in id order; () = numbers of a regression."""


def _slots() -> dict[str, _Slot]:
    """Map `task.split` to its server file."""
    return {
        f"{task.name}.{split}": _Slot(task, file, rows, task.server.values or task.labels)
        for task in GLUE.values()
        if task.server is not None
        for split, file, rows in zip(task.test, task.server.files, task.server.rows, strict=True)
    }


def write_submission(predictions: Mapping[str, Sequence[float]], folder: Path) -> dict[str, str]:
    """Write the 11 files and `submission.zip`; return file name to its source: `task.split` or "placeholder".

    predictions: `task.split` ("rte.test", "mnli.test_matched", "ax.test" of the MNLI model) to one class id
    per test row, in row order (floats for STS-B: clipped to its range, three decimals). The server wants all
    files: one not given is filled with the task's first class, or 0, and reported as a placeholder: its score
    means nothing.

    Raises `DataError`, with nothing written: unknown key, wrong number of rows, a value that is no class id
    or no number.
    """
    slots = _slots()
    for key in predictions:
        if key not in slots:
            near = nearest(key, slots)
            raise DataError(f"predictions {key!r}: not a test split of GLUE; {near}expected {', '.join(slots)}")
    texts = {slot.file: _text(key, slot, predictions.get(key)) for key, slot in slots.items()}
    try:
        with together(folder) as place:
            for name, text in texts.items():
                (place / name).write_bytes(text.encode())
            with zipfile.ZipFile(place / ZIP, "w", zipfile.ZIP_DEFLATED) as archive:
                for name, text in texts.items():
                    info = zipfile.ZipInfo(name)  # no clock: same input, same bytes
                    archive.writestr(info, text, zipfile.ZIP_DEFLATED)
            validate_submission(place / ZIP)
    except OSError as error:
        raise DataError(f"{folder}: cannot be written ({error.strerror}); make room, or give another folder") from error
    return {slot.file: key if key in predictions else PLACEHOLDER for key, slot in slots.items()}


def validate_submission(file: Path) -> None:
    """Check a zip as the server would; `DataError` at the first thing it would refuse."""
    slots = {slot.file: slot for slot in _slots().values()}
    try:
        with zipfile.ZipFile(ordinary(file)) as archive:
            names = archive.namelist()
            if set(names) != set(slots) or len(names) != len(slots):
                raise DataError(f"{file}: holds {listed(names)}; expected exactly {listed(slots)}")
            texts = {name: _unpacked(archive, name) for name in slots}
    except DataError:
        raise
    except Exception as error:  # whatever zipfile and its decompressors raise for a damaged one
        reason = f"{type(error).__name__}: {error}"
        raise DataError(f"{file}: no zip of text files that can be read ({reason}); write it again") from error
    for name, slot in slots.items():
        _check(f"{file}/{name}", texts[name], slot)


def _unpacked(archive: zipfile.ZipFile, name: str) -> str:
    """Return the text of a file in a zip; `DataError` for one that would fill the memory."""
    size = archive.getinfo(name).file_size
    if size > LARGEST:
        raise DataError(f"{archive.filename}/{name}: {size:,} bytes; a file of predictions has {LARGEST:,} at most")
    return archive.read(name).decode()


def _check(place: str, text: str, slot: _Slot) -> None:
    header, *lines = text.removesuffix("\n").split("\n")
    if header != _HEADER:
        raise DataError(f"{place}:1: header {header!r}; expected {_HEADER!r}")
    if len(lines) != slot.rows:
        raise DataError(f"{place}: {len(lines)} rows; the server expects {slot.rows}")
    for row, line in enumerate(lines):
        index, _, value = line.partition("\t")
        if index != str(row):
            raise DataError(f"{place}:{row + 2}: index {index!r}; expected {row}, rows are sorted from 0")
        if value not in slot.values if slot.values else not _in_range(value, slot.task):
            raise DataError(f"{place}:{row + 2}: prediction {value!r}; expected {_expected(slot)}")


def _text(key: str, slot: _Slot, found: Sequence[float] | None) -> str:
    """Return a server file's content."""
    values = [0] * slot.rows if found is None else found
    if not hasattr(values, "__len__") or isinstance(values, str | bytes | Mapping):
        raise DataError(f"predictions {key!r}: found {shown(values)}; give a list with one for each row")
    if len(values) != slot.rows:
        raise DataError(f"predictions {key!r}: {len(values)} rows; the server expects {slot.rows}, the split's rows")
    lines = [f"{row}\t{_value(key, slot, row, value)}" for row, value in enumerate(values)]
    return "\n".join((_HEADER, *lines, ""))


def _value(key: str, slot: _Slot, row: int, value: float) -> str:
    if slot.values:
        try:
            label = operator.index(value)  # type: ignore[arg-type]
        except TypeError:
            label = -1
        if 0 <= label < len(slot.values):
            return slot.values[label]
    elif math.isfinite(value):
        low, high = slot.task.range or (-math.inf, math.inf)
        return f"{min(max(value, low), high) + 0.0:.3f}"  # + 0.0: no "-0.000"
    raise DataError(f"predictions {key!r}, row {row}: {value!r}; expected {_expected(slot, ids=True)}")


def _expected(slot: _Slot, ids: bool = False) -> str:
    if not slot.values:
        return "a finite number"
    return f"a class id from 0 to {len(slot.values) - 1}" if ids else f"one of {', '.join(slot.values)}"


def _in_range(value: str, task: Task) -> bool:
    low, high = task.range or (-math.inf, math.inf)
    try:
        return low <= float(value) <= high
    except ValueError:
        return False
