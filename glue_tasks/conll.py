"""Files with a token a line, as the CoNLL shared tasks have them, are read strictly, and JSONL with lists of tokens.

    EU      NNP  B-NP  B-ORG
    rejects VBZ  B-VP  O

Columns are separated by tabs, where a line has one, else by spaces; empty lines, and those that begin with -DOCSTART-,
end a sentence.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from glue_tasks.decoding import lines
from glue_tasks.errors import DataError
from glue_tasks.labels import UNLABELLED, encode
from glue_tasks.rows import objects
from glue_tasks.shown import nearest, quoted, shown
from glue_tasks.tasks import Conll, Task

DOCUMENT = "-DOCSTART-"


@dataclass(frozen=True)
class Sentences:
    """Sentences have tokens, and labels as they are written there, one a token; None if the file has none."""

    tokens: list[list[str]]
    labels: list[list[str]] | None
    where: Callable[[int, int], str]
    """Names the place of a sentence's token."""


def read_sentences(file: Path, task: Task, label_required: bool = True) -> Sentences:
    """Read one split of a task of tokens, `.jsonl` or a token a line.

    Raises `DataError`: unreadable or empty file, not UTF-8, a line with more or fewer columns than the first, no token,
    lists that do not go together.
    """
    if file.suffix == ".jsonl":
        return _of_lists(file, task, label_required)
    columns = _Columns(file, task, label_required)
    tokens: list[list[str]] = [[]]
    labels: list[list[str]] = [[]]
    places: list[list[int]] = [[]]
    for number, line in enumerate(lines(file), start=1):
        text = line.rstrip("\r\n")
        if "\r" in text:
            raise DataError(f"{file}: its lines end with CR alone; convert it by: tr '\\r' '\\n' < OLD > NEW")
        if not text.strip(" \t") or text.startswith(DOCUMENT):
            if tokens[-1]:
                for column in (tokens, labels, places):
                    column.append([])
            continue
        token, label = columns.cells(number, text)
        tokens[-1].append(token)
        labels[-1].append(label)
        places[-1].append(number)
    if not tokens[-1]:
        tokens.pop()
    if not tokens:
        raise DataError(f"{file}: no tokens; write one a line with its label, and empty lines between sentences")
    labelled = columns.label is not None
    where = lambda row, word: f"{file}:{places[row][word]}"  # noqa: E731
    return Sentences(tokens, labels[: len(tokens)] if labelled else None, where)


class _Columns:
    """The columns of the token and its label are found on the first line, and are the same on all.

    Args:
        file: for messages.
        task: says which they are.
        label_required: without it the label's may be absent.
    """

    def __init__(self, file: Path, task: Task, label_required: bool) -> None:
        self.file, self.task, self.label_required = file, task, label_required
        self.said = task.conll or Conll()
        self.first, self.width, self.token = 0, 0, 0
        self.label: int | None = None

    def cells(self, number: int, text: str) -> tuple[str, str]:
        """Return the token of a line, and its label; "" where there is none."""
        cells = [cell.strip(" ") for cell in text.split("\t")] if "\t" in text else re.split(" +", text.strip(" "))
        if not self.first:
            self._find(number, cells)
        if len(cells) != self.width:
            comment = "; leave comments out" if text.startswith("#") else ""
            raise DataError(
                f"{self.file}:{number}: {_count(cells)}, but line {self.first} has {self.width}: {shown(text)}; write "
                f"the same columns on every line, and an empty line between sentences{comment}"
            )
        token = cells[self.token]
        if not token:
            raise DataError(f"{self.file}:{number}: no token in column {self.token + 1}; leave the line out or mend it")
        label = "" if self.label is None else cells[self.label]
        if number == self.first and (token, label) == (self.task.columns[0], self.task.label):
            raise DataError(
                f"{self.file}:{number}: a line with the columns' names; leave it out, and declare conll.header"
            )
        return token, label

    def _find(self, number: int, cells: Sequence[str]) -> None:
        self.first, self.width = number, len(cells)
        header = self.said.header
        if header:
            lacks_last = not self.label_required and header[-1] == self.task.label and len(cells) == len(header) - 1
            if len(cells) != len(header) and not lacks_last:
                raise DataError(
                    f"{self.file}:{number}: {_count(cells)}, and conll.header names {len(header)}: {quoted(header)}; "
                    "name those of the file, in its order"
                )
            self.token = header.index(self.task.columns[0])
            self.label = None if lacks_last else header.index(self.task.label)
            return
        for name, place in (("token", self.said.token), ("label", self.said.label)):
            if place is not None and place > len(cells) and (name == "token" or self.label_required):
                raise DataError(
                    f"{self.file}:{number}: {_count(cells)}, and conll.{name} is {place}; columns count from 1"
                )
        self.token = self.said.token - 1
        label = (self.said.label or len(cells)) - 1
        self.label = label if label < len(cells) and label != self.token else None
        if self.label is None and self.label_required:
            raise DataError(
                f"{self.file}:{number}: {_count(cells)}, where a token and its label are wanted: {shown(cells)}; "
                "separate them by a space or a tab"
            )


def _count(cells: Sequence[str]) -> str:
    return f"{len(cells)} column{'s' * (len(cells) != 1)}"


def _of_lists(file: Path, task: Task, label_required: bool) -> Sentences:
    tokens: list[list[str]] = []
    labels: list[list[str]] | None = None
    places: list[int] = []
    for number, row in objects(file):
        if not places:
            labels = [] if task.label in row or label_required else None
        for name in (*task.columns, *(() if labels is None else (task.label,))):
            if name not in row:
                near = nearest(name, list(row))
                raise DataError(
                    f"{file}:{number}: no {shown(name)} (found {quoted(row)}); {near}write it on every line"
                )
        words = row[task.columns[0]]
        tags = None if labels is None else row[task.label]
        check_lists(words, tags, task, f"{file}:{number}", labels is not None)
        tokens.append(list(words))  # type: ignore[call-overload]
        if labels is not None:
            labels.append(list(map(str, tags)))  # type: ignore[call-overload]
        places.append(number)
    if not tokens:
        raise DataError(
            f"{file}: no rows; write an object a line with the lists {task.columns[0]!r} and {task.label!r}"
        )
    return Sentences(tokens, labels, lambda row, word: f"{file}:{places[row]}, token {word + 1}")


def check_lists(tokens: object, labels: object, task: Task, place: str, labelled: bool) -> None:
    """Refuse a row whose lists are no tokens, or, where it is labelled, no labels for them.

    Raises `DataError`.
    """
    column = task.columns[0]
    if not isinstance(tokens, list) or not tokens or not all(isinstance(token, str) and token for token in tokens):
        raise DataError(f"{place}: {column!r} is {shown(tokens)}; expected a list of tokens, one at least, none empty")
    if not labelled:
        return
    if not isinstance(labels, list) or any(isinstance(v, bool) or not isinstance(v, str | int) for v in labels):
        raise DataError(f"{place}: {task.label!r} is {shown(labels)}; expected a list with a label for each token")
    if len(labels) != len(tokens):
        raise DataError(f"{place}: {len(tokens)} tokens, but {len(labels)} labels; write one for each token")


def encoded_sentences(task: Task, found: Sentences, may_be_unlabelled: bool) -> list[list[int]]:
    """Return the class ids of each sentence's tokens, by name as `glue_tasks.labels.encode` does; -1 for none.

    Raises `DataError`: a label that the task has not.
    """
    if found.labels is None:
        return [[UNLABELLED] * len(tokens) for tokens in found.tokens]
    places = [(row, word) for row, labels in enumerate(found.labels) for word in range(len(labels))]
    flat = [label for labels in found.labels for label in labels]
    ids = iter(encode(task, flat, lambda place: found.where(*places[place]), (), may_be_unlabelled))
    return [[int(next(ids)) for _ in labels] for labels in found.labels]
