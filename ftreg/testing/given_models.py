"""Methods × encoders × heads on models that somebody else has built, through an engine: one step of each, no trainer.

Each cell either works, or is refused in a line that names the method and the model. Working means that plain
fine-tuning is the model's own loss, that the method changes the gradient, and that at its null settings it does not.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from ftreg._base.errors import UsageError
from ftreg.core.criteria import Criterion, MaskedLanguageModel, TokenClassification
from ftreg.core.engine import Engine
from ftreg.core.method import Regularizer
from ftreg.encoder.noise import seed_dropout
from ftreg.testing.cases import Case
from ftreg.testing.contracts import EFFECT, require
from ftreg.testing.encoders import configuration

LENGTHS = [8, 5, 3]
EXACT = 1e-12
"""The largest relative difference between a model's own loss and the engine's, in float64."""

Gradient = dict[str, Tensor]


@dataclass(frozen=True)
class Head:
    """A head says which of transformers' models a cell is about.

    Args:
        auto: the name of the class that makes it.
        options: of its configuration.
        criterion: the one whose loss is the model's own; None where the head's kind says it.
    """

    auto: str
    options: Mapping[str, Any] = field(default_factory=dict)
    criterion: Criterion | None = None


HEADS: dict[str, Head] = {
    "one label": Head("SequenceClassification", {"num_labels": 3}),
    "several labels": Head("SequenceClassification", {"num_labels": 3, "problem_type": "multi_label_classification"}),
    "one number": Head("SequenceClassification", {"num_labels": 1}),
    "three numbers": Head("SequenceClassification", {"num_labels": 3, "problem_type": "regression"}),
    "tokens": Head("TokenClassification", {"num_labels": 4}, TokenClassification("batch")),
    "span": Head("QuestionAnswering", {"num_labels": 2}),
    "choice": Head("MultipleChoice"),
    "masked words": Head("MaskedLM", {}, MaskedLanguageModel("batch")),
}


def model(backbone: str, head: str, **changes: Any) -> Any:
    """Return a tiny model in float64, in training mode.

    Args:
        backbone: a folder of `ftreg.testing.encoders.checkpoint`, or an architecture, of random weights then.
        head: of `HEADS`.
        changes: of its configuration.
    """
    kind = HEADS[head]
    auto, options = getattr(transformers, f"AutoModelFor{kind.auto}"), dict(kind.options) | changes
    with torch.random.fork_rng():
        torch.manual_seed(7)
        if Path(backbone).is_dir():
            made = auto.from_pretrained(backbone, **options)
        else:
            made = auto.from_config(configuration(backbone, **options))
    return made.double().train()


def batch(head: str) -> dict[str, Any]:
    """Return a batch as the model takes it: random tokens, padded right, and its targets."""
    draw = torch.Generator().manual_seed(0)
    mask = torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]
    shape = (len(LENGTHS), 2, max(LENGTHS)) if head == "choice" else mask.shape
    mask = mask.unsqueeze(1).expand(shape) if head == "choice" else mask
    ids = torch.where(mask, torch.randint(5, 120, shape, generator=draw), 1)
    return {"input_ids": ids, "attention_mask": mask.long()} | _targets(head, ids, mask, draw)


def _targets(head: str, ids: Tensor, mask: Tensor, draw: torch.Generator) -> dict[str, Tensor]:
    rows = len(ids)
    match head:
        case "several labels":
            return {"labels": torch.randint(0, 2, (rows, 3), generator=draw).double()}
        case "one number":
            return {"labels": torch.rand(rows, generator=draw, dtype=torch.float64)}
        case "three numbers":
            return {"labels": torch.rand(rows, 3, generator=draw, dtype=torch.float64)}
        case "tokens":
            return {"labels": torch.where(mask, torch.randint(0, 4, ids.shape, generator=draw), -100)}
        case "masked words":
            hidden = mask & (torch.rand(ids.shape, generator=draw) < 0.4)
            return {"labels": torch.where(hidden, ids, -100)}
        case "span":
            return {"start_positions": torch.tensor([1, 0, 2]), "end_positions": torch.tensor([4, 3, 2])}
        case "choice":
            return {"labels": torch.randint(0, 2, (rows,), generator=draw)}
        case _:
            return {"labels": torch.randint(0, 3, (rows,), generator=draw)}


def own_loss(given: Any, inputs: Mapping[str, Any]) -> Tensor:
    """Return the model's own loss, under the dropout that an engine's first pass draws."""
    with torch.random.fork_rng():
        seed_dropout(0, 0, 0)
        return given(**inputs).loss  # type: ignore[no-any-return]


def gradient(given: Any, inputs: Mapping[str, Any], method: Regularizer | None, head: str) -> tuple[Tensor, Gradient]:
    """Return one step's loss, and its gradient by parameter; zeros where it has none."""
    methods = [] if method is None else [method]
    engine = Engine(given, methods, HEADS[head].criterion, total_steps=10).train()
    loss = engine(inputs)
    loss.backward()
    named = {name: p for name, p in engine.model.named_parameters() if p.requires_grad}
    return loss.detach(), {n: torch.zeros_like(p) if p.grad is None else p.grad for n, p in named.items()}


def cell(case: Case, architecture: str, head: str, backbone: str = "") -> str:
    """Raise AssertionError if a method neither works in a model nor is refused; why it is refused, if it is.

    Args:
        case: the method's settings.
        architecture: of `ftreg.testing.encoders`.
        head: of `HEADS`.
        backbone: a checkpoint of it, with a tokenizer; without one, the model's weights are random.
    """
    made = partial(model, backbone or architecture, head)
    method = case.card() if case.on is None else case.on(architecture)
    where, inputs = f"{method.name} with {architecture} and {head}", batch(head)
    own, loss, plain = _plain(backbone or architecture, head)
    # Some models compute their losses in float32 whatever they are in.
    near = EXACT if own.dtype == torch.float64 else 1e-6
    require(bool((loss - own).abs() <= near * own.abs()), f"{where}: plain is {loss:.15f}, the model's own {own:.15f}")
    if case.null is not None:
        null = gradient(made(), inputs, case.null(), head)[1]
        require(null.keys() == plain.keys(), f"{where}: at its null settings other parameters train")
        require(all(map(torch.equal, null.values(), plain.values())), f"{where}: at its null settings it is not plain")
    try:
        found = gradient(made(), inputs, method, head)[1]
    except UsageError as refusal:
        line = str(refusal)
        named = line.startswith(method.name) and type(made()).__name__ in line
        require(named and "\n" not in line and len(line) < 500, f"{where} is not refused by name in a line: {line}")
        return line
    shared = plain.keys() & found.keys()
    change = _norm([found[name] - plain[name] for name in shared]) / _norm([*plain.values()])
    require(all(g.isfinite().all() for g in found.values()), f"{where}: the gradient is not finite")
    require(change >= EFFECT, f"{where} changes the gradient by {change:.1e} of its norm, less than {EFFECT}")
    return ""


@cache
def _plain(backbone: str, head: str) -> tuple[Tensor, Tensor, Gradient]:
    """Return the model's own loss, and an engine's without methods, with its gradient."""
    inputs = batch(head)
    return own_loss(model(backbone, head), inputs).detach(), *gradient(model(backbone, head), inputs, None, head)


def _norm(gradients: list[Tensor]) -> float:
    return float(torch.nn.utils.get_total_norm(gradients))
