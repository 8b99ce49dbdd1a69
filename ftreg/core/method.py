"""What a method is: a Lightning callback that declares what it claims and overrides a function or two.

    L(θ) = O[ℓ](θ̃) + Σ_j λ_j R_j(θ̃)        θ̃ = (M_n ∘ … ∘ M_1)(θ; step)

| kind                | overrides                        | composes                                        |
|---------------------|----------------------------------|-------------------------------------------------|
| S structure         | `attach`                         | idempotent; all before any `start`              |
| S start             | `start`                          | idempotent; all before any `remember`           |
| M weight map        | `map_weights`                    | in list order                                   |
| O objective         | `objective`, claims OBJECTIVE    | at most one                                     |
| R penalty           | `penalty`                        | adds up; order plays no part                    |
| G gradient          | `on_before_optimizer_step`       | Lightning's hook                                |
| W after the step    | `after_step`, state_dict         | in list order                                   |
"""

import enum
import inspect
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from ftreg._base.errors import ConflictError
from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Noise


class Slot(enum.Enum):
    """A part of the training step that only one method may own."""

    POOLER = "how hidden states become logits"
    OBJECTIVE = "the loop that gathers parameter gradients"
    TRAINABLE = "which parameters train"


class Regularizer(pl.Callback):
    """A fine-tuning method. Subclass it, declare, and override what the method's kind asks for (see the module).

    Every argument of `__init__` is kept as the attribute of the same name, a plain value: this is what the run's
    record lists and what a checkpoint rebuilds structural methods from.
    """

    papers: ClassVar[tuple[str, ...]] = ()
    """BibTeX keys of the papers that this method is from, at any of its options."""
    claims: ClassVar[frozenset[Slot]] = frozenset()
    """Exclusive slots that this method owns."""
    family: ClassVar[str] = ""
    """Penalties of one family do much the same thing; two of them are allowed, with a warning."""

    @property
    def name(self) -> str:
        """The method's name in logs, records and random streams."""
        return type(self).__name__

    @property
    def supervised(self) -> bool:
        """Whether a fit with this method learns the task's labels: otherwise nothing is evaluated."""
        return True

    @property
    def full_precision(self) -> bool:
        """Whether this method's passes, and the clean one that they share, run in float32 under any autocast."""
        return False

    @property
    def cites(self) -> tuple[str, ...]:
        """Those of `papers` that these options are from."""
        return self.papers

    def options(self) -> dict[str, Any]:
        """The arguments that rebuild this method."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    def attach(self, encoder: Encoder) -> None:
        """Change the network. `configure_model` may call this more than once."""

    def start(self, encoder: Encoder) -> None:
        """Change the weights that training starts from, with `Encoder.load`; what was drawn afresh stays so.

        Called once every method has been attached; maybe more than once.
        """

    def remember(self, encoder: Encoder) -> None:
        """Keep what the method needs of the starting weights: its anchor, its teacher.

        Called once every method has been attached and started, before a checkpoint is restored; maybe more than once.
        """

    def learning_rates(self, encoder: Encoder) -> Mapping[str, float]:
        """Peak learning rates of parameters that this method has added, by name; they do not decay towards zero."""
        return {}

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        """The weights that the forward passes of this step use.

        Args:
            params: every parameter by name, as mapped so far.
            noise: this method's streams at this step: name draws by parameter.

        Returns:
            the replaced parameters only; `{}` leaves all as they are.
        """
        return {}

    def objective(self, step: Step) -> Scalar:
        """The loss that replaces the task's. Needs `Slot.OBJECTIVE`."""
        raise NotImplementedError(f"{self.name} claims {Slot.OBJECTIVE} and must define objective()")

    def penalty(self, step: Step) -> Scalar | Mapping[str, Scalar] | None:
        """A term to add to the loss, already weighted, or several by name; None for none.

        A term whose name is empty is not logged.
        """
        return None

    def observe(self, step: Step) -> None:
        """See a micro-batch, for what the method logs by itself; change nothing."""

    def logged(self, values: Mapping[str, float], number: int) -> None:
        """See what optimizer step `number` logs of this method, by the names that it was recorded under."""

    def after_step(self, encoder: Encoder, number: int) -> None:
        """Follow the weights, which optimizer step `number` has just changed.

        Not `on_train_batch_end`, which also runs between accumulated micro-batches.
        """

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # Checkpoint callbacks run after this one: they must never see mixed weights.
        restore = getattr(pl_module, "restore_weights", None)
        if restore is not None:
            restore()


def owner(methods: Sequence[Regularizer], slot: Slot) -> Regularizer | None:
    """The method that owns `slot`, if any."""
    return next((method for method in methods if slot in method.claims), None)


def check_claims(methods: Sequence[Regularizer]) -> None:
    """Refuse two owners of one slot and a method that is listed twice; warn of two of a family.

    Raises:
        ConflictError: names both methods, the slot and the remedy.
    """
    names = [method.name for method in methods]
    for name in names:
        if names.count(name) > 1:
            # Their random streams, logs and checkpoint entries would be the same.
            raise ConflictError(f"{name} is listed {names.count(name)} times: keep one of them in trainer.callbacks")
    for slot in Slot:
        owners = [method.name for method in methods if slot in method.claims]
        if len(owners) > 1:
            raise ConflictError(
                f"{' and '.join(owners)} both own {slot.name} ({slot.value}): "
                f"keep one of them in trainer.callbacks, or compare them in two runs"
            )
    for family in {method.family for method in methods} - {""}:
        relatives = [method.name for method in methods if method.family == family]
        if len(relatives) > 1:
            rank_zero_warn(f"{' and '.join(relatives)} are both {family} penalties: one of them is usually enough")
