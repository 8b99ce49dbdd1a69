"""A fit's configuration or record tells what it used: methods, tasks, loggers, and where it started."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ftreg._base import yaml_text
from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg._base.names import imported, listed, unknown
from ftreg.run.places import CONFIG, RESULT
from ftreg.run.result import Fitted
from glue_tasks.documents import TASKS as TEXT_TASKS
from glue_tasks.errors import DataError
from glue_tasks.registry import find
from glue_tasks.tasks import GLUE

if TYPE_CHECKING:
    from ftreg.core.method import Regularizer

REPORT = "report.json"


@dataclass(frozen=True)
class Fit:
    """A fit is what it used, as far as that is cited.

    Args:
        methods: as its options build them.
        tasks: names of GLUE's, and of those that are made from plain text.
        own_methods: names of those in a record whose classes are not known here.
        own_tasks: names of other tasks.
        wandb: whether it logs to Weights & Biases.
        towards_anchor: whether its weights decay towards the pre-trained ones.
        start: the fit whose weights it starts from.
    """

    methods: tuple["Regularizer", ...] = ()
    tasks: tuple[str, ...] = ()
    own_methods: tuple[str, ...] = ()
    own_tasks: tuple[str, ...] = ()
    wandb: bool = False
    towards_anchor: bool = False
    start: "Fit | None" = None

    @property
    def supervised(self) -> bool:
        """Whether it learns labels that somebody has given."""
        return all(method.supervised for method in self.methods) and not TEXT_TASKS.keys() & {*self.tasks}


def read_fits(path: Path) -> tuple[list[Fit], bool]:
    """Read the fits that a configuration, a run's folder, or a folder of runs tells of; and whether it is a report's.

    Raises:
        UsageError: there is no fit, it cannot be read, or it has an unknown task, method or option.
    """
    if not path.is_dir() and not ordinary(path).exists():
        raise UsageError(f"{path}: no such file or folder; give a configuration, or a folder with runs")
    if path.name in (RESULT, REPORT):
        path = path.parent
    if path.is_file():
        return [from_config(_load(path), str(path), seen=frozenset({path.resolve()}))], False
    runs = [path] if (path / RESULT).is_file() else sorted(found.parent for found in path.rglob(RESULT))
    report = (path / REPORT).is_file()
    if not runs and not report:
        raise UsageError(f"{path}: no {RESULT} in or below it; of a run that has not ended, give its {CONFIG}")
    return [from_folder(run) for run in runs], report


def from_config(
    config: Mapping[str, Any], where: str, start: Fit | None = None, seen: frozenset[Path] = frozenset()
) -> Fit:
    """Return the fit of a configuration of `ftreg fit`, whole or in part: what it does not say is not used.

    Args:
        config: with groups `data`, `trainer` and `model`.
        where: names it in errors.
        start: what it is known to have started from, in place of what a method's stages say.
        seen: the files that it comes from, so that no stage is its own.

    Raises:
        UsageError: an unknown task, method or option, or no such groups.
    """
    data, trainer, model = (_mapping(config.get(name), f"{where}: {name}") for name in ("data", "trainer", "model"))
    callbacks = [_entry(c, where) for name in ("callbacks", "callbacks+") for c in listed(trainer.get(name))]
    methods = [made for entry in callbacks if (made := _method(entry, where)) is not None]
    also = [_mapping(entry, f"{where}: data.also").get("task") for entry in listed(data.get("also"))]
    if also:
        from ftreg.core.method_registry import task_heads

        methods.append(task_heads()({}))  # `ftreg fit` adds it too, with the tasks' heads
    declared = [_task(task, where) for task in (data.get("task"), *also) if task is not None]
    loggers = [c.get("class_path") if isinstance(c, Mapping) else c for c in listed(trainer.get("logger"))]
    start = start or _start(methods, where, seen)
    return Fit(
        methods=tuple(methods),
        tasks=tuple(name for name, known in declared if known),
        own_tasks=tuple(name for name, known in declared if not known),
        wandb=any(_bare(str(name)) == "WandbLogger" for name in loggers),
        towards_anchor=model.get("decay_towards") == "anchor" and model.get("weight_decay") != 0,
        start=start,
    )


def from_result(result: Fitted, where: str) -> Fit:
    """Return the fit of a run's record, or of what that says of the stage that the run started from.

    Raises:
        UsageError: a method has an unknown option.
    """
    entries = [(method.name, method.options) for method in result.methods]
    start = from_result(result.start, where) if result.start else None
    known = {*GLUE, *TEXT_TASKS}
    classes = _methods() if entries else {}
    made = [_method({"class_path": name, "init_args": o}, where) for name, o in entries if name in classes]
    methods = tuple(method for method in made if method is not None)
    tasks = [result.task, *_tasks_of_heads(methods)]
    return Fit(
        methods=methods,
        tasks=tuple(task for task in tasks if task in known),
        own_methods=tuple(name for name, _ in entries if name not in classes),
        own_tasks=tuple(task for task in tasks if task not in known),
        start=start,
    )


def from_folder(folder: Path) -> Fit:
    """Return the fit of a run's configuration, which alone has its loggers, with the start that its record tells of.

    Raises:
        UsageError: there is no record, or it cannot be read.
    """
    record, config = folder / RESULT, folder / CONFIG
    fitted = Fitted.read(record)
    if fitted is None:
        raise UsageError(f"{record}: no such file; give a folder that `ftreg fit` has written")
    fit = from_result(fitted, str(record))
    return from_config(_load(config), str(config), fit.start) if config.is_file() else fit


def _tasks_of_heads(methods: Sequence["Regularizer"]) -> list[str]:
    """Return the names of the tasks that methods give heads of their own."""
    if not methods:
        return []  # without torch
    from ftreg.core.roles import TaskHeads

    return [task for method in methods if isinstance(method, TaskHeads) for task in method.heads]


def _start(methods: Sequence["Regularizer"], where: str, seen: frozenset[Path]) -> Fit | None:
    """Return the last of a method's stages, which starts from those before it; or the run that its checkpoint is of."""
    if not methods:
        return None  # without torch
    from ftreg.core.roles import StartsFromFits
    from ftreg.run.stages import with_start

    start = next((method for method in methods if isinstance(method, StartsFromFits)), None)
    if start is None or not (start.stages or start.checkpoint):
        return None
    if not start.stages:
        run = Path(str(start.checkpoint)).expanduser().parent.parent
        return from_folder(run) if (run / RESULT).is_file() else None
    *before, own = start.stages
    if isinstance(own, str):
        path = Path(own).expanduser()
        if path.resolve() in seen:
            raise UsageError(f"{where}: stage {own} has itself as a stage; leave it out")
        own, where, seen = dict(_load(path)), str(path), seen | {path.resolve()}
    config = _mapping(own, f"{where}: {start.name}.stages")
    if before:
        trainer = _mapping(config.get("trainer"), f"{where}: trainer")
        config = {**config, "trainer": with_start(trainer, start.within_stage(before))}
    return from_config(config, where, seen=seen)


def _task(task: Any, where: str) -> tuple[str, bool]:
    """Return a task's name, and whether it is one of ours."""
    if isinstance(task, str):
        try:
            return find(task).name, True
        except DataError as error:
            raise UsageError(f"{where}: {error}") from None
    name = _mapping(task, f"{where}: data.task").get("name")
    if not isinstance(name, str):
        raise UsageError(f"{where}: data.task has no name; a task of one's own has name, columns and labels")
    return name, False


def _entry(callback: Any, where: str) -> dict[str, Any]:
    """Return an entry of `trainer.callbacks` in its long form."""
    where = f"{where}: trainer.callbacks"
    fields = {"class_path": callback} if isinstance(callback, str) else _mapping(callback, where)
    if not isinstance(fields.get("class_path"), str):
        raise UsageError(f"{where}: found {callback!r}; write a name, or class_path and init_args")
    options = _mapping(fields.get("init_args"), f"{where}: {fields['class_path']}")
    return {"class_path": fields["class_path"], "init_args": options}


def _method(entry: Mapping[str, Any], where: str) -> "Regularizer | None":
    """Return the method that an entry builds; None for another callback."""
    from ftreg.core.method import Regularizer

    cls = _class(entry["class_path"], where)
    if not issubclass(cls, Regularizer):
        return None
    try:
        return cls(**entry["init_args"])
    except (TypeError, UsageError) as error:
        message = re.sub(r"^\S*__init__\(\)", cls.__name__, str(error))
        raise UsageError(f"{where}: {message}") from None


def _methods() -> dict[str, type["Regularizer"]]:
    """Return every method by its bare name: those of this package, and one's own that have been imported."""
    from ftreg.core.method_registry import shipped_or_imported

    return shipped_or_imported()


def _class(name: str, where: str) -> type:
    if "." not in name:
        from ftreg.lightning.callbacks import known_callbacks

        methods = _methods()
        known = known_callbacks()
        if name not in known:
            raise UsageError(f"{where}: {unknown('no method', name, sorted(methods))}")
        return known[name]
    return imported(name, f"{where}: ")


def _bare(class_path: str) -> str:
    return class_path.rpartition(".")[2]


def _load(path: Path) -> Mapping[str, Any]:
    """Read a YAML or JSON file as `ftreg fit` reads it."""
    content = yaml_text.read_yaml(path, "check the path")
    if not isinstance(content, Mapping):
        raise UsageError(f"{path}: holds no options; give a configuration of `ftreg fit`")
    return content


def _mapping(value: Any, what: str) -> Mapping[str, Any]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise UsageError(f"{what}: found {value!r}; write it as indented `option: value` lines")
    return value
