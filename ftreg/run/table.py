"""The short table that ends a fit."""

from collections.abc import Iterator, Mapping
from typing import Any

from ftreg.run.wording import error_in_words, methods_in_words, notes, points


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
        methods_in_words([*result["methods"], *result["callbacks"]]),
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
    lines += [f"note   {note}" for note in notes(result["source"], result["backbone"])]
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
            shown = error_in_words if metric in less else points
            last, best, most = map(shown, (*row, majority))
            yield f"  {f'{split} {names[metric]}':<{width}} {last:>8} {best:>8} {most:>9}{mark}"


def _metrics(result: Mapping[str, Any]) -> dict[str, None]:
    return dict.fromkeys(metric for found in result["majority"].values() for metric in found)


def _starts(stage: Mapping[str, Any] | None) -> Iterator[str]:
    """The stages that the run starts from, the latest first, with what each cost once."""
    while stage is not None:
        spent = f"{stage['cost']['steps']:,} steps · {stage['cost']['seconds']:.1f} s, once for all who start there"
        yield f"{stage['task']} · {methods_in_words(stage['methods'])} · {spent} · {stage['checkpoint']}"
        stage = stage["start"]


def _key(reported: Mapping[str, Any]) -> tuple[str, str]:
    return reported["split"], reported["metric"]
