"""Lightning's parser with our reader of YAML, which raises where the stock one prints its usage and exits."""

import re
from typing import Any, NoReturn

import jsonargparse
from pytorch_lightning.cli import LightningArgumentParser

from ftreg import yaml_text
from ftreg.complaints import known
from ftreg.errors import UsageError

MODE = "ftreg"
jsonargparse.set_loader(MODE, yaml_text.load, (UsageError,))


class Parser(LightningArgumentParser):
    """Reads files and values as `ftreg.yaml_text` does, and complains in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "parser_mode": MODE})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what went wrong, in one line."""
        found = known(ex)
        if found is not None:
            raise found
        raise UsageError(one_line(message)) from ex


def one_line(message: str) -> str:
    """jsonargparse's message in one line, without the dump of every type that it tried."""
    line = re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " ".join(message.split()).replace("typing.", ""))
    line = re.sub(r'^Parser key "([^"]*)":', r"\1:", line)
    union = re.fullmatch(r"(.*?)Does not validate .* Union subtypes Subtypes: \[(.*)\] Errors: .*", line)
    value = line.rpartition("Given value: ")[2]
    return f"{union[1]}found {value}; expected {union[2]}" if union else line
