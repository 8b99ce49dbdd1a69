"""A fine-tuned backbone brings a head, which is left out, or kept with its classes in the order of this task's.

A head's shape says nothing about what its classes mean; their names do.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from ftreg._base.errors import UsageError
from glue_tasks.kinds import Kind

Policy = Literal["new", "keep"]
NAMELESS = re.compile(r"label_?\d+", re.IGNORECASE)
"""What transformers calls classes that nobody has named."""
GIVES: Mapping[Kind, str] = {
    "single_label": "text one class or score",
    "regression": "text one class or score",
    "multi_label": "text a set of labels",
    "tokens": "token a label",
}
"""What a task of each kind asks of a head."""
UNTAUGHT = ("ForMaskedLM", "ForPreTraining")
"""Models whose head has learnt no task: some architectures share a part of it with their classifiers."""


def with_head(
    tensors: Mapping[str, Tensor],
    model: Any,
    own: Mapping[str, Any],
    file: str,
    labels: Sequence[str],
    policy: Policy,
    kind: Kind = "single_label",
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors of a file, with the head that a classifier is to start from; what to say of it.

    Args:
        tensors: by the names that the model has for them.
        model: the classifier.
        own: what the backbone's `config.json` holds.
        file: its name, for messages.
        labels: the task's, in id order; empty for a regression.
        policy: whether the file's head is kept.
        kind: of the task.

    Raises:
        UsageError: the head is to be kept, and there is none, or its classes are not those of the task.
    """
    base, output = f"{model.base_model_prefix}.", output_layer(model)
    head = [name for name, _ in model.named_parameters() if not name.startswith(base)]
    weight = tensors.get(f"{output}.weight")
    kinds = [str(kind) for kind in list_or_empty(own.get("architectures"))]
    if policy == "new":
        untaught = weight is None and any(kind.endswith(UNTAUGHT) for kind in kinds)
        left = [] if untaught else [name for name in head if name in tensors]
        said = f"its own head ({_named(own, weight)}) is left out, a new one is drawn; model.head=keep keeps it"
        return {name: t for name, t in tensors.items() if name not in left}, [said] if weight is not None else []
    lost = [name for name in head if name not in tensors]
    if weight is None or lost:
        raise UsageError(f"model.head is keep: {file} has no {(lost or head)[-1]}; give model.head=new")
    ending = "ForTokenClassification" if kind == "tokens" else "ForSequenceClassification"
    other = [name for name in kinds if not name.endswith(ending)]
    if not other and (own.get("problem_type") == "multi_label_classification") != (kind == "multi_label"):
        other = ["a task with one label a row" if kind == "multi_label" else "a task with several labels a row"]
    if other:
        raise UsageError(
            f"model.head is keep: the head of {file} is of {other[0]}, which gives no {GIVES[kind]}; "
            f"give model.head=new"
        )
    theirs = () if len(weight) == 1 else _names(own, len(weight))
    permuted = class_order(labels, theirs, "model.head", file)
    kept = dict(tensors)
    for name in (f"{output}.weight", f"{output}.bias"):
        if permuted and name in kept:
            kept[name] = kept[name][permuted]
    pairs = [f"{name} from {theirs[place]}" for name, place in zip(labels, permuted, strict=True)]
    return kept, [f"its own head is kept: {', '.join(pairs) or 'a score'}"]


def output_layer(model: nn.Module) -> str:
    """Return the path of the head's last Linear, which has a row for each class."""
    base = f"{model.base_model_prefix}."
    linear = [name for name, part in model.named_modules() if isinstance(part, nn.Linear) and not name.startswith(base)]
    return linear[-1] if linear else ""


def class_order(ours: Sequence[str], theirs: Sequence[str] | None, option: str, where: str) -> list[int]:
    """Return the place of each of our classes among theirs, by name, case and separators aside; none for regressions.

    Args:
        ours: the task's, in id order.
        theirs: those that the head has learnt, in id order; None where it has learnt no labels.
        option: that asks for a kept head.
        where: the head is from, for messages.

    Raises:
        UsageError: they are not the same classes.
    """
    if theirs is None:
        raise UsageError(f"{option} is keep: {where} has learnt no labels; give head=new")
    if any(NAMELESS.fullmatch(name) for name in theirs):
        raise UsageError(
            f"{option} is keep: the classes of {where} are called {_few(theirs)}, which does not say what they mean; "
            f"name them in id2label of its config.json, or give head=new"
        )
    plain = [_plain(name) for name in theirs]
    if sorted(map(_plain, ours)) != sorted(plain) or len({*plain}) < len(plain):
        raise UsageError(
            f"{option} is keep: the head of {where} tells {_few(theirs)} apart, the target has {_few(ours)}; "
            f"give head=new"
        )
    return [plain.index(_plain(name)) for name in ours]


def list_or_empty(value: Any) -> list[Any]:
    """Return a list of a configuration; nothing where it is none."""
    return value if isinstance(value, list) else []


def _names(own: Mapping[str, Any], count: int) -> list[str]:
    """Return the names of a head's classes, in id order; those that transformers makes up where there are none."""
    named = own.get("id2label")
    known = {str(place): name for place, name in named.items()} if isinstance(named, Mapping) else {}
    return [str(known.get(str(place), f"LABEL_{place}")) for place in range(count)]


def _named(own: Mapping[str, Any], weight: Tensor | None) -> str:
    return "a score" if weight is None or len(weight) == 1 else _few(_names(own, len(weight)))


def _plain(name: str) -> str:
    return re.sub(r"[\W_]+", "", name.casefold()) or name


def _few(names: Sequence[str]) -> str:
    """Return some of the names, for a line."""
    shown = [name if len(name) <= 24 else f"{name[:21]}..." for name in names[:5]]
    return ", ".join(shown) + (f" and {len(names) - 5} more" if len(names) > 5 else "") or "a score"
