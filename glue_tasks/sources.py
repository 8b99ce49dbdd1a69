"""One split of a task as a table in memory; every source gives the same columns and class ids."""

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from datasets import ClassLabel, Dataset, Features, Value
from pytorch_lightning.utilities import rank_zero_warn

from glue_tasks.documents import TASKS, columns
from glue_tasks.errors import DataError
from glue_tasks.files import ordinary
from glue_tasks.labels import UNLABELLED, encode, whole
from glue_tasks.rows import SUFFIXES, Table, read
from glue_tasks.shown import listed, nearest, shown
from glue_tasks.tasks import GLUE, Task

Source = Literal["hub", "tsv", "files", "sample", "text"]

GLUE_DIR = "FTREG_GLUE_DIR"
"""Environment variable that names the official GLUE download when no path is given."""


def load(task: Task, split: str, source: Source, path: str | None = None) -> Dataset:
    """Read one split. Columns `(*task.columns, "label", "idx")`.

    label: class id by position in `task.labels`, or float32 for a regression; -1 where a test row has none.
    idx: row number from 0.

    * `tsv`: the official GLUE download; `path` (default: `$FTREG_GLUE_DIR`) is the folder that holds `RTE/`.
    * `files`: your own; `path` is a folder with `<split>.tsv`, `.csv` or `.jsonl`, or a pattern such as
      `data/snli_{split}.jsonl`. Columns are looked up by `task.columns` and `task.label`; labels are mapped
      by name, and integers count as ids 0 to n-1 only where no name occurs. Test files may lack the labels.
      Quotes are undone in CSV, and in a TSV that can only be meant so.
    * `hub`: `task.hub`; labels are mapped by name too.
    * `sample`: the built-in sample of the GLUE tasks, offline.
    * `text`: plain text for the tasks of `glue_tasks.documents`, and no others; `path` is a UTF-8 file with a
      text on each line and empty lines between documents, or a folder of *.txt.

    Raises `DataError`.
    """
    if split not in task.splits:
        raise DataError(f"task {task.name!r} has no split {split!r}; it has {', '.join(task.splits)}")
    if task.kind in ("multi_label", "tokens"):
        raise DataError(f"task {task.name!r} is of kind {task.kind}, which no data.source serves as yet")
    if (source == "text") != (task in TASKS.values()):
        raise _misplaced(task, source)
    if source == "text":
        return _table(task, columns(task, path))
    if source == "tsv":
        return _official(task, split, path)
    if source == "files":
        return _files(task, split, path)
    if source == "hub":
        return _hub(task, split)
    if source == "sample":
        return _sample(task, split)
    raise DataError(f"data.source={source!r} is unknown; choose from hub, tsv, files, sample, text")


def _misplaced(task: Task, source: Source) -> DataError:
    if source == "text":
        return DataError(
            f"data.source=text is plain text for the tasks {', '.join(TASKS)}; "
            f"for task {task.name!r} choose another data.source"
        )
    return DataError(
        f"task {task.name!r} is made from plain text, which data.source={source} has not; "
        "use data.source=text with data.path, a file or a folder of *.txt"
    )


def fingerprint(dataset: Dataset) -> str:
    """sha256 of a table's content (column names, class names, values), however it was read or stored."""
    digest = hashlib.sha256()
    for name in dataset.column_names:
        names = getattr(dataset.features[name], "names", None)
        digest.update(json.dumps([name, names, dataset[name][:]]).encode())
    return digest.hexdigest()


def _table(task: Task, columns: Mapping[str, Sequence[object]]) -> Dataset:
    """The text and label columns as a Dataset, rows numbered."""
    features = Features(
        {name: Value("string") for name in task.columns}
        | {"label": Value("float32") if task.regression else ClassLabel(names=list(task.labels))}
        | {"idx": Value("int32")}
    )
    idx = range(len(columns["label"]))
    # numbered here for every source: the Hub's own idx skips numbers in MRPC
    return Dataset.from_dict({**{name: columns[name] for name in (*task.columns, "label")}, "idx": idx}, features)


# The official download


def _official(task: Task, split: str, path: str | None) -> Dataset:
    tsv = task.tsv
    if tsv is None:
        raise DataError(f"task {task.name!r} is not in the official GLUE download; use data.source=files or hub")
    place = path or os.environ.get(GLUE_DIR)
    if not place:
        raise DataError(f"data.source=tsv needs data.path (or {GLUE_DIR}): the folder that holds {tsv.folder[0]}/")
    root = Path(place).expanduser()
    folders = [root / name for name in tsv.folder if (root / name).is_dir()]
    if not folders:
        raise DataError(
            f"{root}: no folder {' or '.join(tsv.folder)} ({_inside(root)}); "
            f"data.path (or {GLUE_DIR}) is the folder that holds {', '.join(t.title for t in GLUE.values())}"
        )
    file = folders[0] / f"{tsv.file or split}.tsv"
    if not file.is_file():
        others = [name for name in task.dev if (folders[0] / f"{name}.tsv").is_file()]
        remedy = f", or train on a split that is there: data.train_split={others[0]}" if others else ""
        raise DataError(
            f"{file}: no such file ({_inside(folders[0])}); complete the download"
            f"{remedy if split == task.train else ''}"
        )
    withheld = split in task.test
    names = tsv.columns or task.columns
    header = () if withheld else tsv.header  # CoLA's test file does have a header line
    table = read(file, names, tsv.label, not withheld, header, tsv.drop_short_rows)
    return _encoded(task, table, file, names, tsv.label, tsv.values or task.labels, withheld)


# Files of one's own


def _files(task: Task, split: str, path: str | None) -> Dataset:
    withheld = split in task.test
    file = _find(split, path)
    table = read(file, task.columns, task.label, not withheld, may_be_quoted=True)
    if table.unnamed:
        rank_zero_warn(
            f"{file}: columns without a name are not read, but {len(table.unnamed)} rows hold something there, the "
            f"first on line {table.unnamed[0]}; is that a text with a delimiter in it that is not quoted?"
        )

    def from_zero() -> bool:
        """Whether label 0 occurs in train, for a file in which it does not."""
        if task.train in (None, split):
            return False
        try:
            train = read(_find(str(task.train), path), task.columns, task.label, may_be_quoted=True)
        except DataError:
            return False
        return "0" in map(whole, train.columns[task.label])

    return _encoded(task, table, file, task.columns, task.label, (), withheld, from_zero)


def _find(split: str, path: str | None) -> Path:
    """The one file of a split."""
    if not path:
        raise DataError("data.source=files needs data.path: a folder, or a pattern such as data/{split}.csv")
    if "{split}" in path:
        file = Path(path.replace("{split}", split)).expanduser()
        if file.suffix not in SUFFIXES:
            raise DataError(f"data.path={path}: a pattern must end in {', '.join(SUFFIXES)}")
        if not ordinary(file).is_file():
            raise DataError(f"{file}: no such file ({_inside(file.parent)}); check data.path and the task's splits")
        return file
    folder = Path(path).expanduser()
    found = [file for suffix in SUFFIXES if ordinary(file := folder / f"{split}{suffix}").is_file()]
    if not found:
        raise DataError(
            f"{folder}: no {split}.tsv, {split}.csv or {split}.jsonl ({_inside(folder)}); "
            "check data.path and the task's splits, or give a pattern such as data/{split}.csv"
        )
    if len(found) > 1:
        raise DataError(
            f"{folder}: {' and '.join(file.name for file in found)} are both there; "
            f"choose one with data.path={folder}/{{split}}{found[0].suffix}"
        )
    return found[0]


def _encoded(
    task: Task,
    table: Table,
    file: Path,
    names: tuple[str, ...],
    label: str,
    written: tuple[str, ...],
    withheld: bool,
    from_zero: Callable[[], bool] = lambda: False,
) -> Dataset:
    texts = {ours: table.columns[theirs] for ours, theirs in zip(task.columns, names, strict=True)}
    if label not in table.columns:
        return _table(task, {**texts, "label": [UNLABELLED] * len(table.lines)})
    labels = encode(task, table.columns[label], lambda row: f"{file}:{table.lines[row]}", written, withheld, from_zero)
    return _table(task, {**texts, "label": labels})


def _inside(folder: Path) -> str:
    if not folder.exists():
        return "there is no such folder"
    if not folder.is_dir():
        return "it is a file"
    names = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
    return f"found {', '.join(names[:8])}{', ...' * (len(names) > 8)}" if names else "it is empty"


# The Hub


def _hub(task: Task, split: str) -> Dataset:
    from glue_tasks.hub import fetch  # reaches for the network client, which no other source needs

    data, place = fetch(task, split)
    missing = [name for name in (*task.columns, task.label) if name not in data.column_names]
    if missing and not (missing == [task.label] and split in task.test):
        near = nearest(missing[0], data.column_names)
        raise DataError(f"{place}: no column {missing[0]!r}; {near}it has {listed(data.column_names)}")
    texts = {name: data[name][:] for name in task.columns}
    for name, column in texts.items():
        for row, value in enumerate(column):
            if not isinstance(value, str):
                raise DataError(
                    f"{place}, row {row}: {name!r} is {shown(value)}; expected text, so choose other columns"
                )
    if missing:
        return _table(task, {**texts, "label": [UNLABELLED] * len(data)})
    names = getattr(data.features[task.label], "names", None)
    found = [_written(value, names) for value in data[task.label][:]]
    labels = encode(task, found, lambda row: f"{place}, row {row}", (), split in task.test)
    return _table(task, {**texts, "label": labels})


def _written(value: object, names: list[str] | None) -> str:
    """A Hub label by its name, where its column has names."""
    if value is None:
        return ""
    return names[value] if names and isinstance(value, int) and value >= 0 else str(value)


# The built-in sample


def _sample(task: Task, split: str) -> Dataset:
    from glue_tasks.sample import rows

    known = GLUE.get(task.name)
    if known is None or (known.columns, known.labels, known.kind) != (task.columns, task.labels, task.kind):
        raise DataError(
            f"task {task.name!r} has no built-in sample (only {', '.join(GLUE)}); use data.source=files with data.path"
        )
    return _table(task, rows(task.name, split))
