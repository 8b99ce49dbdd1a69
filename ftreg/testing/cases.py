"""Each method has one row of settings, at which its contracts are tested."""

import atexit
import inspect
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

import torch
import transformers

import ftreg.methods
from ftreg.core.method import Regularizer
from ftreg.methods import (
    FGM,
    PGD,
    SMART,
    VAT,
    FreeLB,
    GradualUnfreezing,
    HeadFirst,
    LayerPooling,
    MaskedLM,
    Mixout,
    ReplacedTokens,
    TwoStage,
)
from ftreg.testing.encoders import configuration

Method = Callable[[], Regularizer]
"""Builds a method afresh. A class or a `partial` of one, not a lambda: other processes build it too."""


@dataclass(frozen=True)
class Case:
    """A case is a method's settings.

    Args:
        card: those of its card, at which it acts.
        null: those at which it is plain fine-tuning, bit for bit. None for a method that puts another head on
            the network: its parameters are not the plain model's, so no setting is. `null` says what then holds.
        start: whether the method changes nothing but the weights that training starts from.
        on: the card's for an architecture, where that takes something of the same architecture.
    """

    card: Method
    null: Method | None = None
    start: bool = False
    on: Callable[[str], Regularizer] | None = None


ACTING = partial(SMART, noise="shared", epsilon=1e-2, step_size=1.0, sigma=1e-3)
"""SMART with an adversary that acts; at the published ε it does nothing to speak of."""


@cache
def intermediate(architecture: str = "bert") -> str:
    """Return a stage's checkpoint for a tiny encoder: other weights than its own, alike in every process."""
    folder = Path(tempfile.mkdtemp(prefix="ftreg-stage-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with torch.random.fork_rng():
        torch.manual_seed(11)
        model = transformers.AutoModelForSequenceClassification.from_config(configuration(architecture))
    state = {f"encoder.model.{name}": value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state}, folder / "stage.ckpt")
    return str(folder / "stage.ckpt")


def started(architecture: str = "bert") -> TwoStage:
    """Return TwoStage from such a checkpoint."""
    return TwoStage(checkpoint=intermediate(architecture))


CASES: dict[str, Case] = {
    "FGM": Case(FGM, null=partial(FGM, weight=0.0)),
    "FreeLB": Case(FreeLB, null=partial(FreeLB, steps=1, init=0.0)),
    # Frozen for so long that the contracts' few steps see it.
    "GradualUnfreezing": Case(partial(GradualUnfreezing, share=1.0), null=partial(GradualUnfreezing, share=0.0)),
    "HeadFirst": Case(partial(HeadFirst, share=0.9), null=partial(HeadFirst, share=0.0)),
    "LayerPooling": Case(LayerPooling),
    "MaskedLM": Case(MaskedLM, null=partial(MaskedLM, rate=0.0, task_weight=1.0)),
    "Mixout": Case(Mixout, null=partial(Mixout, p=0.0)),
    "PGD": Case(PGD, null=partial(PGD, steps=0, init=0.0)),
    "ReplacedTokens": Case(ReplacedTokens, null=partial(ReplacedTokens, rate=0.0, task_weight=1.0)),
    "SMART": Case(ACTING, null=partial(SMART, weight=0.0, mu=0.0)),
    "TwoStage": Case(started, null=TwoStage, start=True, on=started),
    "VAT": Case(VAT, null=partial(VAT, weight=0.0)),
}
"""Cases go by class name; every exported method has one."""


def exported() -> dict[str, type[Regularizer]]:
    """Return every method that `ftreg.methods` exports, by class name."""
    return {
        name: cls
        for name, cls in vars(ftreg.methods).items()
        if inspect.isclass(cls) and issubclass(cls, Regularizer) and not inspect.isabstract(cls)
    }


def companions(method: Regularizer) -> list[Regularizer]:
    """Return Mixout, FreeLB, SMART and LayerPooling at their cards' settings, but for those of a kind with `method`.

    Of a kind are a method and itself, two owners of a slot, and two weight maps, which compose in list order. Beside a
    method that learns no labels, nothing smooths their predictions.
    """
    others = [CASES[name].card() for name in ("Mixout", "FreeLB", "SMART", "LayerPooling")]
    return [
        other
        for other in others
        if other.name != method.name
        and not other.claims & method.claims
        and not (_maps(other) and _maps(method))
        and (method.supervised or not other.needs_trained_head)
    ]


def _maps(method: Regularizer) -> bool:
    return type(method).map_weights is not Regularizer.map_weights
