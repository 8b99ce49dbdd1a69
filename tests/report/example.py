"""A small report by hand: two tasks, a baseline, two methods, and the baseline at one's compute."""

import math

from ftreg._base.seeds import Seeds
from ftreg.report.expected import expected_maximum_unbiased
from ftreg.report.model import Arm, Comparison, Report, Run
from ftreg.report.statistics import Interval, summary
from ftreg.run.result import MethodRecord, ReportedScore, RunCost, RunResult

RECORD = RunResult(
    task="rte",
    source="glue",
    backbone="bert-tiny",
    protocol="holdout",
    methods=(MethodRecord("Mixout", {"p": 0.7}),),
    seeds=Seeds(),
    scores={"dev": {"best": {"accuracy": 0.6}}},
    reported=ReportedScore("dev", "best", "accuracy", 0.6),
    majority={"dev": {"accuracy": 0.53}},
    failed=False,
    cost=RunCost(steps=100, seconds=10.0),
    versions={"ftreg": "0.1.0"},
)


def example(method: str = "Mixout", curves: bool = True, costs: bool = True, compared: bool = True) -> Report:
    """`method` has a run that diverged on rte, and one that failed; its name goes everywhere that a name can."""
    runs = []
    for at, task in enumerate(("rte", "own-task")):
        for level, name in enumerate(("plain", method, "other", f"plain@{method}")):
            for seed in range(6):
                score = 0.6 + 0.05 * at + 0.03 * level + 0.007 * seed * (1 - 0.2 * level)
                if name == method and task == "rte" and seed < 2:
                    score = (math.nan, 0.5)[seed]
                runs.append(_run(task, name, seed, score, level, curves, costs))
    cells: dict[tuple[str, str], list[Run]] = {}
    for run in runs:
        cells.setdefault((run.task, run.method), []).append(run)
    arms = [_arm(task, name, tuple(cell)) for (task, name), cell in cells.items()]
    comparisons = [_comparison("rte", method, 0.03, 0.01), _comparison("own-task", method, -0.02, 0.2)]
    comparisons.append(_comparison("rte", "other", math.nan, math.nan))
    return Report(
        title=f"{method} and others",
        sources=("runs/first", "more.csv"),
        baseline="plain",
        alpha=0.05,
        runs=tuple(runs),
        arms=tuple(arms),
        comparisons=tuple(comparisons) if compared else (),
        averages={name: Interval(0.7, 0.65, 0.75) for name in ("plain", method)},
        averaged=("rte", "own-task"),
        variances={("rte", method): {"init": 0.5, "order": 0.3, "rest": 0.2}},
        warnings=(f"Of every comparison of {method}: few pairs.",),
        notes=(f"One run of {method} was left out.",),
    )


def _run(task: str, name: str, seed: int, score: float, level: int, curves: bool, costs: bool) -> Run:
    return Run(
        task=task,
        method=name,
        seed=f"{seed}-0-0",
        metric="accuracy",
        checkpoint="best",
        score=score,
        majority=0.53,
        failed=not score > 0.53,
        cost={"seconds": 10.0 * (2 if level in (1, 3) else 1), "steps": 100.0} if costs else {},
        curve=tuple((step, score * step / 30) for step in (10, 20, 30)) if curves else (),
        place=f"runs/{task}/{name}/{seed}",
        record=RECORD if name not in ("plain", "other") and "@" not in name else None,
    )


def _arm(task: str, name: str, runs: tuple[Run, ...]) -> Arm:
    known = [run.score for run in runs if math.isfinite(run.score)]
    best = tuple(expected_maximum_unbiased(known, n + 1) for n in range(len(known)))
    return Arm(task, name, "accuracy", runs, summary([run.score for run in runs], 0.53, resamples=100), best)


def _comparison(task: str, method: str, difference: float, p: float) -> Comparison:
    return Comparison(
        task=task,
        method=method,
        baseline="plain",
        metric="accuracy",
        pairs=5,
        missing=("0-0-0",),
        enough=True,
        difference=Interval(difference, difference - 0.01, difference + 0.01),
        p=p,
        p_wilcoxon=p,
        p_variance=p,
        adjusted=p,
        primary=task == "rte",
        epsilon=math.nan if math.isnan(p) else 0.1,
        cost_ratio=None if math.isnan(p) else 2.0,
        items=None,
        warnings=(f"Seed 0-0-0 of {method} diverged.",),
        verdict=f"On {task}, {method} does something.",
    )
