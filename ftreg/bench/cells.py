"""A grid runs cells, each a list of `ftreg fit` arguments under a name that is its folder."""

import math
from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ftreg._base.seeds import Seeds
from ftreg.bench.grid import PLAIN, Grid, Settings

ArmKey = tuple[str, str]
"""(task, method)."""


@dataclass(frozen=True)
class Cell:
    """One run: `task/method/seed`, or `tune/task/method.SETTING/seed`."""

    task: str
    method: str
    seed: Seeds
    arguments: Settings
    setting: int | None = None
    """While tuning, which of the method's settings, from 0."""

    @property
    def name(self) -> str:
        """The cell's name, unique in the grid; also its folder below that of all runs."""
        if self.setting is None:
            return f"{self.task}/{self.method}/{self.seed}"
        return f"tune/{self.task}/{self.method}.{self.setting}/{self.seed}"

    def folder(self, runs: Path) -> Path:
        """Return where it runs."""
        return runs / self.name


def tuning(grid: Grid) -> list[Cell]:
    """Return the runs to choose settings by; none without `tune`."""
    if grid.tune is None:
        return []
    return [
        _cell(grid, task, method, seed, settings, number)
        for task in grid.tasks
        for method in grid.methods
        for number, settings in enumerate(grid.tune.settings[method])
        for seed in grid.tune.seeds
    ]


def named(grid: Grid, chosen: Mapping[ArmKey, int]) -> list[Cell]:
    """Return the methods' runs, of those arms whose setting is chosen; of all, without `tune`."""
    return [
        _cell(grid, task, method, seed, _chosen(grid, task, method, chosen))
        for task in grid.tasks
        for method in grid.methods
        if grid.tune is None or (task, method) in chosen
        for seed in grid.seeds
    ]


def matched(grid: Grid, chosen: Mapping[ArmKey, int], budgets: Mapping[ArmKey, Settings]) -> list[Cell]:
    """Return plain's runs with the compute of a method, for each (task, method) with a budget."""
    return [
        _cell(grid, task, PLAIN, seed, (*_chosen(grid, task, PLAIN, chosen), *budget), under=f"{PLAIN}@{method}")
        for (task, method), budget in budgets.items()
        for seed in grid.seeds
    ]


def budget(cost: float, max_epochs: int | None, max_steps: int) -> Settings:
    """Return what gives plain `cost` times a method's steps; epochs are whole, and rounded up, in plain's favour."""
    times = [f"--trainer.max_steps={math.ceil(round(cost * max_steps, 6))}"] if max_steps > 0 else []
    if max_epochs is not None and max_epochs > 0:
        times.append(f"--trainer.max_epochs={math.ceil(round(cost * max_epochs, 6))}")
    return tuple(times)


def comparisons(grid: Grid, matched_by_plain: Collection[ArmKey]) -> Iterator[dict[str, str]]:
    """Yield the primary family, a task at a time: a method that costs no more than plain is matched by plain itself."""
    for task in grid.tasks:
        for method, baseline in grid.primary:
            own = baseline.removeprefix(f"{PLAIN}@")
            by_plain = own != baseline and (task, own) in matched_by_plain
            yield {"task": task, "method": method, "baseline": PLAIN if by_plain else baseline}


def _chosen(grid: Grid, task: str, method: str, chosen: Mapping[ArmKey, int]) -> Settings:
    return () if grid.tune is None else grid.tune.settings[method][chosen[task, method]]


def _cell(
    grid: Grid,
    task: str,
    method: str,
    seed: Seeds,
    more: Settings,
    setting: int | None = None,
    under: str | None = None,
) -> Cell:
    seeds = (f"--seeds.{name}={value}" for name, value in asdict(seed).items())
    arguments = (*grid.base, *grid.tasks[task], *grid.stage_one, *grid.methods[method], *more, *seeds)
    return Cell(task, under or method, seed, arguments, setting)
