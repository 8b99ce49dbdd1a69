"""One split of a task becomes a table in memory; every source gives the same columns and class ids."""

import hashlib
import json
import os
from pathlib import Path
from typing import Literal

from datasets import Dataset

from glue_tasks import own_files
from glue_tasks.documents import TASKS, columns
from glue_tasks.errors import DataError
from glue_tasks.files import inside
from glue_tasks.rows import read_table
from glue_tasks.tables import class_names, table
from glue_tasks.tasks import GLUE, Task

Source = Literal["hub", "tsv", "files", "sample", "text"]

GLUE_DIR = "FTREG_GLUE_DIR"
"""Environment variable that names the official GLUE download when no path is given."""


def load(task: Task, split: str, source: Source, path: str | None = None) -> Dataset:
    """Read one split. Columns `(*task.columns, "label", "idx")`.

    label: class id by position in `task.labels`, or float32 for a regression; -1 where a test row has none. Of a
    multi_label task the ascending ids of the row's labels, [-1] where it has none to be known; of a task of tokens an
    id for each token.
    idx: row number from 0.

    * `tsv`: the official GLUE download; `path` (default: `$FTREG_GLUE_DIR`) is the folder that holds `RTE/`.
    * `files`: your own; `path` is a folder with `<split>.tsv`, `.csv` or `.jsonl`, or a pattern such as
      `data/snli_{split}.jsonl`. Columns are looked up by `task.columns` and `task.label`; labels are mapped
      by name, and integers count as ids 0 to n-1 only where no name occurs. Test files may lack the labels.
      Quotes are undone in CSV, and in a TSV that can only be meant so. Sets of labels: see `glue_tasks.label_sets`;
      tokens: `glue_tasks.conll`.
    * `hub`: `task.hub`; labels are mapped by name too.
    * `sample`: the built-in sample of the GLUE tasks, offline.
    * `text`: plain text for the tasks of `glue_tasks.documents`, and no others; `path` is a UTF-8 file with a
      text on each line and empty lines between documents, or a folder of *.txt.

    Raises `DataError`.
    """
    if split not in task.splits:
        raise DataError(f"task {task.name!r} has no split {split!r}; it has {', '.join(task.splits)}")
    if (source == "text") != (task in TASKS.values()):
        raise _misplaced(task, source)
    if source == "text":
        return table(task, columns(task, path))
    if source == "tsv":
        return _official(task, split, path)
    if source == "files":
        return own_files.load_own_files(task, split, path)
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
    """Return sha256 of a table's content (column names, class names, values), however it was read or stored."""
    digest = hashlib.sha256()
    for name in dataset.column_names:
        digest.update(json.dumps([name, class_names(dataset, name), dataset[name][:]]).encode())
    return digest.hexdigest()


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
            f"{root}: no folder {' or '.join(tsv.folder)} ({inside(root)}); "
            f"data.path (or {GLUE_DIR}) is the folder that holds {', '.join(t.title for t in GLUE.values())}"
        )
    file = folders[0] / f"{tsv.file or split}.tsv"
    if not file.is_file():
        others = [name for name in task.dev if (folders[0] / f"{name}.tsv").is_file()]
        remedy = f", or train on a split that is there: data.train_split={others[0]}" if others else ""
        raise DataError(
            f"{file}: no such file ({inside(folders[0])}); complete the download{remedy if split == task.train else ''}"
        )
    withheld = split in task.test
    names = tsv.columns or task.columns
    header = () if withheld else tsv.header  # CoLA's test file does have a header line
    found = read_table(file, names, tsv.label, not withheld, header, tsv.drop_short_rows)
    return own_files.encoded_rows(task, found, file, names, tsv.label, tsv.values or task.labels, withheld)


# The Hub


def _hub(task: Task, split: str) -> Dataset:
    from glue_tasks import hub  # reaches for the network client, which no other source needs

    return hub.load_from_hub(task, split)


# The built-in sample


def _sample(task: Task, split: str) -> Dataset:
    from glue_tasks.sample import rows

    known = GLUE.get(task.name)
    if known is None or (known.columns, known.labels, known.kind) != (task.columns, task.labels, task.kind):
        raise DataError(
            f"task {task.name!r} has no built-in sample (only {', '.join(GLUE)}); use data.source=files with data.path"
        )
    return table(task, rows(task.name, split))
