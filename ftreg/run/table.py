"""The short table that ends a fit."""

import inspect
from collections.abc import Iterator, Mapping
from typing import Any

from ftreg.core.method_registry import subclasses
from ftreg.encoder.backbone import DEMO_NOTE
from ftreg.run.identity import same

SAMPLE_NOTE = "built-in sample: generated sentences for trying out and for tests, not GLUE. Scores are not comparable"


def render(result: Mapping[str, Any], title: str, folder: str) -> str:
    """What was run, scores × 100 at the last and the best checkpoint beside the majority's, and the cost.

    Args:
        result: of `ftreg.run.record.record`.
        title: the task's.
        folder: the run's, printed last.
    """
    reported, seeds, cost = result["reported"], result["seeds"], result["cost"]
    head = [
        title,
        f"protocol {result['protocol']}",
        describe([*result["methods"], *result["callbacks"]]),
        f"backbone {result['backbone']}",
    ]
    lines = [" · ".join(head), "seeds " + ", ".join(f"{name} {value}" for name, value in seeds.items()), ""]
    if reported is None:
        lines.append("  nothing is evaluated: this fit learns no labels")
    else:
        lines += _scores(result)
    if stop := result["stopped"]:
        by = stop["by"] or "a callback"
        lines.append(f"  {result['status']}: stopped by {by} after step {stop['step']:,} of {stop['of']:,}")
    if result["failed"]:
        lines.append("  failed run: the last checkpoint is no better than the majority")
    rate = cost["tokens"] / cost["seconds"] if cost["seconds"] else 0.0
    lines += [
        "",
        f"{cost['steps']:,} steps · {cost['seconds']:.1f} s · {rate:,.0f} tokens/s · "
        f"peak memory {cost['peak_memory_bytes'] / 2**20:,.0f} MiB",
        f"record {folder}",
    ]
    lines += [f"start  {line}" for line in _starts(result["start"])]
    if result["source"] == "sample":
        lines.append(f"note   {SAMPLE_NOTE}")
    if result["backbone"] == "demo":
        lines.append(f"note   {DEMO_NOTE}")
    return "\n".join(lines)


def _scores(result: Mapping[str, Any]) -> Iterator[str]:
    reported = result["reported"]
    less = result.get("less_is_better", ())
    names = {metric: f"{metric}, less is better" if metric in less else metric for metric in _metrics(result)}
    width = max(len(f"{split} {names[metric]}") for split, found in result["majority"].items() for metric in found)
    yield f"  {'score × 100':<{width}} {'last':>8} {'best':>8} {'majority':>9}"
    for split, by_checkpoint in result["scores"].items():
        for metric, majority in result["majority"][split].items():
            row = [by_checkpoint[checkpoint][metric] for checkpoint in ("last", "best")]
            mark = f"  ← reported: {reported['checkpoint']}" if (split, metric) == _key(reported) else ""
            last, best, most = (error(value) if metric in less else points(value) for value in (*row, majority))
            yield f"  {f'{split} {names[metric]}':<{width}} {last:>8} {best:>8} {most:>9}{mark}"


def _metrics(result: Mapping[str, Any]) -> dict[str, None]:
    return dict.fromkeys(metric for found in result["majority"].values() for metric in found)


def _starts(stage: Mapping[str, Any] | None) -> Iterator[str]:
    """The stages that the run starts from, the latest first, with what each cost once."""
    while stage is not None:
        spent = f"{stage['cost']['steps']:,} steps · {stage['cost']['seconds']:.1f} s, once for all who start there"
        yield f"{stage['task']} · {describe(stage['methods'])} · {spent} · {stage['checkpoint']}"
        stage = stage["start"]


def describe(methods: list[dict[str, Any]]) -> str:
    """`Mixout(p=0.7)`: each method with its first option and what else is not its default; `plain` for none."""
    return " + ".join(f"{m['name']}({', '.join(_options(m))})" for m in methods) or "plain"


def _options(method: Mapping[str, Any]) -> Iterator[str]:
    known = {cls.__name__: cls for cls in subclasses()}
    parameters = inspect.signature(known[method["name"]]).parameters if method["name"] in known else {}
    for number, (name, value) in enumerate(method["options"].items()):
        if number == 0 or name not in parameters or not same(parameters[name].default, value):
            nested = isinstance(value, dict) or (isinstance(value, list) and any(isinstance(v, dict) for v in value))
            yield f"{name}={'…' if nested else value}"


def points(value: float | None) -> str:
    """A score in points; a dash where it is undefined."""
    return "–" if value is None else f"{100 * value:.1f}"


def error(value: float | None) -> str:
    """An error on its own scale."""
    return "–" if value is None else f"{value:.4g}"


def _key(reported: Mapping[str, Any]) -> tuple[str, str]:
    return reported["split"], reported["metric"]
