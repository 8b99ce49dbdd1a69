"""A backbone's weights in its architecture's own sequence-classification model."""

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from transformers import AutoConfig, AutoModelForSequenceClassification
from transformers.utils import logging

from ftreg.attention import implementation
from ftreg.backbone import resolve
from ftreg.errors import UsageError
from ftreg.noise import seeded, stream_seed


@contextmanager
def quietly() -> Iterator[None]:
    """No report of the head's missing weights, which is plain fine-tuning's usual state; bars on terminals only."""
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


def pretrained(name: str, labels: Sequence[str], seed: int, wanted: str | Sequence[str]) -> tuple[Any, frozenset[str]]:
    """The model, and the names of the parameters that have their pre-trained values; see `Encoder` for the arguments.

    Raises:
        UsageError: the backbone cannot be had, or has no input embeddings.
    """
    backbone = resolve(name)
    settings: dict[str, Any] = {"num_labels": max(1, len(labels))}
    if labels:
        settings["id2label"] = dict(enumerate(labels))
        settings["label2id"] = {label: index for index, label in enumerate(labels)}
    # Named streams: the head's first weights depend on the seed alone, not on what was drawn before.
    with seeded(stream_seed(seed, "init")), quietly():
        try:
            config = AutoConfig.from_pretrained(backbone.path, **settings)
            attention = implementation(config, wanted, name)
            if not backbone.pretrained:
                model = AutoModelForSequenceClassification.from_config(
                    config, dtype=torch.get_default_dtype(), attn_implementation=attention
                )
                missing = [key for key, _ in model.named_parameters() if not key.startswith(model.base_model_prefix)]
            else:
                model, report = AutoModelForSequenceClassification.from_pretrained(
                    backbone.path,
                    config=config,
                    dtype=torch.get_default_dtype(),
                    attn_implementation=attention,
                    ignore_mismatched_sizes=True,
                    output_loading_info=True,
                )
                missing = [*report["missing_keys"], *(key for key, *_ in report["mismatched_keys"])]
        except UsageError:
            raise
        except (OSError, ValueError) as error:
            line = " ".join(str(error).split())
            raise UsageError(f"backbone {name}: {line}") from error
    if not callable(getattr(model, "get_input_embeddings", None)) or model.get_input_embeddings() is None:
        raise UsageError(f"backbone {name}: {type(model).__name__} has no input embeddings to perturb")
    model.train()
    return model, frozenset(f"model.{key}" for key, _ in model.named_parameters() if key not in missing)


def draw(model: Any, module: nn.Module) -> None:
    """Draw a part's weights afresh, as the model's architecture draws them: children first, as some correct theirs."""
    for child in module.children():
        draw(model, child)
    for parameter in module.parameters(recurse=False):
        parameter._is_hf_initialized = False  # type: ignore[attr-defined]
    module._is_hf_initialized = False  # type: ignore[assignment]
    model._init_weights(module)
