"""A grid says what is compared, on which tasks, with which seeds; it is read from YAML and checked first of all.

    base: [../base.yaml, --data.source=tsv]         # of every run
    tasks: {mrpc: [../tasks/mrpc.yaml]}             # or a list of names of tasks: [mrpc, stsb]
    methods:                                        # combinations are longer lists
      plain: []
      freelb: [../freelb/freelb.yaml, --trainer.callbacks.steps=2]
    seeds: [0, 1, 2]                                # the same for every method
    primary: plain                                  # the family of comparisons that is fixed beforehand

Settings (`base`, a task's, a method's, `stage_one`) are lists of configuration files and of `--option=value`, in the
order in which `ftreg fit` gets them: base, protocol and train_subset, task, stage_one, method, seeds. Later ones win. A
file is looked for beside the grid file, then in the working directory; paths inside it are relative to the working
directory, as for `ftreg fit`.

seeds: a number stands for init, order and split together. `{init+order: [0, 1, 2], split: 7}` varies two together on
    one split; `{init: [0, 1], order: [0, 1]}` crosses them. One that is not named is 0.
protocol, train_subset: of `data`, for all tasks that do not say otherwise.
stage_one: put before every method's own settings, so that all of them, plain too, start from one stage.
match_compute: for each method a further arm `plain@METHOD`, plain for as many times the method's steps as one of
    them costs steps of plain. `{freelb: 3}` declares that cost. `true` measures it for all methods: seconds per step
    relative to plain's, the median over the seeds of the task, in tenths, once all those runs are there; it is kept in
    `matched.json`. A method that costs no more than plain and trains as long gets no arm: plain is its match. Stage
    one is not counted. Leave trainer.val_check_interval alone: then every run has ten evaluations to choose from.
tune: `{seeds: [100, 101], settings: {plain: [[--model.lr=1e-5], [--model.lr=5e-5]], …}}`: for every method, plain too,
    the same number of settings, each added to the method's own. They run on the tuning seeds, under `tune/`; what has
    the highest mean on the selection split (best checkpoint, the task's first metric) then runs on `seeds`. All
    scores are in `tuned.json`.
primary: pairs `[method, baseline]`, or a baseline (`plain`, or `matched` for every method's own) for all methods.
slurm: options of `sbatch` for `--launcher slurm`, such as `{partition: gpu, time: "4:00:00", gres: gpu:1}`. With more
    than one task (`nodes: 2, ntasks-per-node: 4`) srun starts a run on all of them; give the trainer its devices and
    num_nodes too.
"""

import itertools
import re
from collections import ChainMap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg._base.names import unknown
from ftreg._base.seeds import PARTS, Seeds
from glue_tasks.shown import nearest

PLAIN = "plain"
MATCHED = "matched"
KEYS = (
    "base", "tasks", "methods", "seeds", "protocol", "train_subset", "stage_one", "match_compute", "tune", "primary",
    "slurm",
)  # fmt: skip
OURS = ("trainer.default_root_dir", "ckpt_path", "seeds", "seeds.init", "seeds.order", "seeds.split")
"""Options of `ftreg fit` that each cell sets for itself."""

Settings = tuple[str, ...]
"""Arguments of `ftreg fit`."""


@dataclass(frozen=True)
class Tune:
    """Settings to choose from, the same number for every method, and the seeds to choose with."""

    seeds: tuple[Seeds, ...]
    settings: Mapping[str, tuple[Settings, ...]]


@dataclass(frozen=True)
class Grid:
    """A grid is what its file says; see this module's description."""

    path: Path
    base: Settings
    tasks: Mapping[str, Settings]
    methods: Mapping[str, Settings]
    seeds: tuple[Seeds, ...]
    stage_one: Settings
    match_compute: Mapping[str, float | None]
    """Methods with a matched arm; the cost of a step in steps of plain, None where it is to be measured."""
    tune: Tune | None
    primary: tuple[tuple[str, str], ...]
    """(method, baseline) pairs; the baseline is a method, or `plain@METHOD`."""
    slurm: Mapping[str, str]


def read_grid(path: Path) -> Grid:
    """Read the grid in a file.

    Raises:
        UsageError: one line with the file, the key and what it should be.
    """
    content = yaml_text.read_yaml(path, "give a grid file")
    if not isinstance(content, Mapping):
        raise UsageError(f"{path}: holds no grid; write keys such as tasks: and methods:")
    try:
        return _grid(path, content)
    except UsageError as error:
        raise UsageError(f"{path}: {error}") from None


def _grid(path: Path, content: Mapping[str, Any]) -> Grid:
    for key in content:
        if key not in KEYS:
            raise UsageError(unknown("no key", str(key), KEYS))
    for key in ("tasks", "methods", "seeds"):
        if content.get(key) in (None, [], {}, ""):
            raise UsageError(f"{key} is missing; a grid has tasks, methods and seeds")
    methods = _named("methods", content["methods"], path)
    common = [f"--data.{key}={content[key]}" for key in ("protocol", "train_subset") if content.get(key) is not None]
    grid = Grid(
        path=path,
        base=(*_settings("base", content.get("base"), path), *common),
        tasks=_tasks(content["tasks"], path),
        methods=methods,
        seeds=_seeds("seeds", content["seeds"]),
        stage_one=_settings("stage_one", content.get("stage_one"), path),
        match_compute=_match(content.get("match_compute"), methods),
        tune=_tune(content.get("tune"), methods, path),
        primary=(),
        slurm=dict(_slurm(content.get("slurm") or {})),
    )
    if grid.tune is not None:
        for part in PARTS:
            own, theirs = ({getattr(seed, part) for seed in seeds} for seeds in (grid.seeds, grid.tune.seeds))
            if own & theirs and (len(own) > 1 or len(grid.seeds) == 1):
                shared = f"{part} {min(own & theirs)}"
                raise UsageError(f"tune.seeds: {shared} is among seeds too; what was chosen is confirmed on fresh ones")
        if content.get("protocol", "holdout") != "holdout":
            raise UsageError("tune: there is no selection split under this protocol; give protocol: holdout")
    return Grid(**{**vars(grid), "primary": tuple(_primary(content.get("primary"), grid))})


def _settings(where: str, value: Any, path: Path) -> Settings:
    """Return files and `--option=value` as arguments of `ftreg fit`."""
    if not isinstance(value, list | None) or not all(isinstance(entry, str) for entry in value or []):
        raise UsageError(f"{where}: found {value!r}; give a list of configuration files and of '--option=value'")
    return tuple(_setting(where, entry, path) for entry in value or [])


def _setting(where: str, entry: str, path: Path) -> str:
    if entry.startswith("-"):
        name, equals, _ = entry.lstrip("-").partition("=")
        if not entry.startswith("--") or not equals:
            raise UsageError(f"{where}: found {entry!r}; write --option=value in one")
        if name in OURS:
            raise UsageError(f"{where}: option {name} is the grid's to set; leave it out")
        return entry
    found = [place for place in (path.parent / entry, Path(entry)) if place.is_file()]
    if not found:
        here = [str(other.relative_to(path.parent)) for other in path.parent.glob("*.yaml")]
        raise UsageError(
            f"{where}: no file {entry!r} in {path.parent} or the working directory; {nearest(entry, here)}"
            "an option starts with --"
        )
    return f"--config={found[0]}"


def _named(where: str, value: Any, path: Path) -> dict[str, Settings]:
    """Return settings by a name that can be a folder's."""
    found = {}
    for name, settings in _mapping(where, value).items():
        if not re.fullmatch(r"[A-Za-z0-9][\w.+-]*", str(name)):
            raise UsageError(f"{where}: the name {name!r} cannot be a folder's; use letters, digits and . _ + -")
        found[str(name)] = _settings(f"{where}.{name}", settings, path)
    return found


def _tasks(value: Any, path: Path) -> dict[str, Settings]:
    if isinstance(value, list):
        return _named("tasks", {str(task): [f"--data.task={task}"] for task in value}, path)
    return _named("tasks", value, path)


def _mapping(where: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise UsageError(f"{where}: found {value!r}; write lines of name: value")
    return value


def _seeds(where: str, value: Any) -> tuple[Seeds, ...]:
    if not isinstance(value, Mapping):
        return tuple(Seeds(number, number, number) for number in _numbers(where, value))
    axes, left = [], list(PARTS)
    for key, numbers in value.items():
        together = str(key).split("+")
        for name in together:
            if name not in PARTS:
                raise UsageError(unknown(f"{where}: no seed", name, PARTS))
            if name not in left:
                raise UsageError(f"{where}: {name} is there twice; name each seed once")
            left.remove(name)
        axes.append([dict.fromkeys(together, number) for number in _numbers(f"{where}.{key}", numbers)])
    fixed = dict.fromkeys(left, 0)
    return tuple(Seeds(**ChainMap(*parts, fixed)) for parts in itertools.product(*axes))


def _numbers(where: str, value: Any) -> list[int]:
    numbers = value if isinstance(value, list) else [value]
    if not numbers or not all(type(number) is int and number >= 0 for number in numbers):
        raise UsageError(f"{where}: found {value!r}; give a list of whole numbers from 0")
    if len(set(numbers)) < len(numbers):
        raise UsageError(f"{where}: {value} has one of them twice")
    return numbers


def _match(value: Any, methods: Mapping[str, Settings]) -> dict[str, float | None]:
    if value is None or value is False:
        return {}
    if PLAIN not in methods:
        raise UsageError(f"match_compute: there is no method {PLAIN!r} to match")
    if value is True:
        return {name: None for name in methods if name != PLAIN}
    for name, cost in _mapping("match_compute", value).items():
        if name not in methods or name == PLAIN:
            raise UsageError(unknown("match_compute: no method", str(name), [m for m in methods if m != PLAIN]))
        if not isinstance(cost, int | float) or isinstance(cost, bool) or not 0 < cost < 1000:
            raise UsageError(f"match_compute.{name}: found {cost!r}; give the cost of a step in steps of plain")
    return {str(name): float(cost) for name, cost in value.items()}


def _tune(value: Any, methods: Mapping[str, Settings], path: Path) -> Tune | None:
    if value is None:
        return None
    for key in _mapping("tune", value):
        if key not in ("seeds", "settings"):
            raise UsageError(unknown("tune: no key", str(key), ("seeds", "settings")))
    given = _mapping("tune.settings", value.get("settings"))
    for name in given:
        if name not in methods:
            raise UsageError(unknown("tune.settings: no method", str(name), list(methods)))
    for name in methods:
        if name not in given:
            raise UsageError(f"tune.settings: none for {name}; every method gets the same number of settings")
    settings = {}
    for name, several in given.items():
        if not isinstance(several, list) or not several:
            raise UsageError(f"tune.settings.{name}: found {several!r}; give a list of lists of '--option=value'")
        settings[str(name)] = tuple(_settings(f"tune.settings.{name}", one, path) for one in several)
    counts = {name: len(several) for name, several in settings.items()}
    if len(set(counts.values())) > 1:
        few, many = min(counts, key=lambda name: counts[name]), max(counts, key=lambda name: counts[name])
        raise UsageError(
            f"tune.settings: {many} has {counts[many]} and {few} has {counts[few]}; "
            "every method gets the same number of settings"
        )
    return Tune(_seeds("tune.seeds", value.get("seeds")), settings)


def _slurm(value: Any) -> Iterator[tuple[str, str]]:
    """Yield the options of sbatch as text; empty for a flag."""
    for name, option in _mapping("slurm", value).items():
        if name == "time" and not isinstance(option, str):
            raise UsageError(f'slurm.time: found {option!r}; write it in quotes, "4:00:00": YAML reads it as a number')
        if option is not False:
            yield str(name), "" if option is True else str(option)


def _primary(value: Any, grid: Grid) -> Iterator[tuple[str, str]]:
    baselines = [*grid.methods, *(f"{PLAIN}@{name}" for name in grid.match_compute)]
    if not isinstance(value, str | list | None):
        raise UsageError(f"primary: found {value!r}; give pairs [method, baseline], or a baseline for all methods")
    if value == MATCHED:
        if not grid.match_compute:
            raise UsageError("primary: matched is for a grid with match_compute")
        yield from ((name, f"{PLAIN}@{name}") for name in grid.match_compute)
        return
    pairs = [[name, value] for name in grid.methods if name != value] if isinstance(value, str) else value or []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise UsageError(f"primary: found {pair!r}; give pairs [method, baseline], or a baseline for all methods")
        for name in pair:
            if name not in baselines:
                raise UsageError(unknown("primary: no method", str(name), baselines))
        if pair[0] == pair[1]:
            raise UsageError(f"primary: {pair[0]} is compared with itself; give pairs [method, baseline]")
        yield pair[0], pair[1]
