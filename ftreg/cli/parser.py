"""Lightning's parser gets our reader of YAML, and raises where the stock one prints its usage and exits."""

import enum
import inspect
import re
from collections.abc import Callable
from typing import Any, NoReturn

import jsonargparse
import yaml
from pytorch_lightning.cli import LightningArgumentParser

from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg._base.messages import known
from ftreg._base.names import unknown

MODE = "ftreg"


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Writes a member of an enumeration, as defaults of Lightning's are, as its value."""


_Dumper.add_multi_representer(enum.Enum, lambda dumper, member: dumper.represent_data(member.value))


def _dump(values: Any) -> str:
    return str(yaml.dump(values, Dumper=_Dumper, default_flow_style=False, allow_unicode=True, sort_keys=False))


jsonargparse.set_loader(MODE, yaml_text.parse_yaml, (UsageError,))
jsonargparse.set_dumper(MODE, _dump)


class Parser(LightningArgumentParser):
    """Reads files and values as `ftreg._base.yaml_text` does, and complains in one line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "parser_mode": MODE})

    made: Callable[..., Any] | None = None
    """The class whose options this parser has, where it is for one alone: of a method, or of a task."""

    def add_class_arguments(self, theclass: Any, nested_key: str | None = None, **kwargs: Any) -> Any:
        if nested_key is None:
            self.made = theclass
        return super().add_class_arguments(theclass, nested_key, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raise what went wrong, in one line."""
        found = known(ex)
        if found is None:
            raise UsageError(one_line(message, self.made)) from ex
        key = re.match(r'Parser key "([^"]*)":', message)
        if key is None or key[1] in str(found):
            raise found
        raise UsageError(f"{key[1]}: {found}") from ex


def dumped(parser: Any, config: Any) -> str:
    """Return a configuration as YAML, options that are null included."""
    return str(parser.dump(config, skip_none=False))  # a name that jsonargparse 5 will not know any more


def instantiated(parser: Any, options: dict[str, Any]) -> Any:
    """Return the objects that a parser's classes make of options, in a namespace."""
    return parser.instantiate_classes(parser.parse_object(options))


def one_line(message: str, made: Callable[..., Any] | None = None) -> str:
    """Return jsonargparse's message in one line, without the dump of every type that it tried.

    Args:
        message: of several lines.
        made: the class whose options they are.
    """
    owner = getattr(made, "__name__", "")
    stray = re.match(r"Option '([^']*)' is not accepted", message)
    if stray and made is not None:
        return unknown(f"{owner} has no option", stray[1], [*inspect.signature(made).parameters])
    needed = re.match(r"the following arguments are required: (.*)", message)
    if needed and made is not None:
        return f"{owner} needs {needed[1]}"
    union = re.fullmatch(
        r'(?:Parser key "(.*?)":)?\s*Does not validate .* Union subtypes\s+Subtypes: \[(.*?)\]\s+Errors:\n(.*)\n'
        r"\s*Given value type: <class '(?:[\w.]+\.)?(\w+)'>\n\s*Given value: (.*)",
        message,
        re.DOTALL,
    )
    key = union[1] if union else ""
    if union:
        inner = _of_a_class(union[3]) if union[4] in ("dict", "Namespace") else ""
        line = inner or f"found {union[5]}; expected {_types(union[2])}"
    else:
        line = re.sub(r'^Parser key "([^"]*)":', r"\1:", " ".join(message.split()))
        line = _types(line)
    line = f"{key}: {line}" if key else line
    return f"{owner}.{line}" if owner and re.match(r"[\w.\[\]]+: ", line) else line


def _of_a_class(errors: str) -> str:
    """Return, of the errors of every type, the one of a class that was given as a mapping: it names the option."""
    entries = re.split(r"^\s*- ", errors, flags=re.MULTILINE)
    told = (" ".join(entry.split()) for entry in entries)
    return next((entry for entry in told if entry and not entry.startswith(("Expected a", "Not a valid"))), "")


def _types(text: str) -> str:
    """Return types as one would say them, without their modules."""
    text = re.sub(r"<class '([^']*)'>", r"\1", text.replace("typing.", ""))
    text = re.sub(r"\b(?:[a-z_]\w*\.)+([A-Z]\w*)\b", r"\1", text)
    return re.sub(r"\bNoneType\b", "null", text)
