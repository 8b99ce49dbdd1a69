"""A cell is parsed and checked as `ftreg fit` would, before anything runs."""

import json
from functools import cached_property, lru_cache
from typing import Any

from ftreg._base.messages import reading
from ftreg.bench.cells import Cell
from ftreg.cli.plan import FitPlan, build, data_of, data_options
from ftreg.run.identity import ELSEWHERE, same
from ftreg.run.resume import as_yaml
from glue_tasks.data import GlueDataModule


class Checked(FitPlan):
    """A plan whose model and stages were tried as well; the trainer is the machine's that runs it."""

    def instantiate_classes(self) -> None:
        """Build the data, read once for all cells that have them; the model without its weights; the stages."""
        super().instantiate_classes()
        self.refuse(self.datamodule)
        self.refuse_overlap(self.datamodule)

    @cached_property
    def resolved(self) -> dict[str, Any]:
        """Every option, as plain values."""
        return self._plain()

    def data(self) -> GlueDataModule:
        """Return the run's data, apart from the trainer."""
        return _data(json.dumps(data_options(self.resolved), sort_keys=True))


@lru_cache(maxsize=4)
def _data(options: str) -> GlueDataModule:
    return data_of(json.loads(options))


def checked_plan(cell: Cell) -> Checked:
    """Return the cell's run, checked and not started.

    Raises:
        UsageError: what `ftreg fit` would complain of, with the cell's name.
    """
    with reading(cell.name):
        return build(["fit", *cell.arguments], Checked)


def difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Return the first option that two configurations differ in, with both values; nothing if none does."""
    old, new = dict(_flat(before)), dict(_flat(now))
    for name in old | new:
        if not same(old.get(name), new.get(name)):
            return f"{name} {as_yaml(old.get(name))} there and {as_yaml(new.get(name))} in the grid"
    return ""


def _flat(config: dict[str, Any]) -> list[tuple[str, Any]]:
    return [
        (f"{group}.{name}", value)
        for group in ("model", "data", "seeds", "trainer")
        for name, value in config[group].items()
        if group != "trainer" or name not in ELSEWHERE
    ]
