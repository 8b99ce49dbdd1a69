"""Tiny models with every kind of head, data for them, and short trainings with a Trainer of transformers'."""

from pathlib import Path
from typing import Any
from unittest import mock

import torch
import torch.nn.functional as F
import transformers
from torch import Tensor
from transformers.trainer_callback import PrinterCallback

from ftreg import SMART, FreeLB, Mixout, Regularizer, criteria
from ftreg.huggingface import EngineMixin
from ftreg.testing.encoders import STEADY, configuration

HEADS: dict[str, tuple[Any, int]] = {
    "single": (transformers.AutoModelForSequenceClassification, 3),
    "score": (transformers.AutoModelForSequenceClassification, 1),
    "several": (transformers.AutoModelForSequenceClassification, 3),
    "tokens": (transformers.AutoModelForTokenClassification, 3),
    "masked": (transformers.AutoModelForMaskedLM, 2),
    "span": (transformers.AutoModelForQuestionAnswering, 2),
    "choice": (transformers.AutoModelForMultipleChoice, 2),
}
"""Heads, and how many labels each has."""
STEPS = 3
ROWS = 10
"""An epoch of batches of 4: the last one has two rows, and is one micro-batch where two are accumulated."""


def model(kind: str, architecture: str = "bert", **changes: Any) -> Any:
    """A tiny model in float64, without dropout."""
    head, labels = HEADS[kind]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        steady = changes or STEADY
        return head.from_config(configuration(architecture, num_labels=labels, **steady)).double()


def rows(kind: str, count: int = ROWS, tokens: int = 8) -> list[dict[str, Any]]:
    """Random examples; those with a label for each token have unlike numbers of them."""
    generator = torch.Generator().manual_seed(3)
    found = []
    for number in range(count):
        shape = (2, tokens) if kind == "choice" else (tokens,)
        ids = torch.randint(5, 120, shape, generator=generator)
        each = torch.randint(0, 3, (tokens,), generator=generator)
        few = torch.where(torch.arange(tokens) > number % 4, each, -100)
        labels: dict[str, Any] = {
            "single": {"labels": number % 3},
            "score": {"labels": number / 3},
            "several": {"labels": (each[:3] > 0).double()},
            "tokens": {"labels": few},
            "masked": {"labels": torch.where(few == -100, few, ids[-1])},
            "span": {"start_positions": number % tokens, "end_positions": number * 3 % tokens},
            "choice": {"labels": number % 2},
        }
        found.append({"input_ids": ids, "attention_mask": torch.ones_like(ids), **labels[kind]})
    return found


def named(data: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Rows with their names."""
    return [{**row, "row_ids": number} for number, row in enumerate(data)]


COUNTED = {"tokens": criteria.TokenClassification, "masked": criteria.MaskedLanguageModel}
"""Heads for which transformers counts every label alike."""


def built(trainer: type[Any], kind: str, folder: Path, arguments: Any = None, **options: Any) -> Any:
    """A Trainer that trains in steps of four rows; `arguments` are training arguments."""
    quiet = {"report_to": [], "disable_tqdm": True, "use_cpu": True, "logging_steps": 1, "save_strategy": "no"}
    steps = {"max_steps": STEPS, "learning_rate": 1e-3, "per_device_train_batch_size": 4}
    args = transformers.TrainingArguments(str(folder), **{**quiet, **steps, **(arguments or {})})
    given = {"train_dataset": rows(kind), **options}
    if issubclass(trainer, EngineMixin) and kind in COUNTED and not given.keys() & {"criterion", "compute_loss_func"}:
        smoothing = vars(args).pop("label_smoothing_factor")
        args.label_smoothing_factor = 0.0
        given["criterion"] = COUNTED[kind]("batch", label_smoothing=smoothing)
    if "model_init" not in given:
        given.setdefault("model", model(kind))
    made = trainer(args=args, **given)
    made.remove_callback(PrinterCallback)
    return made


def trained(*args: Any, resume: Any = None, **options: Any) -> Any:
    """The same, trained."""
    trainer = built(*args, **options)
    # Before each training accelerate looks through every object of this process, for longer than the training takes.
    with mock.patch("accelerate.utils.memory.gc"):
        trainer.train(resume)
    return trainer


def weights(trainer: Any) -> Tensor:
    return torch.cat([p.detach().flatten() for p in trainer.model.parameters()])


def gap(one: Any, other: Any) -> float:
    """How far the weights of two Trainers are apart."""
    return float((weights(one) - weights(other)).abs().max())


HALVES = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
"""The same steps in two micro-batches."""


def methods() -> list[Regularizer]:
    return [Mixout(p=0.5), FreeLB(), SMART()]


class Widened(Regularizer):
    """A penalty with a parameter of its own."""

    def attach(self, encoder: Any) -> None:
        if self.name not in encoder.parts:
            part = torch.nn.Linear(1, 1, bias=False)
            torch.nn.init.ones_(part.weight)
            encoder.parts[self.name] = part.double()

    def learning_rates(self, encoder: Any) -> dict[str, float]:
        return {f"parts.{self.name}.weight": 0.5}

    def remember(self, encoder: Any) -> None:
        self._weight = encoder.parts[self.name].weight

    def penalty(self, step: Any) -> Tensor:
        total: Tensor = step.mean(self._weight.square().sum().expand(len(step.mask)))
        return total


def summed(outputs: Any, labels: Tensor, num_items_in_batch: Any = None) -> Tensor:
    """A loss as transformers wants it: over the items of the whole optimizer step."""
    loss = F.cross_entropy(outputs.logits.flatten(0, -2), labels.flatten(), reduction="sum", label_smoothing=0.3)
    return loss / num_items_in_batch
