"""A backbone's weights are loaded into its architecture's own model, and what the file does not hold is said.

Everything below the head comes from the file, or loading is refused: libraries draw afresh what they do not find.
"""

import re
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor
from transformers import AutoConfig, AutoModelForSequenceClassification, AutoModelForTokenClassification
from transformers.utils import logging

from ftreg._base.checks import typed
from ftreg._base.errors import UsageError
from ftreg._base.names import listed
from ftreg.encoder.attention import implementation
from ftreg.encoder.backbone import Backbone, Stamp, resolve, stamp
from ftreg.encoder.heads import Policy, with_head
from ftreg.encoder.noise import seeded, stream_seed
from ftreg.encoder.prefixes import prefix_shown, stripped
from ftreg.encoder.probe import check_classifier
from ftreg.encoder.weight_files import cause_of, read_json, read_weights
from glue_tasks.kinds import Kind, kind_of


@dataclass(frozen=True)
class Loaded:
    """A loaded model comes with what was found out on the way.

    Args:
        model: with the weights of the file.
        fresh: the names of its parameters that the file does not provide.
        notes: what a user should know: a line each, without the backbone's name.
    """

    model: Any
    fresh: frozenset[str]
    notes: tuple[str, ...] = ()


Prepare = Callable[..., tuple[dict[str, Tensor], list[str]]]
"""A function of the tensors by name, the model without weights, and `file`: the tensors to load, and what to say."""


def unchanged(tensors: Mapping[str, Tensor], model: Any, file: str) -> tuple[dict[str, Tensor], list[str]]:
    """Return the tensors as they are."""
    return dict(tensors), []


@contextmanager
def quietly() -> Iterator[None]:
    """Keep transformers from reporting a head's missing weights, as is usual; bars on terminals only."""
    verbosity, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if not sys.stderr.isatty():
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if bars:
            logging.enable_progress_bar()


@contextmanager
def telling(name: str, what: str = "") -> Iterator[None]:
    """Make one line of everything that goes wrong inside, with the backbone's name before it.

    Args:
        name: of the backbone.
        what: is being done, for errors that do not say it themselves.
    """
    try:
        yield
    except UsageError as error:
        line = str(error)
        raise UsageError(line if f"backbone {name}" in line else f"backbone {name}: {line}") from error
    # What libraries raise for a damaged or foreign file is no list of types that anybody could keep.
    except Exception as error:
        raise UsageError(f"backbone {name}: {what} ({type(error).__name__}: {cause_of(error)})") from error


def pretrained(
    name: str,
    labels: Sequence[str],
    seed: int,
    wanted: str | Sequence[str],
    head: Policy = "new",
    kind: Kind | None = None,
) -> tuple[Any, frozenset[str], tuple[str, ...]]:
    """Load the architecture's own sequence-classification model; see `Encoder` for the arguments.

    Returns:
        the model, the names of the parameters that have their pre-trained values, as the encoder calls them, and a line
        for each thing that a user should know.

    Raises:
        UsageError: the backbone cannot be had, is damaged, lacks a part of its encoder, or cannot be used; see `probe`.
    """
    typed("model", pretrained, {"head": head})
    with telling(name, "it cannot be loaded"):
        backbone = resolve(name)
        own, config = configuration(backbone)
        attention = implementation(config, wanted, name)
        kind, auto = kind_of(kind, labels), _auto(kind)
        config.num_labels = max(1, len(labels))
        # Not what the backbone was fine-tuned for: the loss goes by it.
        config.problem_type = "multi_label_classification" if kind == "multi_label" else None
        if labels:
            config.id2label = dict(enumerate(labels))
            config.label2id = {label: index for index, label in enumerate(labels)}
        # Named streams: the head's first weights depend on the seed alone, not on what was drawn before.
        with seeded(stream_seed(seed, "init")), quietly():
            if backbone.pretrained:
                prepare = partial(with_head, own=own, labels=labels, policy=head, kind=kind)
                loaded = load_model(auto, backbone, config, attention, prepare)
            elif head == "keep":
                raise UsageError("model.head is keep: this backbone has random weights and no head; give head=new")
            else:
                loaded = drawn(auto, config, attention)
        check_classifier(loaded.model, name)
    # Some architectures make a part in float32 whatever is asked for; a checkpoint would be rounded to it.
    loaded.model.to(torch.get_default_dtype())
    named = [name for name, _ in loaded.model.train().named_parameters()]
    return loaded.model, frozenset(f"model.{name}" for name in named if name not in loaded.fresh), loaded.notes


def _auto(kind: Kind | None) -> Any:
    """Return transformers' class of models with a head for a task of that kind."""
    return AutoModelForTokenClassification if kind == "tokens" else AutoModelForSequenceClassification


def try_loading(name: str, labels: Sequence[str], attention: str, head: Policy, kind: Kind | None = None) -> None:
    """Load a backbone once and let it go: what is wrong with it is found before anything else is done.

    Raises:
        UsageError: as `pretrained`.
    """
    kept = tuple(labels) if head == "keep" else ()
    _tried(name, kept, attention, head, kind_of(kind, labels), stamp(resolve(name).path))


@cache
def _tried(name: str, labels: tuple[str, ...], attention: str, head: Policy, kind: Kind, stamped: Stamp) -> None:
    pretrained(name, labels, 0, ("eager", "sdpa") if attention == "auto" else attention, head, kind)


def configuration(backbone: Backbone) -> tuple[dict[str, Any], Any]:
    """Read what a backbone's `config.json` holds, and the architecture's configuration made of it.

    Raises:
        UsageError: there is none, or it needs code of its own.
    """
    own = read_json(Path(backbone.path) / "config.json")
    if own.get("auto_map"):
        raise UsageError(
            "config.json names code of its own (auto_map), which ftreg does not run; "
            "give a backbone of an architecture that transformers has"
        )
    if own.get("quantization_config"):
        raise UsageError("config.json says that its weights are quantised; give a backbone in float32 or float16")
    with telling(backbone.name, "config.json is no configuration that transformers can read"):
        config = AutoConfig.from_pretrained(backbone.path, trust_remote_code=False)
        if getattr(config, "is_decoder", False):
            raise UsageError(
                "config.json has is_decoder=true: each token would see those before it alone, and the first none; "
                "give an encoder, or set it to false if it was trained as one"
            )
        if getattr(config, "num_hidden_layers", 1) < 1:
            raise UsageError(f"config.json has num_hidden_layers={config.num_hidden_layers}; an encoder has layers")
    return own, config


def drawn(auto: Any, config: Any, attention: str | None = None) -> Loaded:
    """Build one of an architecture's models, with random weights that stand for pre-trained ones."""
    model = auto.from_config(config, **_options(attention))
    base = f"{model.base_model_prefix}."
    return Loaded(model, frozenset(name for name, _ in model.named_parameters() if not name.startswith(base)))


def load_model(
    auto: Any, backbone: Backbone, config: Any, attention: str | None = None, prepare: Prepare = unchanged
) -> Loaded:
    """Build one of an architecture's models, with the weights of the backbone's file.

    Args:
        auto: transformers' class for the kind of model.
        backbone: with weights.
        config: for the model.
        attention: the attention implementation.
        prepare: changes what is read before it is loaded; see `fitted`.

    Raises:
        UsageError: something is wrong with the file, or it lacks a part of the encoder.
    """
    with telling(backbone.name, "no model can be made as config.json describes it"), torch.device("meta"):
        empty = auto.from_config(config, **_options(attention))
    _check_declared(config, empty)
    base, names = empty.base_model_prefix, [*empty.state_dict()]
    encoder = [name for name in names if name.startswith(f"{base}.")]
    file, held = read_weights(backbone.path)
    tensors, taken = stripped(held, encoder, base, file)
    tensors, notes = prepare(tensors, empty, file=file)
    with telling(backbone.name, f"{file} cannot be loaded"):
        model, report = type(empty).from_pretrained(
            None,
            config=config,
            state_dict=tensors,
            ignore_mismatched_sizes=True,
            output_loading_info=True,
            **_options(attention),
        )
    other = {key: shapes for key, *shapes in report["mismatched_keys"]}
    fresh = frozenset({*report["missing_keys"], *other})
    lost = [name for name in encoder if name in fresh]
    poolers = [name for name in encoder if name.startswith(f"{base}.pooler.")]
    if lost and (lost != poolers or not other.keys().isdisjoint(lost)):
        raise UsageError(f"{file}: {_lacking(lost, other, len(encoder), held)}")
    deeper = _deeper(report["unexpected_keys"], encoder, base)
    if deeper:
        raise UsageError(
            f"{file} has {deeper}, and config.json makes no such layer; mend num_hidden_layers there, or cut the file"
        )
    notes = [*(f"{prefix_shown(part)} is taken away from the names in {file}" for part in taken), *notes]
    if lost:
        notes.append(f"{file} has no pooler, as after masked language modelling; a new one is drawn")
    return Loaded(model, fresh, tuple(notes))


def _check_declared(config: Any, model: Any) -> None:
    """Refuse a `config.json` whose `architectures` are of another family than its `model_type`.

    BERT's weights have RoBERTa's names and shapes, but not its positions: nothing but that entry tells.
    """
    declared = {name: getattr(transformers, str(name), None) for name in listed(config.architectures)}
    other = [name for name, cls in declared.items() if _family(cls) not in (None, model.base_model_prefix)]
    if other and len(other) == len(declared):
        raise UsageError(
            f"config.json has architectures={other}, and model_type={config.model_type}, another family; "
            f"mend the one that is wrong"
        )


def _family(cls: Any) -> str | None:
    """Return the base-model prefix of a class of transformers; None where it is none, or has no prefix."""
    return (getattr(cls, "base_model_prefix", None) or None) if isinstance(cls, type) else None


def _options(attention: str | None) -> dict[str, Any]:
    options: dict[str, Any] = {"dtype": torch.get_default_dtype()}
    return options if attention is None else options | {"attn_implementation": attention}


def _lacking(lost: Sequence[str], other: Mapping[str, Sequence[Any]], count: int, held: Collection[str]) -> str:
    """Return what a file lacks of the encoder, by name."""
    named = [
        f"{name} is {list(other[name][0])}, not {list(other[name][1])}" if name in other else name
        for name in sorted(lost, key=lambda name: name not in other)[:2]
    ]
    more = f" and {len(lost) - 2} more" if len(lost) > 2 else ""
    instead = f"; it has {len(held)} others, such as {next(iter(held))[:80]!r}" if len(lost) == count and held else ""
    how = "are mismatched or missing" if other else "are missing"
    return (
        f"{len(lost)} of the encoder's {count} weights {how}: {', '.join(named)}{more}{instead}; "
        "give a file and a config.json of one model, saved together with save_pretrained"
    )


def _deeper(unexpected: Collection[str], encoder: Collection[str], base: str) -> str | None:
    """Return a weight of a layer that the model has not, though it has others like it."""
    known = {re.sub(r"\.\d+\.", ".N.", name) for name in encoder}
    named = ((key, key if key.startswith(f"{base}.") else f"{base}.{key}") for key in sorted(unexpected))
    return next((key for key, name in named if re.sub(r"\.\d+\.", ".N.", name) in known), None)
