"""A run is put into words: its methods, its scores, how its batches were shared out, and what its scores are not.

Nothing here imports torch, but for a method with options, whose class says which of them are its defaults.
"""

import inspect
import math
from collections.abc import Iterable, Iterator, Sequence

from ftreg.run.identity import same
from ftreg.run.result import MethodRecord, Share

SAMPLE_NOTE = "built-in sample: generated sentences for trying out and for tests, not GLUE. Scores are not comparable"
DEMO_NOTE = (
    "demo encoder: all-MiniLM-L6-v2, a sentence encoder trained with mean pooling on pairs that include NLI and "
    "question duplicates; its CLS is untrained. Scores are for trying out, not for a paper"
)


def notes(source: str | None, backbone: str | None) -> Iterator[str]:
    """Yield the notes on scores of a data source and a backbone, both as the command line has them."""
    if source == "sample":
        yield SAMPLE_NOTE
    if backbone == "demo":
        yield DEMO_NOTE


def methods_in_words(methods: Sequence[MethodRecord]) -> str:
    """Return `Mixout(p=0.7)`: each method with its first option and what else is not its default; `plain` for none."""
    return " + ".join(f"{m.name}({', '.join(_options(m))})" for m in methods) or "plain"


def _options(method: MethodRecord) -> Iterator[str]:
    from ftreg.core.method_registry import subclasses

    known = {cls.__name__: cls for cls in subclasses()}
    parameters = inspect.signature(known[method.name]).parameters if method.name in known else {}
    for number, (name, value) in enumerate(method.options.items()):
        if number == 0 or name not in parameters or not same(parameters[name].default, value):
            nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
            yield f"{name}={'…' if nested else value}"


def points(value: float | None, signed: bool = False) -> str:
    """Return a score or a difference × 100, to a tenth; a dash where it is undefined."""
    if value is None or not math.isfinite(value):
        return "–"
    shown = f"{100 * value:+.1f}" if signed else f"{100 * value:.1f}"
    return ("0.0" if float(shown) == 0 else shown).replace("-", "−")


def error_in_words(value: float | None) -> str:
    """Return an error, of which less is better, on its own scale; a dash where it is undefined."""
    return "–" if value is None else f"{value:.4g}"


def share_in_words(share: Share) -> str:
    """Return `2 processes × 4 micro-batches of 2 rows on cuda`."""
    ranks, accumulation = share.ranks, share.accumulation
    parts = [
        f"{ranks} process{'es' * (ranks > 1)} × {accumulation} micro-batch{'es' * (accumulation > 1)}",
        f"of {share.rows} rows" if share.rows is not None else "",
        f"on {share.device}" if share.device is not None else "",
    ]
    return " ".join(part for part in parts if part)


def differing_shares(runs: Iterable[Sequence[Share]]) -> list[str]:
    """Say how runs were shared out, if that differs and any of them has dropout; older records do not tell."""
    found = [shares for shares in runs if shares]
    told = sorted({", then ".join(map(share_in_words, shares)) for shares in found})
    return told if len(told) > 1 and any(share.dropout is not False for shares in found for share in shares) else []
