"""A metric by class path is found, built for a task, and tried before anything is trained."""

import importlib
import inspect
import math
import sys
from collections.abc import Mapping
from typing import Any

import torch
from torchmetrics import Metric

from glue_tasks.errors import DataError
from glue_tasks.kinds import Kind, metric_name
from glue_tasks.shown import nearest, shown
from glue_tasks.tasks import Task

FAMILIES = ("torchmetrics.classification", "torchmetrics.regression")
"""Where torchmetrics keeps what takes class ids or numbers; others load models, or files."""


_TAKEN: Mapping[Kind, str] = {
    "single_label": "class ids, not of probabilities",
    "multi_label": "sets of labels, 0 and 1 for each, not of probabilities",
    "regression": "targets",
}


def import_classes(task: Task) -> None:
    """Import the modules of the metrics that are given by class path. Call it for what a user wrote, and nothing else.

    Raises `DataError`: no such module.
    """
    for metric in task.metrics:
        module = _path(metric).rpartition(".")[0]
        if module:
            try:
                importlib.import_module(module)
            except Exception as error:  # a module of one's own may raise anything
                raise DataError(
                    f"metrics: cannot import {shown(module)} ({_reason(error)}); check the class path"
                ) from error


def own_metric(task: Task, metric: str | Mapping[str, Any], sync_on_compute: bool) -> Metric:
    """Build the metric at a class path with its options, and the number of classes (or of labels) where it wants one.

    The module must have been imported: what a checkpoint or a record says imports nothing.

    Raises `DataError`: no such class, options that it does not take, or a class that makes no number of class ids (or
    targets), or does not say whether more of it is better.
    """
    path, options = _path(metric), dict(metric.get("init_args") or {}) if isinstance(metric, Mapping) else {}
    where = f"task {task.name!r}: metric {path}"
    found = _class(path, where)
    parameters = inspect.signature(found).parameters
    size = "num_labels" if task.kind == "multi_label" else "num_classes"
    if task.kind == "multi_label" and "num_classes" in parameters and "num_labels" not in parameters:
        raise DataError(
            f"{where} takes class ids, and a row has a set of labels; choose one of torchmetrics' Multilabel..."
        )
    if size in parameters and size not in options:
        options[size] = task.num_labels
    for name, parameter in parameters.items():
        if (
            parameter.default is parameter.empty
            and parameter.kind is parameter.POSITIONAL_OR_KEYWORD
            and name not in options
        ):
            raise DataError(f"{where} needs {name}; give {{class_path: {path}, init_args: {{{name}: ...}}}}")
    try:
        made = found(**options, sync_on_compute=sync_on_compute)
    except Exception as error:  # torchmetrics raises a dozen types for what it cannot do
        raise DataError(f"{where}: {_reason(error)}; mend its init_args") from error
    try:
        _try(made, task)
    except Exception as error:
        wanted = _TAKEN[task.kind or "single_label"]
        raise DataError(
            f"{where} makes no number of {wanted} ({_reason(error)}); choose another, or other init_args"
        ) from error
    if not isinstance(made.higher_is_better, bool):
        raise DataError(f"{where} does not say whether more is better; set higher_is_better in a class of your own")
    return made


def _reason(error: Exception) -> str:
    return " ".join(str(error).split())[:150] or type(error).__name__


def _path(metric: str | Mapping[str, Any]) -> str:
    return metric if isinstance(metric, str) else str(metric["class_path"])


def _class(path: str, where: str) -> type[Metric]:
    module, name = path.rpartition(".")[0], metric_name(path)
    if module not in sys.modules:
        raise DataError(f"{where} is unknown here; import {shown(module)} first, or give the task in a configuration")
    found = getattr(sys.modules[module], name, None)
    home = getattr(found, "__module__", "")
    elsewhere = home.startswith("torchmetrics.") and not home.startswith(FAMILIES)
    if elsewhere or not (isinstance(found, type) and issubclass(found, Metric)):
        names = [
            n for n, value in vars(sys.modules[module]).items() if isinstance(value, type) and issubclass(value, Metric)
        ]
        raise DataError(f"{where}: no torchmetrics metric of that name; {nearest(name, names)}check the class path")
    return found


def _try(metric: Metric, task: Task) -> None:
    values = torch.arange(8) % task.num_labels if task.labels else torch.arange(8.0)
    if task.kind == "multi_label":
        values = (torch.arange(8)[:, None] + torch.arange(task.num_labels)) % 2
    metric.update(values, values)
    value = metric.compute()
    if not (isinstance(value, torch.Tensor) and value.numel() == 1 and not math.isinf(float(value))):
        raise ValueError(f"it is {shown(value)}, not one number")
    metric.reset()
