"""Everything that people write is read by one reader of YAML: configurations, stages, grids, command-line values.

It gives text, numbers, true, false, null, lists, and mappings with text for keys; `1e-5` is a number and `2001-01-01`
is text. What YAML has beyond that is refused, and so is what would cost more than it can mean: a key twice, of which
the last would win in silence; deep nesting; aliases that multiply.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary

LARGEST = 1 << 18
"""The most characters of a text."""
DEEPEST = 32
"""The most levels of nesting."""
MOST = 20_000
"""The most entries, with what aliases stand for."""
TAGS = {f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "seq", "map", "merge")}


class TooMuchError(UsageError):
    """A text is longer, deeper or larger than any configuration is."""


def read_yaml(path: Path, remedy: str) -> Any:
    """Return what a file holds.

    Args:
        path: of the file.
        remedy: what to do where it cannot be read.

    Raises:
        UsageError: with the file, and the line where there is one.
    """
    try:
        content = ordinary(path).read_bytes()
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); {remedy}") from None
    except UnicodeDecodeError as error:
        line = content[: error.start].count(b"\n") + 1
        raise UsageError(f"{path}:{line}: not UTF-8 text; give a YAML file") from None
    except UsageError:
        raise
    except ValueError as error:  # NUL in the path
        raise UsageError(f"{str(path)!r}: no path ({error}); {remedy}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: str, where: str = "") -> Any:
    """Return what a text holds.

    Args:
        text: one document.
        where: names it in errors.

    Raises:
        UsageError: with the line.
    """
    place = f"{where}:" if where else "line "
    try:
        _check_events(text, place)
        value = _jsonargparse()(text)
    except UsageError:
        raise
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        reason = getattr(error, "problem", None) or getattr(error, "reason", None) or "not text"
        raise UsageError(f"{place}{mark.line + 1 if mark else 1}: not YAML ({reason}); {_INDENT}") from None
    except Exception as error:  # such as int() of 5,000 digits
        raise UsageError(f"{place}1: not YAML ({type(error).__name__}: {error}); mend the value") from None
    for path, found in _leaves(value):
        raise UsageError(f"{where}{': ' if where else ''}{path}: {found}")
    return value


_INDENT = "mend the line, indentation is spaces"


@dataclass
class _Open:
    """A list or mapping that has not ended."""

    anchor: str | None
    keys: set[str] | None = None
    at_key: bool = False
    size: int = 1
    names: list[str] = field(default_factory=list)


def _check_events(text: str, place: str) -> None:
    """Refuse what nobody would mean, by the parser's events, of which none is kept."""
    if len(text) > LARGEST:
        raise TooMuchError(f"{place}1: {len(text):,} characters; a configuration has {LARGEST:,} at most")
    stack, sizes, documents = [_Open(None)], dict[str, int](), 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        line = f"{place}{event.start_mark.line + 1}: "
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise UsageError(f"{line}a second document; keep one, without ---")
        elif isinstance(event, yaml.CollectionEndEvent):
            ended = stack.pop()
            if ended.anchor:
                sizes[ended.anchor] = ended.size
            stack[-1].size += ended.size
        elif isinstance(event, yaml.NodeEvent):
            _key(stack[-1], event, line)
            if isinstance(event, yaml.AliasEvent):
                if event.anchor not in sizes:
                    raise UsageError(f"{line}*{event.anchor} stands for nothing, or for itself; write it out")
                stack[-1].size += sizes[event.anchor]
            elif event.tag not in {None, "!", *TAGS}:
                raise UsageError(f"{line}the tag {event.tag!r} means nothing in a configuration; leave it out")
            elif isinstance(event, yaml.CollectionStartEvent):
                stack.append(_Open(event.anchor, set() if isinstance(event, yaml.MappingStartEvent) else None))
                stack[-1].at_key = True
            else:
                stack[-1].size += 1
                if event.anchor:
                    sizes[event.anchor] = 1
        if len(stack) > DEEPEST:
            raise TooMuchError(f"{line}nested more than {DEEPEST - 1} levels deep; write it with fewer levels")
        if stack[-1].size > MOST:
            raise TooMuchError(f"{line}more than {MOST:,} entries, with what aliases stand for; write fewer")


def _key(parent: _Open, event: yaml.NodeEvent, line: str) -> None:
    """Refuse a mapping's key that is no text or is there twice."""
    if parent.keys is None:
        return
    parent.at_key, is_key = not parent.at_key, parent.at_key
    if not is_key:
        return
    if not isinstance(event, yaml.ScalarEvent):
        raise UsageError(f"{line}a key that is no text; write `name: value` lines")
    if event.value in parent.keys:
        raise UsageError(f"{line}the key {event.value!r} is there twice; keep one of them")
    parent.keys.add(event.value)


def _leaves(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield complaints about keys and values that are none of our kinds; few, since sizes have been checked."""
    if isinstance(value, dict):
        for name, item in value.items():
            if not isinstance(name, str):
                yield path or "keys", f"the key {name!r} is no text; write it in quotes"
            else:
                yield from _leaves(item, f"{path}.{name}" if path else name)
    elif isinstance(value, list):
        for number, item in enumerate(value):
            yield from _leaves(item, f"{path}[{number}]")
    elif not isinstance(value, bool | int | float | str | None):
        yield path or "value", f"found {value!r}; write text or a number"
    elif isinstance(value, str) and not is_text(value):
        yield path or "value", "text with a NUL character, or with half a character of UTF-16; leave it out"
    elif isinstance(value, int) and abs(value) >= 1 << 63:
        yield path or "value", f"a whole number of {len(str(abs(value)))} digits; give a smaller one"


def is_text(value: str) -> bool:
    """Return whether it can be in a file and name one: no NUL, no surrogate, as bytes that are no UTF-8 become."""
    return "\0" not in value and not any("\ud800" <= c <= "\udfff" for c in value)


@cache
def _jsonargparse() -> Any:
    """Return jsonargparse's reader, which `ftreg fit` has: what is read before it, and beside it, must be the same."""
    from jsonargparse import get_loader

    return get_loader("yaml")
