"""One line for every mistake: which errors are the user's to mend, and jsonargparse's messages made short."""

import re
from typing import NoReturn

from lightning_fabric.utilities.exceptions import MisconfigurationException
from pytorch_lightning.cli import LightningArgumentParser

from ftreg.errors import UsageError
from glue_tasks.errors import DataError

EXPECTED = (UsageError, DataError, MisconfigurationException, OSError)
"""Errors that are the user's to mend: ConflictError is a UsageError."""


def expected(error: BaseException | None) -> BaseException | None:
    """The error itself, or what caused it, if that is the user's to mend."""
    while error is not None and not isinstance(error, EXPECTED):
        if isinstance(error, RuntimeError) and str(error).startswith("Error(s) in loading state_dict"):
            return UsageError(f"the checkpoint does not fit this model: {str(error)[:300]} …")
        error = error.__cause__
    return error


class Parser(LightningArgumentParser):
    """Raises where the stock parser prints its usage and exits."""

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what went wrong, in one line."""
        known = expected(ex)
        if known is not None:
            raise known
        raise UsageError(one_line(message)) from ex


def one_line(message: str) -> str:
    """jsonargparse's message in one line, without the dump of every type that it tried."""
    line = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " ".join(message.split()).replace("typing.", ""))
    line = re.sub(r'^Parser key "([^"]*)":', r"\1:", line)
    union = re.fullmatch(r"(.*?)Does not validate .* Union subtypes Subtypes: \[(.*)\] Errors: .*", line)
    value = line.rpartition("Given value: ")[2]
    return f"{union[1]}found {value}; expected {union[2]}" if union else line
