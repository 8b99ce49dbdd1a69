"""A method is a class that declares what it claims and overrides a function or two, which the engine calls.

    L(θ) = O[ℓ](θ̃) + Σ_j λ_j R_j(θ̃)        θ̃ = (M_n ∘ … ∘ M_1)(θ; step)

| kind                | overrides                        | composes                                        |
|---------------------|----------------------------------|-------------------------------------------------|
| S structure         | `attach`                         | idempotent; all before any `start`              |
| S start             | `start`                          | idempotent; all before any `remember`           |
| M weight map        | `map_weights`                    | in list order                                   |
| O objective         | `objective`, claims OBJECTIVE    | at most one                                     |
| R penalty           | `penalty`                        | adds up; order plays no part                    |
| G gradient          | `before_step`                    | in list order                                   |
| W after the step    | `after_step`, state_dict         | in list order                                   |

`begin`, `during` and `end` frame them: once before training, around each step's passes, once after.

A method is also a Lightning callback, so that a Trainer takes it, and hands it to the engine that its module drives.
"""

import enum
import inspect
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar

import pytorch_lightning as pl
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor

from ftreg._base.errors import ConflictError, UsageError
from ftreg.core.step import Scalar, Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Noise


class Slot(enum.Enum):
    """A slot is a part of the training step that only one method may own."""

    POOLER = "how hidden states become logits"
    OBJECTIVE = "the loop that gathers parameter gradients"
    TRAINABLE = "which parameters train"


class Regularizer(pl.Callback):
    """A regularizer is a fine-tuning method: subclass it, declare, override what its kind asks for (see the module).

    Every argument of `__init__` is kept as the attribute of the same name, a plain value: this is what the run's
    record lists and what a checkpoint rebuilds structural methods from.
    """

    papers: ClassVar[tuple[str, ...]] = ()
    """BibTeX keys of the papers that this method is from, at any of its options."""
    claims: ClassVar[frozenset[Slot]] = frozenset()
    """Exclusive slots that this method owns."""
    family: ClassVar[str] = ""
    """Penalties of one family do much the same thing; two of them are allowed, with a warning."""
    needs_trained_head: ClassVar[bool] = False
    """Whether this method means something only where a head learns the task, whose predictions it is about."""

    driven_by: object = None
    """A token of the engine that drives this method."""

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

    @property
    def is_objective(self) -> bool:
        """Whether this method's `objective` replaces the task loss."""
        return Slot.OBJECTIVE in self.claims

    def options(self) -> dict[str, Any]:
        """Return the arguments that rebuild this method."""
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}

    # Before training

    def check(self, methods: "Sequence[Regularizer]") -> None:
        """Refuse to work beside the other methods of a fit; `methods` has them all, in order, and this one.

        Raises:
            UsageError: says what does not go together, and what to do.
        """

    def attach(self, encoder: Encoder) -> None:
        """Change the network. May be called more than once."""

    def start(self, encoder: Encoder) -> None:
        """Change the weights that training starts from, with `Encoder.start.load`; what was drawn afresh stays so.

        Called once every method has been attached; maybe more than once; not for an evaluation.
        """

    def remember(self, encoder: Encoder) -> None:
        """Keep what the method needs of the starting weights: its anchor, its teacher.

        Called once every method has been attached and started, before a checkpoint is restored; maybe more than once.
        """

    def learning_rates(self, encoder: Encoder) -> Mapping[str, float]:
        """Return peak learning rates of parameters that this method has added, by name; those do not decay."""
        return {}

    def begin(self, encoder: Encoder, number: int, total: int | None) -> None:
        """Hear that training begins, or goes on; weights and states are where they will be computed.

        Args:
            encoder: the network.
            number: the optimizer step that comes next, from 0.
            total: optimizer steps of the whole training; None where the loop has not said.

        Raises:
            UsageError: the method needs to know the total.
        """

    # In a step

    def during(self, encoder: Encoder, batch: Mapping[str, Any]) -> AbstractContextManager[Any]:
        """Return what holds while the passes of a micro-batch run, forward and again backward: dropouts, a head."""
        return nullcontext()

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        """Return the weights that the forward passes of this step use.

        Args:
            params: every parameter by name, as mapped so far.
            noise: this method's streams at this step: name draws by parameter.

        Returns:
            the replaced parameters only; `{}` leaves all as they are.
        """
        return {}

    def objective(self, step: Step) -> Scalar:
        """Return the loss that replaces the task's. Needs `Slot.OBJECTIVE`."""
        raise NotImplementedError(f"{self.name} claims {Slot.OBJECTIVE} and must define objective()")

    def penalty(self, step: Step) -> Scalar | Mapping[str, Scalar] | None:
        """Return a term to add to the loss, already weighted, or several by name; None for none.

        A term whose name is empty is not logged.
        """
        return None

    def observe(self, step: Step) -> None:
        """See a micro-batch, for what the method logs by itself; change nothing."""

    def before_step(self, encoder: Encoder, number: int) -> None:
        """Change the gradients that optimizer step `number` is about to use: they are those of the whole batch."""

    def logged(self, values: Mapping[str, float], number: int) -> None:
        """See what optimizer step `number` logs of this method, by the names that it was recorded under."""

    def after_step(self, encoder: Encoder, number: int) -> None:
        """Follow the weights, which optimizer step `number` has just changed."""

    def end(self, encoder: Encoder) -> None:
        """Take back what `begin` has changed; called after training, also when it fails."""

    # Under a Lightning Trainer, whose module hands each of these to its engine

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        if stage == "fit" and not getattr(pl_module, "drives_engine", False):
            raise UsageError(
                f"{self.name} would do nothing: {type(pl_module).__name__} drives no engine. Let it inherit from "
                f"ftreg.EngineModule and return self.engine(batch) in training_step, or fit a ftreg.FineTuner"
            )

    def on_init_end(self, *args: Any, **kwargs: Any) -> None:
        """Refuse to be a callback of transformers' Trainer, which calls this one first.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            f"{self.name} would do nothing: transformers' Trainer drives no engine; use ftreg.huggingface.Trainer, "
            f"and give it methods=[{self.name}(...)]"
        )

    on_train_begin = on_init_end  # of one that is added to a Trainer afterwards

    def on_exception(self, trainer: pl.Trainer, pl_module: pl.LightningModule, exception: BaseException) -> None:
        # Checkpoint callbacks run after this one: they must never see mixed weights.
        engine = getattr(pl_module, "engine", None)
        if engine is not None:
            engine.end()

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: Any) -> None:
        # Callbacks that are listed after the methods see the gradients as the optimizer will.
        pl_module.engine.before_step()  # type: ignore[union-attr, operator]

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule, *args: Any) -> None:
        # Under manual optimization nobody else says so before a checkpoint is saved.
        engine: Any = pl_module.engine
        if engine.stepped:
            engine.after_step()


def owner(methods: Sequence[Regularizer], slot: Slot) -> Regularizer | None:
    """Return the method that owns `slot`, if any."""
    return next((method for method in methods if slot in method.claims), None)


def check_claims(methods: Sequence[Regularizer]) -> None:
    """Refuse two owners of one slot, a method that is listed twice or that nothing trains a head for; warn of a family.

    Raises:
        ConflictError: names both methods, the slot and the remedy.
        UsageError: something is no method.
    """
    if not isinstance(methods, Sequence) or isinstance(methods, str):
        raise UsageError(f"methods is {methods!r:.80}; give a list of them")
    for method in methods:
        if not isinstance(method, Regularizer):
            raise UsageError(f"methods has {method!r:.80}; give instances of ftreg.Regularizer")
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
    untaught = [method.name for method in methods if not method.supervised]
    for method in methods if untaught else ():
        if method.needs_trained_head:
            raise ConflictError(
                f"{method.name} is about a head's predictions, and {untaught[0]} trains no head without a task_weight: "
                f"leave one of them out"
            )
    for family in {method.family for method in methods} - {""}:
        relatives = [method.name for method in methods if method.family == family]
        if len(relatives) > 1:
            rank_zero_warn(f"{' and '.join(relatives)} are both {family} penalties: one of them is usually enough")
