"""Stage one is an ordinary fit before the target's, in the same launch, kept under its identity and trained once.

    ftreg fit  ──▶  a start with stages [a, b]  ──▶  fit b, from a start with stages [a]  ──▶  …  ──▶  the target's fit

The stages are those of a method that starts from other fits (`ftreg.core.roles.StartsFromFits`).

A stage is what `ftreg fit` would read from a file: groups `model`, `data`, `trainer` and `seeds`. It takes from the
target's configuration, unless it says otherwise, the backbone, where the data lie, and how and where a run is computed
(devices, strategy, precision, loggers); not the methods, the recipe or the seeds. A stage without `data.task` is on
the target's own task, and takes all of its data options and its split seed: it then sees no selection row either.
"""

import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.utilities import rank_zero_info

from ftreg._base import yaml_text
from ftreg._base.atomic import write_atomically
from ftreg._base.errors import UsageError
from ftreg._base.launch import first, launch
from ftreg._base.names import listed
from ftreg.core.method_registry import shipped_or_imported
from ftreg.core.roles import StartsFromFits
from ftreg.run.identity import ELSEWHERE
from ftreg.run.places import RESULT
from ftreg.run.result import RunResult, StageResult
from ftreg.run.resume import argument

GROUPS = ("model", "data", "trainer", "seeds")
BESIDE = ("ckpt_path", "seed_everything", "weights_only")
"""What a run's own `config.yaml` also has, and a stage does not need."""
INHERITED = (ELSEWHERE - {"default_root_dir", "enable_checkpointing"}) | {"precision"}
"""Trainer options that a stage takes from the target."""


def staged(config: Mapping[str, Any]) -> StartsFromFits | None:
    """Return the method of a resolved configuration that starts from stages, if there is one and it has some."""
    known = shipped_or_imported()
    for entry in listed(config["trainer"].get("callbacks")):
        cls = known.get(entry["class_path"].rpartition(".")[2])
        if cls is not None and issubclass(cls, StartsFromFits) and entry["init_args"].get("stages"):
            return cls(**entry["init_args"])
    return None


def with_start(trainer: Mapping[str, Any], start: StartsFromFits) -> dict[str, Any]:
    """Return a stage's trainer options, to whose callbacks the method is added that it starts with itself."""
    entry = {"class_path": start.name, "init_args": start.options()}
    return {**trainer, "callbacks": [entry, *listed(trainer.get("callbacks"))]}


def stage_folder(start: StartsFromFits, task: str, identity: str) -> Path:
    """Return the folder of a stage that is on the named task and has this identity."""
    return Path(start.store).expanduser() / f"{task}-{identity}"


def stage_arguments(start: StartsFromFits, target: Mapping[str, Any]) -> list[str]:
    """Return `ftreg fit`'s arguments for the last of the stages, which itself starts from the ones before it.

    Args:
        start: the method whose stages they are.
        target: the resolved configuration of the fit that starts from the stage.

    Raises:
        UsageError: a stage is no configuration.
    """
    *before, own = (_on_some_data(_groups(stage), target) for stage in start.stages or [])
    inherited = {name: target["trainer"][name] for name in INHERITED if target["trainer"].get(name) is not None}
    trainer = inherited | own["trainer"]
    if before:
        trainer = with_start(trainer, start.within_stage(before))
    merged = {
        "model": {"backbone": target["model"]["backbone"]} | own["model"],
        "data": own["data"],
        "trainer": trainer,
        "seeds": own["seeds"],
    }
    return [argument(f"{group}.{name}", value) for group in GROUPS for name, value in merged[group].items()]


def obtain(folder: Path, train: Callable[[], None]) -> None:
    """Have a finished run in the folder: train it, or wait for the launch that does.

    Call it on every process of a launch. One of them takes the lock for all; the others join the fit that it starts,
    or see that there is nothing to do. Between machines the folder must be on a file system that both see.

    Args:
        folder: the stage's own.
        train: fits, and leaves `result.json`.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, claim, own = folder / RESULT, folder / ".training", launch()
    if not first():
        while not done.is_file() and _text(claim) != own:
            time.sleep(0.1)
        if not done.is_file():
            train()
        return
    lock = FileLock(folder / ".lock")
    try:
        lock.acquire(timeout=0)
    except Timeout:
        rank_zero_info(f"stage one: another run trains it in {folder}; waiting")
        lock.acquire()
    try:
        if not done.is_file():
            write_atomically(claim, lambda path: path.write_text(own))
            train()
    finally:
        claim.unlink(missing_ok=True)
        lock.release()


def stage_result(folder: Path, weights: str) -> StageResult:
    """Return what a target's record says of the stage that it starts from.

    Args:
        folder: the stage's own, with a finished run.
        weights: `best` or `last`.

    Raises:
        UsageError: there is no record, or it cannot be read.
    """
    result = RunResult.read(folder / RESULT)
    if result is None:
        raise UsageError(f"{folder / RESULT}: is gone; run it again")
    chosen = folder / "checkpoints" / f"{weights}.ckpt"
    return result.as_stage(chosen if chosen.is_file() else chosen.with_name("last.ckpt"))


def _groups(stage: Mapping[str, Any] | str) -> dict[str, dict[str, Any]]:
    """Return a stage by groups, each a copy; `callbacks+`, as a file may have it, is `callbacks`."""
    content: Any = stage
    if isinstance(stage, str):
        content = yaml_text.read_yaml(Path(stage).expanduser(), "give the file of a stage")
    groups = [content.get(name) or {} for name in GROUPS] if isinstance(content, Mapping) else [content]
    if not all(isinstance(group, Mapping) for group in groups):
        raise UsageError(f"{stage!r} is no configuration; write groups such as data: and model:")
    unknown = [group for group in content if group not in (*GROUPS, *BESIDE)]
    if unknown:
        raise UsageError(f"no group {unknown[0]!r} in a stage; it has {', '.join(GROUPS)}")
    return {
        name: {str(option).rstrip("+"): value for option, value in group.items()}
        for name, group in zip(GROUPS, groups, strict=True)
    }


def _on_some_data(stage: dict[str, dict[str, Any]], target: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the stage with the data options that it takes from the target's."""
    data = stage["data"]
    if "task" not in data:
        return {
            **stage,
            "data": target["data"] | data,
            "seeds": {"split": target["seeds"]["split"]} | stage["seeds"],
        }
    where = {} if "source" in data else {name: target["data"][name] for name in ("source", "path")}
    return {**stage, "data": where | data}


def _text(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
