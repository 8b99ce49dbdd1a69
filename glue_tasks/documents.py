"""Plain text files are documents of sentences, and tasks for further pre-training are made from them."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

from glue_tasks import next_sentence, sentence_order
from glue_tasks.decoding import lines
from glue_tasks.errors import DataError
from glue_tasks.files import ordinary
from glue_tasks.labels import UNLABELLED
from glue_tasks.tasks import Task

TEXT = Task("text", ("text",), (), ("pearson",), "text", dev=(), test=())
"""A row a line. It has no labels, and so is declared as a regression; but nothing is ever scored."""

TASKS: Mapping[str, Task] = MappingProxyType(
    {task.name: task for task in (TEXT, next_sentence.TASK, sentence_order.TASK)}
)
"""The tasks of `data.source=text`."""

Columns = Mapping[str, Sequence[object]]

_PAIRS: Mapping[str, Callable[[Sequence[Sequence[str]], int], Columns]] = {
    next_sentence.TASK.name: next_sentence.pairs,
    sentence_order.TASK.name: sentence_order.pairs,
}

SEED = 0
"""The seed of the pairs, which are drawn once, not anew in every epoch or run: they are data, with one fingerprint."""


def columns(task: Task, path: str | None) -> Columns:
    """Return the text columns of one of `TASKS`, and `label`, from the documents at `path`.

    Raises `DataError`, as `read` does, and where the documents give no pair of sentences.
    """
    documents = read_documents(path)
    if task == TEXT:
        texts = [text for document in documents for text in document]
        return {"text": texts, "label": [float(UNLABELLED)] * len(texts)}
    if max(map(len, documents)) < 2:
        raise DataError(
            f"{path}: no document of two sentences, so task {task.name!r} has no pair; "
            "put one sentence on a line and an empty line only between documents"
        )
    try:
        return _PAIRS[task.name](documents, SEED)
    except DataError as error:
        raise DataError(f"{path}: {error}") from error


def read_documents(path: str | None) -> list[list[str]]:
    """Return the documents of a UTF-8 text file, or of all *.txt in a folder in the order of their names.

    One text a line, stripped; empty lines and the ends of files separate documents. None is empty.

    Raises `DataError`: no such file, not UTF-8, no text.
    """
    if not path:
        raise DataError("data.source=text needs data.path: a file with a text on each line, or a folder of *.txt")
    place = Path(path).expanduser()
    if not place.is_dir() and not ordinary(place).exists():
        raise DataError(f"{place}: no such file or folder; check data.path")
    files = [place]
    if place.is_dir():
        files = sorted(file for file in place.glob("*.txt") if file.is_file() and not file.name.startswith("."))
        if not files:
            raise DataError(f"{place}: no *.txt in this folder; check data.path, or rename the text files in it")
    documents: list[list[str]] = [[]]
    for file in files:
        for text in (*map(str.strip, lines(file)), ""):
            if text:
                documents[-1].append(text)
            elif documents[-1]:
                documents.append([])
    if not documents[0]:
        raise DataError(f"{place}: no text, only empty lines; write one text on each line")
    return documents[:-1]
