"""MultiTask trains several tasks on one encoder, with a head each; every optimizer step is of one task.

Liu, He, Chen, Gao. *Multi-Task Deep Neural Networks for Natural Language Understanding*. ACL 2019, arXiv 1901.11504,
Algorithm 1: a batch b_t of task t gives one step on the shared encoder θ and on that task's head φ_t,

    (θ, φ_t) ← (θ, φ_t) − ε ∇ L_t(θ, φ_t; b_t)

with L_t cross-entropy, or squared error for a regression (equations 6 and 7). Every head is the architecture's own
here, not the paper's stochastic answer network for pairs. The batches are those of
`glue_tasks.mixture.MixtureLoader`; the run's main task keeps the plain head, which is the one that is evaluated.
"""

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, ClassVar

import pytorch_lightning as pl
import torch
from torch import nn
from transformers import AutoModelForSequenceClassification

from ftreg._base.checks import typed
from ftreg._base.errors import UsageError
from ftreg.core.roles import TaskHeads
from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import seeded, stream_seed
from ftreg.encoder.torch_internals import module_slots
from ftreg.encoder.transformers_internals import draw, finish_drawing
from ftreg.methods import _held_out

PLAIN = ""
"""This stands for the main task's name."""


class MultiTask(TaskHeads):
    """MultiTask has a head for each of several tasks beside the main one, used by batches with its name as `task`.

    The heads that a step does not use get no gradient, whatever other methods say of them: no decay and no moments.

    Args:
        heads: class names in id order of each task, by its name; empty for a regression.

    Raises:
        UsageError: a class is alone, another head than the plain one reads the encoder, or the data have other tasks.
    """

    papers: ClassVar[tuple[str, ...]] = ("liu2019mtdnn",)

    def __init__(self, heads: dict[str, list[str]]) -> None:
        typed("MultiTask", MultiTask.__init__, locals())
        self.heads = {task: list(labels) for task, labels in heads.items()}
        for task, labels in self.heads.items():
            if len(labels) == 1:
                raise UsageError(f"MultiTask.heads.{task} is {labels}; give two or more names, or none for regression")
        self._task = PLAIN
        self._owner: dict[str, str] = {}

    def attach(self, encoder: Encoder) -> None:
        if self.heads and self.name not in encoder.parts:
            heads = {_key(task): _fresh(encoder, task, labels) for task, labels in self.heads.items()}
            encoder.parts[self.name] = nn.ModuleDict(heads)

    def start(self, encoder: Encoder) -> None:
        if self.heads and encoder.head is not None:
            raise UsageError(
                f"MultiTask and {type(encoder.head).__name__} both decide how hidden states become logits: "
                f"train on one task, or keep the plain head"
            )

    def remember(self, encoder: Encoder) -> None:
        names = [name for name, _ in encoder.named_parameters() if encoder.in_head(name)]
        self._owner = {name: PLAIN for name in names if name.startswith("model.")}
        for task in self.heads:
            start = f"parts.{self.name}.{_key(task)}."
            self._owner |= {name: task for name in names if name.startswith(start)}

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        super().setup(trainer, pl_module, stage)
        data: Any = getattr(trainer, "datamodule", None)
        for task, labels in getattr(data, "heads", {}).items():
            if self.heads.get(task) != list(labels):
                raise UsageError(f"MultiTask.heads.{task} is {self.heads.get(task)}; data.also has {list(labels)}")

    @contextmanager
    def during(self, encoder: Encoder, batch: Mapping[str, Any]) -> Iterator[None]:
        """Let every pass of this step run through the head of the batch's task."""
        task = str(batch.get("task", PLAIN))
        self._task = task if task in self.heads else PLAIN
        modules, plain = module_slots(encoder.model), dict(_head(encoder.model))
        if self._task != PLAIN:
            modules.update(dict(encoder.parts[self.name].get_submodule(_key(self._task)).named_children()))
        try:
            yield
        finally:
            modules.update(plain)

    def penalty(self, step: Step) -> Mapping[str, Scalar] | None:
        return _held_out.zeros(step, self._idle())

    def before_step(self, encoder: Encoder, number: int) -> None:
        _held_out.withhold(encoder, self._idle())

    def _idle(self) -> set[str]:
        """Return the parameters of the heads that this step does not use."""
        return {name for name, task in self._owner.items() if task != self._task}


def _key(task: str) -> str:
    """Return the task's name as that of a module, which has no dot and is no attribute of `nn.ModuleDict`."""
    return f"{task.replace('.', ':')}_head"


def _head(model: Any) -> list[tuple[str, nn.Module]]:
    """Return what a model has on top of its base, by name."""
    return [(name, module) for name, module in model.named_children() if name != model.base_model_prefix]


def _fresh(encoder: Encoder, task: str, labels: Sequence[str]) -> nn.ModuleDict:
    """Draw a head of the architecture's own kind, as it draws its own."""
    config = copy.deepcopy(encoder.model.config)
    config.id2label = dict(enumerate(labels or ("score",)))
    config.label2id = {label: index for index, label in config.id2label.items()}
    with torch.device("meta"):  # the base of it is not wanted
        model = AutoModelForSequenceClassification.from_config(config, dtype=encoder.model.dtype)
    head = nn.ModuleDict(dict(_head(model))).to_empty(device="cpu")
    with seeded(stream_seed(encoder.seed, "MultiTask", task)):
        draw(model, head)
        for name, module in head.items():
            setattr(model, name, module)
        finish_drawing(model)
    return head.to(encoder.model.device).train(encoder.model.training)
