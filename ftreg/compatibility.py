"""What a trainer cannot do with a list of methods, refused before anything starts."""

from collections.abc import Sequence

import pytorch_lightning as pl
from pytorch_lightning.strategies import DeepSpeedStrategy, FSDPStrategy, ModelParallelStrategy

from ftreg.errors import UsageError
from ftreg.matching import check_rows
from ftreg.regularizer import Regularizer, Slot, check_claims, owner

SPLITTING = (FSDPStrategy, DeepSpeedStrategy, ModelParallelStrategy)
"""Strategies that split parameters over ranks, each of which then sees parts."""


def check(methods: Sequence[Regularizer], trainer: pl.Trainer) -> None:
    """Refuse methods that cannot work together, or not with the trainer's strategy or precision.

    Raises:
        ConflictError: two methods own one slot, or one is listed twice.
        UsageError: the strategy splits parameters over ranks, the precision rounds away what a method measures, or the
            tokenizer of the rows does not fit the backbone.
    """
    check_claims(methods)
    pooling = owner(methods, Slot.POOLER)
    if pooling is not None and getattr(trainer.lightning_module, "head", "new") == "keep":
        raise UsageError(f"model.head is keep, and {pooling.name} puts another head there; leave one of them out")
    check_rows(getattr(trainer.lightning_module, "backbone", ""), getattr(trainer, "datamodule", None))
    heads = getattr(getattr(trainer, "datamodule", None), "heads", {})
    untaught = [method.name for method in methods if not method.supervised]
    if untaught and heads:
        raise UsageError(f"{untaught[0]} without a task_weight learns no labels, and data.also has heads that do")
    for method in methods if untaught else ():
        if method.family == "smoothness":
            raise UsageError(f"{method.name} smooths a head that {untaught[0]} does not train; leave one of them out")
    if heads and not any(method.name == "MultiTask" for method in methods):
        raise UsageError(
            f"data.also has {', '.join(heads)}: add MultiTask(data.heads) to the callbacks, for their heads"
        )
    if methods and isinstance(trainer.strategy, SPLITTING):
        raise UsageError(
            f"{', '.join(m.name for m in methods)}: not under {type(trainer.strategy).__name__}, "
            f"which splits parameters over ranks; use trainer.strategy=ddp"
        )
    exact = [method.name for method in methods if method.full_precision]
    if exact and str(trainer.precision) in ("16-true", "bf16-true"):
        raise UsageError(
            f"{', '.join(exact)}: not under trainer.precision={trainer.precision}, whose rounding is larger than the "
            f"change of the logits that counts; use {str(trainer.precision)[:-4]}mixed"
        )
