"""A message quotes values and names in one line, no longer than a reader needs."""

import difflib
import json
from collections.abc import Collection, Iterable

LONGEST = 60
"""Characters of a value that is quoted."""
MOST = 160
"""Characters of a list of names that is quoted."""


def shown(value: object, longest: int = LONGEST) -> str:
    """Return text as Python quotes it, another value as JSON writes it; cut where it is long."""
    try:
        if isinstance(value, str):
            text = repr(value[:longest])
        else:
            text = str(value) if isinstance(value, float) else json.dumps(value, ensure_ascii=False, default=str)
    except (TypeError, ValueError, RecursionError):
        text = _repr(value)
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _repr(value: object) -> str:
    try:
        return repr(value)
    except (ValueError, RecursionError):  # of 5,000 digits, which Python does not print
        return f"{type(value).__name__} too long to show"


def listed(names: Iterable[object], last: str = ", ") -> str:
    """Return `a, b, c`, the last behind another word if one is given; names and the list are cut where long."""
    texts = [text if len(text) <= 40 else f"{text[:37]}..." for text in map(str, names)]
    if len(", ".join(texts)) > MOST:
        fit = next(n for n in range(len(texts), 0, -1) if len(", ".join(texts[:n])) <= MOST)
        return f"{', '.join(texts[:fit])}, ... ({len(texts)} in all)"
    return f"{', '.join(texts[:-1])}{last}{texts[-1]}" if len(texts) > 1 else "".join(texts)


def quoted(names: Iterable[object]) -> str:
    """Return the same as `listed`, with each name in quotes."""
    return listed(repr(name) for name in names)


def nearest(name: object, valid: Collection[str]) -> str:
    """Return `did you mean 'x'? ` if some valid name is close, else nothing."""
    by_case = {text.lower(): text for text in valid}
    close = difflib.get_close_matches(str(name).lower()[:100], by_case, n=1)
    return f"did you mean {by_case[close[0]]!r}? " if close else ""
