"""Changes to bytes, text and plain values, of which a few are made to every input."""

import copy
import json
import math
from collections.abc import Iterator
from random import Random
from typing import Any

NASTY: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, 10**30, 10**400, -0.0, 0.5, 1e-5, 1e308, math.nan, math.inf, -math.inf,
    "", " ", "x", "0", "1e-5", "null", "nan", "true", "é", "a\0b", "a\nb", "\ufeff", "\ud800", "../../x", "/dev/zero",
    "~", "a" * 3000, "[", "{}", "2001-01-01", "%s", "{x}", [], {}, [[]], [None], {"a": None}, {"": 1}, [1, "a", None],
    {"class_path": "x"}, {"name": "a"}, list(range(300)), "=1+1", "a\tb", "\x1b[31m",
]  # fmt: skip
SCRAPS = [
    b"\0", b"\xff", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n\n", b"\t", b'"', b'""', b"'", b",", b",,,", b": ", b"- ",
    b"#", b"&a ", b"*a", b"!!int x", b"!!python/object:x.y {}", b"---\n", b"...\n", b"{", b"}", b"[" * 50, b"[" * 1200,
    b"9" * 5000, b"1e999", b"NaN", b"\xed\xa0\x80", b"\x1b[31m", b"\xe2\x80\xa8", b"\\u0000", b"\\ud800", b"<<: ",
    b"? ", b"2001-01-01", b"a" * 20000,
]  # fmt: skip


def mutated(data: bytes, random: Random) -> bytes:
    """Some bytes with one to four changes: a flip, a cut, a copy, a scrap in between."""
    for _ in range(random.choice((1, 1, 1, 2, 2, 4))):
        at, to = sorted(random.randrange(len(data) + 1) for _ in range(2))
        match random.randrange(7):
            case 0 if data:
                at = min(at, len(data) - 1)
                data = data[:at] + bytes([data[at] ^ (1 << random.randrange(8))]) + data[at + 1 :]
            case 1:
                data = data[:at]
            case 2:
                data = data[:at] + data[min(to, at + random.choice((1, 10, 1000))) :]
            case 3:
                data = data[:to] + data[at:to][:5000] + data[to:]
            case 4:
                lines = data.splitlines(keepends=True)
                random.shuffle(lines)
                data = b"".join(lines)
            case _:
                data = data[:at] + random.choice(SCRAPS) + data[at:]
    return data


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every part of a plain value, itself among them."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def altered(value: Any, random: Random) -> Any:
    """A copy with one to three parts replaced, taken out, renamed, wrapped, or put elsewhere."""
    value = copy.deepcopy(value)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        path = random.choice([*places(value)])
        if not path:
            value = random.choice(NASTY) if random.random() < 0.1 else value
            continue
        *above, key = path
        parent = value
        for name in above:
            parent = parent[name]
        match random.randrange(6):
            case 0:
                del parent[key]
            case 1 if isinstance(parent, dict):
                parent[random.choice([f"{key}s", f"{key}"[:-1], f"{key}+", "", "x", str(key).upper()])] = parent[key]
            case 2:
                parent[key] = random.choice([[parent[key]], {"a": parent[key]}, str(parent[key]), [parent[key]] * 2])
            case _:
                parent[key] = copy.deepcopy(random.choice(NASTY))
    return value


def as_json(value: Any) -> bytes:
    """JSON as Python writes it, NaN and lone surrogates too."""
    return json.dumps(value).encode("utf-8", "surrogatepass")


def as_yaml(value: Any, random: Random) -> bytes:
    """The value as a file of ours would have it, or as JSON."""
    import yaml

    try:
        text = yaml.safe_dump(value, sort_keys=False, default_flow_style=random.choice((None, False, True)))
    except (yaml.YAMLError, ValueError):
        return as_json(value) if not _too_long(value) else b"a: 1"
    return text.encode("utf-8", "surrogatepass")


def _too_long(value: Any) -> bool:
    try:
        json.dumps(value)
    except ValueError:
        return True
    return False
