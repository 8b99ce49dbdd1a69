"""A short table ends a fit."""

from collections.abc import Iterator

from ftreg.run.result import ReportedScore, RunResult, StageResult
from ftreg.run.wording import error_in_words, methods_in_words, notes, points


def render(result: RunResult, title: str, folder: str) -> str:
    """Return what was run, scores × 100 at the last and the best checkpoint beside the majority's, and the cost.

    Args:
        title: the task's.
        folder: the run's, printed last.
    """
    cost = result.cost
    head = [
        title,
        f"protocol {result.protocol}",
        methods_in_words([*result.methods, *result.callbacks]),
        f"backbone {result.backbone}",
    ]
    lines = [
        " · ".join(head),
        "seeds " + ", ".join(f"{name} {value}" for name, value in vars(result.seeds).items()),
        "",
    ]
    if result.reported is None:
        lines.append("  nothing is evaluated: this fit learns no labels")
    else:
        lines += _scores(result, result.reported)
    if stop := result.stopped:
        by = stop.by or "a callback"
        lines.append(f"  {result.status}: stopped by {by} after step {stop.step:,} of {stop.of:,}")
    if result.failed:
        lines.append("  failed run: the last checkpoint is no better than the majority")
    rate = (cost.tokens or 0) / cost.seconds if cost.seconds else 0.0
    lines += [
        "",
        f"{cost.steps:,} steps · {cost.seconds:.1f} s · {rate:,.0f} tokens/s · "
        f"peak memory {(cost.peak_memory_bytes or 0) / 2**20:,.0f} MiB",
        f"record {folder}",
    ]
    lines += [f"start  {line}" for line in _starts(result.start)]
    lines += [f"note   {note}" for note in notes(result.source, result.backbone)]
    return "\n".join(lines)


def _scores(result: RunResult, reported: ReportedScore) -> Iterator[str]:
    less = result.less_is_better
    metrics = dict.fromkeys(metric for found in result.majority.values() for metric in found)
    names = {metric: f"{metric}, less is better" if metric in less else metric for metric in metrics}
    width = max(len(f"{split} {names[metric]}") for split, found in result.majority.items() for metric in found)
    yield f"  {'score × 100':<{width}} {'last':>8} {'best':>8} {'majority':>9}"
    for split, by_checkpoint in result.scores.items():
        for metric, majority in result.majority[split].items():
            row = [by_checkpoint[checkpoint][metric] for checkpoint in ("last", "best")]
            mark = (
                f"  ← reported: {reported.checkpoint}" if (split, metric) == (reported.split, reported.metric) else ""
            )
            shown = error_in_words if metric in less else points
            last, best, most = map(shown, (*row, majority))
            yield f"  {f'{split} {names[metric]}':<{width}} {last:>8} {best:>8} {most:>9}{mark}"


def _starts(stage: StageResult | None) -> Iterator[str]:
    """Yield a line on each stage that the run starts from, the latest first, with what it cost once."""
    while stage is not None:
        cost = stage.cost
        spent = "" if cost is None else f" · {cost.steps:,} steps · {cost.seconds:.1f} s, once for all who start there"
        yield f"{stage.task} · {methods_in_words(stage.methods)}{spent} · {stage.checkpoint}"
        stage = stage.start
