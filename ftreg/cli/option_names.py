"""Names on the command line and in configuration files are checked before jsonargparse sees them.

jsonargparse checks types and values well, but answers a misspelt class with every type that it tried, and
names neither the file nor the nearest valid name. So names come first: options, methods, methods' options,
keys of YAML files. Nothing here imports torch.
"""

import inspect
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg._base.names import imported, listed, unknown
from glue_tasks.shown import nearest, shown

CALLBACKS = "trainer.callbacks"
CONSOLE = "the command line"
LINKED = {
    "model.init_seed": "seeds.init",
    "data.order_seed": "seeds.order",
    "data.split_seed": "seeds.split",
    "data.tokenizer": "model.backbone",
    "model.labels": "data.task",
    "model.kind": "data.task",
}
"""Options that are set through another one."""


class Names:
    """The valid names of one subcommand.

    Args:
        options: all options, dotted, without dashes.
        callbacks: every callback that is known by its bare name.
        methods: those of them that are methods of this package (or of one's own), which is what errors list.
    """

    def __init__(self, options: Iterable[str], callbacks: Mapping[str, type], methods: Collection[str]) -> None:
        # `--trainer.callbacks.help METHOD` is an option too, and not one to suggest.
        self.options = sorted({option.rstrip("+") for option in options if not option.endswith(".help")})
        self.callbacks = callbacks
        self.methods = sorted(methods)
        self._last: type | None = None
        self.listed: list[type] = []
        """The classes of the callbacks that are listed."""
        self.given: dict[str, str] = {}
        """The place where each option was given: its dotted name to `the command line` or a file."""

    def check(self, arguments: Sequence[str]) -> None:
        """Check the arguments after the subcommand, and every file that they name.

        Raises:
            UsageError: one line with the nearest valid name.
        """
        for key, value in pairs(arguments):
            if key in ("h", "help"):
                continue
            plain = plain_value(value or "", key)
            _refuse_special(key, plain, "")
            if key in ("config", "c"):
                self._file(Path(value or ""))
            elif key == CALLBACKS:
                self._callbacks(plain, "")
            elif key.startswith(f"{CALLBACKS}."):
                self._callback_option(key.removeprefix(f"{CALLBACKS}."), "")
            elif any(option.startswith(f"{key}.") for option in self.options):
                self._group(key, plain)
            else:
                self._option(key, "")
                self.given[key] = CONSOLE

    def _file(self, path: Path) -> None:
        content = yaml_text.read_yaml(path, "check --config")
        if not isinstance(content, dict):
            raise UsageError(f"{path}: holds no options; write them as `group:` and indented `option: value` lines")
        self._tree(content, "", path)

    def _group(self, key: str, value: Any) -> None:
        """Check all options of a group at once, or the file that has them."""
        where = f"--{key}"
        if isinstance(value, str) and value:
            value, where = yaml_text.read_yaml(Path(value), f"check --{key}"), value
        if not isinstance(value, Mapping):
            raise UsageError(f"{where}: found {shown(value)}; give its options one by one, or a file that has them")
        self._tree(value, f"{key}.", where)

    def _tree(self, node: Mapping[Any, Any], prefix: str, path: Path | str) -> None:
        for name, value in node.items():
            key = f"{prefix}{str(name).rstrip('+')}"
            if key == CALLBACKS:
                self._callbacks(value, f"{path}: ")
                continue
            self._option(key, f"{path}: ")
            _refuse_special(key, value, f"{path}: ")
            if any(option.startswith(f"{key}.") for option in self.options):
                if not isinstance(value, Mapping):
                    raise UsageError(f"{path}: {key}: found {shown(value)}; write its options below it, indented")
                self._tree(value, f"{key}.", path)
            else:
                self.given[key] = str(path)

    def _option(self, key: str, where: str) -> None:
        if key in LINKED:
            raise UsageError(f"{where}option {key!r} is set by {LINKED[key]}; give that one")
        key = key.removesuffix(".help")
        parts = key.split(".")
        groups = [".".join(parts[:n]) for n in range(1, len(parts))]
        if key in self.options or any(option.startswith(f"{key}.") for option in self.options):
            return
        # An option that holds a class or a task of its own takes keys that are checked with its value.
        if any(g in self.options and not any(o.startswith(f"{g}.") for o in self.options) for g in groups):
            return
        group = next((g for g in reversed(groups) if any(o.startswith(f"{g}.") for o in self.options)), "")
        siblings = [o for o in self.options if o.startswith(f"{group}.")] if group else self._top()
        close = nearest(key, self.options)
        raise UsageError(f"{where}no option {key!r}; {close}Valid: {', '.join(siblings)}")

    def _top(self) -> list[str]:
        return sorted({option.split(".")[0] for option in self.options})

    def _callbacks(self, value: Any, where: str) -> None:
        if value == "null":
            return
        for entry in listed(value):
            fields = entry if isinstance(entry, Mapping) else {"class_path": entry}
            if "class_path" not in fields:
                raise UsageError(
                    f"{where}{CALLBACKS}: found {entry!r}; write each method as its name, "
                    f"or as class_path and init_args"
                )
            self._last = self._callback(str(fields["class_path"]), where)
            self.listed += [] if self._last is None else [self._last]
            given = fields.get("init_args") or {}
            if not isinstance(given, Mapping):
                raise UsageError(
                    f"{where}{CALLBACKS}: init_args of {fields['class_path']}: found {shown(given)}; "
                    "write `option: value` lines"
                )
            for option in given:
                self._callback_option(str(option), where)

    def _callback(self, name: str, where: str) -> type | None:
        if name in self.callbacks:
            return self.callbacks[name]
        if "." not in name:
            raise UsageError(where + unknown("no method", name, self.methods))
        return imported(name, where)

    def _callback_option(self, option: str, where: str) -> None:
        name = option.removeprefix("init_args.").split(".")[0]
        if name in ("class_path", "init_args", "dict_kwargs", "help"):
            return
        if self._last is None:
            raise UsageError(
                f"{where}option {CALLBACKS}.{name} has no method before it; add --{CALLBACKS}+=METHOD first"
            )
        parameters = inspect.signature(self._last).parameters
        if name not in parameters and not any(p.kind is p.VAR_KEYWORD for p in parameters.values()):
            raise UsageError(where + unknown(f"{self._last.__name__} has no option", name, list(parameters)))


def _refuse_special(key: str, value: Any, where: str) -> None:
    """Refuse pipes and devices, which may have no end, where jsonargparse would read a file."""
    if isinstance(value, str) and "\0" not in value and not Path(value).is_dir():
        ordinary(Path(value), most=None, where=f"{where}{key}: ")


def pairs(arguments: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Yield (option without dashes and `+`, value) of each option."""
    for position, argument in enumerate(arguments):
        if not argument.startswith("-") or not argument.lstrip("-")[:1].isalpha():
            continue
        key, equals, value = argument.lstrip("-").partition("=")
        following = arguments[position + 1] if position + 1 < len(arguments) else None
        yield key.rstrip("+"), value if equals else following


def plain_value(value: str, key: str) -> Any:
    """Return a command-line value as YAML reads it; what is no YAML is text, unless it is a list or a mapping."""
    if not yaml_text.is_text(value):
        raise UsageError(f"--{key}: found {shown(value)}, which is no UTF-8 text; give it in other characters")
    try:
        return yaml_text.parse_yaml(value)
    except UsageError as error:
        if isinstance(error, yaml_text.TooMuchError) or value.lstrip().startswith(("{", "[")):
            raise UsageError(f"--{key}: {error}") from None
        return value
