"""An option's value is checked by its declared type, in words: it `must be a whole number`, say.

jsonargparse lets null through whatever the type, and Python anything; NaN is a float.
"""

import math
import types
from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from glue_tasks.shown import shown

LARGEST = 2**63 - 1
"""What 64 bits hold."""


def type_faults(function: Callable[..., Any], given: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (argument, what is wrong with its value, and what it must be) for each argument that does not fit its type.

    Args:
        function: whose annotations declare the types.
        given: values by name; others than arguments are passed over, and seeds, which have a check of their own.
    """
    for name, hint in get_type_hints(function).items():
        if name in given and name != "return" and not name.endswith("_seed"):
            wanted = type_fault(given[name], hint)
            if wanted:
                remedy = f"valid: {_all(get_args(hint))}" if get_origin(hint) is Literal else f"it must be {wanted}"
                yield name, f"is {shown(given[name])}; {remedy}"


def type_fault(value: Any, hint: Any) -> str:
    """Return what the value must be and is not; empty if it fits, or if nothing is known of such a type."""
    kind, inner = get_origin(hint) or hint, get_args(hint)
    if kind in (Union, types.UnionType):
        wanted = [type_fault(value, one) for one in inner]
        wanted = [one for one in wanted if one != PLAIN[int][1]] if float in inner else wanted
        return "" if "" in wanted else " or ".join(dict.fromkeys(wanted))
    if kind is Literal:
        same = any(value is one or (type(value), value) == (type(one), one) for one in inner)
        return "" if same else f"one of {_all(inner)}"
    if kind in PLAIN:
        fits, name = PLAIN[kind]
        return "" if fits(value) else name
    if kind in (list, tuple, Sequence):
        return _of_many(value, inner)
    if kind in (dict, Mapping):
        return _of_names(value, inner)
    known = value is not None and not isinstance(value, bool | int | float)  # a class, as a mapping or by its path
    return "" if known or kind in (Any, object) else f"a {getattr(kind, '__name__', 'value')}"


def number(value: Any, low: float = -math.inf, high: float = math.inf) -> bool:
    """Return whether it is a finite number in the range; a truth value is none."""
    return _real(value) and math.isfinite(value) and low <= float(value) <= high


def _whole(value: Any) -> bool:
    return isinstance(value, Integral) and not isinstance(value, bool) and abs(int(value)) <= LARGEST


def _real(value: Any) -> bool:
    """Return whether it is a number that a float can hold; whether it is finite is for its range to say."""
    if not isinstance(value, Real) or isinstance(value, bool):
        return False
    try:
        float(value)
    except OverflowError:  # of 10**400
        return False
    return True


PLAIN: Mapping[Any, tuple[Callable[[Any], bool], str]] = {
    bool: (lambda value: isinstance(value, bool), "true or false"),
    int: (_whole, "a whole number"),
    float: (_real, "a number"),
    str: (lambda value: isinstance(value, str), "text"),
    type(None): (lambda value: value is None, "null"),
}


def _all(values: Sequence[Any]) -> str:
    return ", ".join(map(str, values))


def _of_many(value: Any, inner: tuple[Any, ...]) -> str:
    if not isinstance(value, list | tuple):
        return "a list"
    each = next((type_fault(item, inner[0]) for item in value if inner and type_fault(item, inner[0])), "")
    return f"a list, each of it {each}" if each else ""


def _of_names(value: Any, inner: tuple[Any, ...]) -> str:
    if not isinstance(value, Mapping):
        return "lines of `name: value`"
    each = next((type_fault(item, inner[1]) for item in value.values() if inner and type_fault(item, inner[1])), "")
    return f"lines of `name: value`, each value {each}" if each else ""
