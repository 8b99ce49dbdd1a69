"""Files of one's own are found, one a split, and their rows become a table."""

from collections.abc import Callable
from pathlib import Path

from datasets import Dataset
from pytorch_lightning.utilities import rank_zero_warn

from glue_tasks import conll, label_sets
from glue_tasks.errors import DataError
from glue_tasks.files import inside, ordinary
from glue_tasks.labels import UNLABELLED, encode, whole
from glue_tasks.rows import SUFFIXES, Table, read_table
from glue_tasks.shown import listed
from glue_tasks.tables import table
from glue_tasks.tasks import Task

TOKEN_SUFFIXES = (".conll", ".txt", ".tsv", ".jsonl")
"""Files with a token a line end so, and JSONL with lists; in a pattern, any other ending means a token a line too."""


def load_own_files(task: Task, split: str, path: str | None) -> Dataset:
    """Read the rows of a split of a task's own files, as `glue_tasks.sources.load` describes them.

    Raises `DataError`.
    """
    withheld = split in task.test
    if task.kind == "tokens":
        return _tokens(task, _find(split, path, TOKEN_SUFFIXES), withheld)
    file = _find(split, path, SUFFIXES)
    sets = task.kind == "multi_label" and not {*task.labels} & {*task.columns}
    found = read_table(
        file, task.columns, task.label, not withheld, may_be_quoted=True, flags=task.labels if sets else ()
    )
    if found.unnamed:
        rank_zero_warn(
            f"{file}: columns without a name are not read, but {len(found.unnamed)} rows hold something there, the "
            f"first on line {found.unnamed[0]}; is that a text with a delimiter in it that is not quoted?"
        )
    if task.kind == "multi_label":
        return _sets(task, found, file, withheld)

    def from_zero() -> bool:
        """Return whether label 0 occurs in train, for a file in which it does not."""
        if task.train in (None, split):
            return False
        try:
            train = read_table(_find(str(task.train), path, SUFFIXES), task.columns, task.label, may_be_quoted=True)
        except DataError:
            return False
        return "0" in map(whole, train.columns[task.label])

    return encoded_rows(task, found, file, task.columns, task.label, (), withheld, from_zero)


def _find(split: str, path: str | None, suffixes: tuple[str, ...]) -> Path:
    """Return the one file of a split, with one of the endings."""
    example = f"data/{{split}}{suffixes[0] if suffixes is TOKEN_SUFFIXES else '.csv'}"
    if not path:
        raise DataError(f"data.source=files needs data.path: a folder, or a pattern such as {example}")
    if "{split}" in path:
        file = Path(path.replace("{split}", split)).expanduser()
        if suffixes is TOKEN_SUFFIXES and file.suffix == ".csv":
            raise DataError(
                f"data.path={path}: tokens are read a line each, with spaces or tabs; a CSV file has neither"
            )
        if suffixes is not TOKEN_SUFFIXES and file.suffix not in suffixes:
            raise DataError(f"data.path={path}: a pattern must end in {', '.join(suffixes)}")
        if not ordinary(file).is_file():
            raise DataError(f"{file}: no such file ({inside(file.parent)}); check data.path and the task's splits")
        return file
    folder = Path(path).expanduser()
    found = [file for suffix in suffixes if ordinary(file := folder / f"{split}{suffix}").is_file()]
    if not found:
        names = listed((f"{split}{suffix}" for suffix in suffixes), " or ")
        raise DataError(
            f"{folder}: no {names} ({inside(folder)}); "
            f"check data.path and the task's splits, or give a pattern such as {example}"
        )
    if len(found) > 1:
        raise DataError(
            f"{folder}: {' and '.join(file.name for file in found)} are both there; "
            f"choose one with data.path={folder}/{{split}}{found[0].suffix}"
        )
    return found[0]


def _sets(task: Task, found: Table, file: Path, withheld: bool) -> Dataset:
    def where(row: int) -> str:
        return f"{file}:{found.lines[row]}"

    texts = {name: found.columns[name] for name in task.columns}
    if task.label in found.columns:
        sets = label_sets.from_cells(task, found.columns[task.label], where, withheld)
    elif task.labels[0] in found.columns:
        sets = label_sets.from_flags(task, found.columns, where, withheld)
    else:
        sets = [[UNLABELLED]] * len(found.lines)
    return table(task, {**texts, "label": sets})


def _tokens(task: Task, file: Path, withheld: bool) -> Dataset:
    found = conll.read_sentences(file, task, not withheld)
    return table(task, {task.columns[0]: found.tokens, "label": conll.encoded_sentences(task, found, withheld)})


def encoded_rows(
    task: Task,
    found: Table,
    file: Path,
    names: tuple[str, ...],
    label: str,
    written: tuple[str, ...],
    withheld: bool,
    from_zero: Callable[[], bool] = lambda: False,
) -> Dataset:
    """Return the rows of a file with a label each: its columns `names` are the task's, the rest goes to `encode`."""
    texts = {ours: found.columns[theirs] for ours, theirs in zip(task.columns, names, strict=True)}
    if label not in found.columns:
        return table(task, {**texts, "label": [UNLABELLED] * len(found.lines)})
    labels = encode(task, found.columns[label], lambda row: f"{file}:{found.lines[row]}", written, withheld, from_zero)
    return table(task, {**texts, "label": labels})
