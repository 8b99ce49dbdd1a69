"""`--ckpt_path`: what a checkpoint says about its run, compared with what is asked for now.

The stock command line lets the checkpoint's hyper-parameters override the ones that were given, silently.
"""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

import pytorch_lightning as pl
import yaml

from ftreg.checkpoints import load
from ftreg.errors import UsageError
from ftreg.identity import ELSEWHERE, off, same
from ftreg.names import listed
from ftreg.structure import subclasses

KEY = "ftreg_run"
MAY_DIFFER = frozenset({"data.path", "data.eval_batch_size"})
"""Where the data lie (the loader compares their content), and what no number depends on."""
ADDED: dict[str, Any] = {"model.head": "new"}
"""What options were before they existed, for older checkpoints."""


class Provenance(pl.Callback):
    """Puts the run's task and resolved configuration into its checkpoints.

    Args:
        task: name of the task.
        config: plain values only, so that checkpoints load with `weights_only=True`.
    """

    def __init__(self, task: str, config: Mapping[str, Any]) -> None:
        self.task, self.config = task, dict(config)

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = {"task": self.task, "config": self.config}


def read(path: str) -> tuple[dict[str, Any], int]:
    """`task` and `config` of the run that wrote the checkpoint, empty where `ftreg fit` did not; its steps.

    Raises:
        UsageError: no such file, or no checkpoint.
    """
    checkpoint = load(path, "ckpt_path")
    return dict(checkpoint.get(KEY, {})), int(checkpoint.get("global_step", 0))


def check_same_run(path: str, run: Mapping[str, Any], task: str, config: Mapping[str, Any]) -> None:
    """A fit continues the run that wrote the checkpoint: same task, model, data, seeds, methods and length.

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
    before, now = ADDED | dict(_options(run["config"])), dict(_options(config))
    for name in before | now:
        if not same(before.get(name), now.get(name)) and name not in MAY_DIFFER:
            raise UsageError(
                f"{name} is {shown(before.get(name))} in {path} and {shown(now.get(name))} here; "
                f"a resumed run keeps its options: give the same, or leave out ckpt_path"
            )


def adopt(path: str, run: Mapping[str, Any], config: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Command-line arguments for the model options that the checkpoint has and the user did not give.

    Raises:
        UsageError: one was given and differs.
    """
    arguments = []
    for name, before in (run["config"]["model"] if run else {}).items():
        now = config["model"].get(name)
        if same(before, now):
            continue
        if f"model.{name}" in given:
            raise UsageError(
                f"model.{name} is {shown(before)} in {path} and {shown(now)} here; "
                f"leave it out, the checkpoint's own is used"
            )
        arguments.append(f"--model.{name}={shown(before)}")
    return arguments


def _options(config: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for group in ("model", "data", "seeds"):
        for name, value in config[group].items():
            yield f"{group}.{name}", value
    methods = {cls.__name__ for cls in subclasses()}
    callbacks = listed(config["trainer"].get("callbacks"))
    for name, value in config["trainer"].items():
        if name not in {*ELSEWHERE, "callbacks"} and not off(name, value):
            yield f"trainer.{name}", value
    yield "trainer.callbacks", [c for c in callbacks if c["class_path"].rpartition(".")[2] in methods]


def shown(value: Any) -> str:
    """A value as YAML and the command line write it, in one line."""
    return str(yaml.safe_dump(value, default_flow_style=True, width=10_000)).removesuffix("\n").removesuffix("\n...")
