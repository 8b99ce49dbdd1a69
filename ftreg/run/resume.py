"""`--ckpt_path` goes on with a run: what its checkpoint says about it is compared with what is asked for now.

The stock command line lets the checkpoint's hyper-parameters override the ones that were given, silently.
"""

from collections.abc import Callable, Iterator, Mapping
from functools import cached_property
from typing import Any

import pytorch_lightning as pl
import yaml

from ftreg._base.errors import UsageError
from ftreg._base.names import imported, listed
from ftreg.lightning.compatibility import watches
from ftreg.run.identity import ELSEWHERE, off, same
from glue_tasks.written import written_out

KEY = "ftreg_run"
MAY_DIFFER = frozenset({"data.path", "data.eval_batch_size"})
"""Options of where the data lie (the loader compares their content), and what no number depends on."""
ADDED: dict[str, Any] = {"model.head": "new"}
"""What options were before they existed, for older checkpoints."""


class RunInCheckpoints(pl.Callback):
    """Puts the run's task, resolved configuration and the hashes of its rows into its checkpoints.

    Args:
        data: a GlueDataModule.
        config: plain values only, so that checkpoints load with `weights_only=True`.
        identity: finds the run's.
    """

    def __init__(self, data: Any, config: Mapping[str, Any], identity: Callable[[], str]) -> None:
        self.data, self.config, self._find = data, dict(config), identity

    @cached_property
    def identity(self) -> str:
        """Found at the first checkpoint: by then the rows have been read."""
        return self._find()

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        found = {"identity": self.identity, "rows": dict(self.data.fingerprints)}
        checkpoint[KEY] = {"task": self.data.task.name, "config": self.config} | found


def check_same_run(path: str, run: Mapping[str, Any], task: str, config: Mapping[str, Any]) -> None:
    """Check that a fit continues the run that wrote the checkpoint: task, model, data, seeds, methods and length.

    Raises:
        UsageError: names the first option that differs, with both values.
    """
    if not run:
        return
    if run["task"] != task:
        raise UsageError(
            f"ckpt_path {path} is of task {run['task']}, this run is of {task}; "
            f"give data.task={run['task']}, or leave out ckpt_path"
        )
    changed = difference(run["config"], config, f"in {path}", "here")
    if changed:
        raise UsageError(f"{changed}; a resumed run keeps its options: give the same, or leave out ckpt_path")


def check_identity(path: str, run: Mapping[str, Any], identity: Callable[[], str]) -> None:
    """Check that a fit whose options are those of the checkpoint's run also has its data, backbone and stages.

    Raises:
        UsageError: it has others.
    """
    if run.get("identity") and run["identity"] != identity():
        raise UsageError(
            f"ckpt_path {path}: its run had the same options, but other rows, another backbone or stage, or an earlier "
            "version of ftreg; give those, or leave out ckpt_path"
        )


def difference(before: Mapping[str, Any], now: Mapping[str, Any], there: str, here: str) -> str:
    """Return the first option that two resolved configurations of one run differ in; nothing if none does.

    Args:
        there, here: where `before` and `now` have their values.
    """
    old, new = dict(_options(before)), dict(_options(now))
    old = {name: value for name, value in ADDED.items() if name in new} | old
    for name in old | new:
        if not same(old.get(name), new.get(name)) and name not in MAY_DIFFER:
            return f"{name} is {as_yaml(old.get(name))} {there} and {as_yaml(new.get(name))} {here}"
    return ""


def _declared(task: Any) -> Any:
    return written_out(task) if isinstance(task, Mapping) else task


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for group in ("model", "data", "seeds"):
        for name, value in config[group].items():
            # a configuration file has a task as it was parsed, its default metrics not written out
            yield f"{group}.{name}", _declared(value) if (group, name) == ("data", "task") else value
    callbacks = listed(config["trainer"].get("callbacks"))
    for name, value in config["trainer"].items():
        if name not in {*ELSEWHERE, "callbacks"} and not off(name, value):
            yield f"trainer.{name}", value
    yield "trainer.callbacks", [c for c in callbacks if not watches(imported(c["class_path"], ""))]


def argument(name: str, value: Any) -> str:
    """Write an option as it would be typed: of a string, quotes would become part of it."""
    return f"--{name}={value if isinstance(value, str) else as_yaml(value)}"


def as_yaml(value: Any) -> str:
    """Write a value as YAML has it, in one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("\n").removesuffix("\n...")
