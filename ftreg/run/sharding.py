"""A global batch is shared out over processes and micro-batches, which dropout's masks depend on.

All other noise is named by step, row and weight: without dropout a run is the same however it is shared out, up to
rounding, and may be moved freely. With dropout, a run that is moved to other devices or another accumulation draws
other masks from there on. So it is recorded, and a run is moved only when that is asked for.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pytorch_lightning as pl
from torch import nn

from ftreg._base.errors import UsageError
from ftreg.encoder.torch_internals import dropout_rate
from ftreg.lightning.internals import saved_loaders, saved_progress
from ftreg.run.records import built
from ftreg.run.result import Share, as_plain
from ftreg.run.wording import share_in_words

KEY = "ftreg_sharding"
DEPENDS = ("ranks", "accumulation", "rows", "device")


class Sharding(pl.Callback):
    """Keeps in checkpoints how the run was shared out, from its start; moves their counts to how it is now.

    Args:
        batch_size: rows of an optimizer step.
        checkpoint: that is gone on from.
    """

    def __init__(self, batch_size: int, checkpoint: Mapping[str, Any]) -> None:
        self.batch_size = batch_size
        self.before, self.step = shares(checkpoint), int(checkpoint.get("global_step", 0))

    def history(self, trainer: pl.Trainer, model: nn.Module) -> list[Share]:
        """Return the present share after those before, if it is another."""
        now = self.now(trainer, model)
        return self.before if self.before and alike(self.before[-1], now) else [*self.before, now]

    def now(self, trainer: pl.Trainer, model: nn.Module) -> Share:
        """Return the present share."""
        ranks, accumulation = trainer.world_size, trainer.accumulate_grad_batches
        return Share(
            since=self.step,
            ranks=ranks,
            accumulation=accumulation,
            rows=-(-self.batch_size // (ranks * accumulation)),
            device=trainer.strategy.root_device.type,
            dropout=drops(model),
        )

    def check(self, path: str, trainer: pl.Trainer, model: nn.Module, asked: bool) -> None:
        """Refuse to move a run with dropout unless that was asked for.

        Raises:
            UsageError: with both shares.
        """
        now = self.now(trainer, model)
        for before in self.before[-1:]:
            if not asked and not alike(before, now) and (before.dropout is not False or now.dropout):
                raise UsageError(
                    f"{path} is of a run with {share_in_words(before)}, and here it is {share_in_words(now)}: dropout "
                    "would draw other masks than without the break; give what it had, or --reshard"
                )

    def on_save_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint[KEY] = [as_plain(share) for share in self.history(trainer, pl_module)]

    def on_load_checkpoint(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        if trainer.state.fn == "fit":
            for loader in _loaders(checkpoint):
                _move(loader, checkpoint, trainer.world_size, trainer.accumulate_grad_batches)
            progress = saved_progress(checkpoint)
            old = self.before[-1].accumulation if self.before else trainer.accumulate_grad_batches
            for counts in (progress["total"], progress["current"]):
                ready = counts["ready"]
                moved = ready // old * trainer.accumulate_grad_batches
                counts.update({name: moved - (ready - count) for name, count in counts.items()})


def shares(checkpoint: Mapping[str, Any]) -> list[Share]:
    """Return how a checkpoint's run was shared out; of an older one, as far as its loader says it."""
    if KEY in checkpoint:
        return [built(share, Share) for share in checkpoint[KEY]]
    for loader in _loaders(checkpoint):
        return [Share(since=0, ranks=loader["world"], accumulation=loader["accumulate"])]
    return []


def alike(one: Share, other: Share) -> bool:
    """Return whether dropout draws the same masks under both, as far as is known."""
    pairs = ((getattr(one, name), getattr(other, name)) for name in DEPENDS)
    return all(a == b for a, b in pairs if a is not None and b is not None)


def drops(model: nn.Module) -> bool:
    """Return whether anything in a network is, or by its configuration may be, dropped at random in training."""
    for module in model.modules():
        rate = dropout_rate(module)
        kept = vars(module) if rate is None else {"p": rate}
        options = {name: value for name, value in kept.items() if name == "p" or "drop" in name}
        config: Any = getattr(module, "config", None)
        if hasattr(config, "to_dict"):
            options |= {name: value for name, value in config.to_dict().items() if "drop" in name}
        if any(type(value) in (int, float) and value > 0 for value in options.values()):
            return True
    return False


def _loaders(checkpoint: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the states of the training loader: the data module keeps one, and Lightning another."""
    found: Sequence[Any] = [checkpoint.get("GlueDataModule", {}).get("train")]
    found = [*found, *saved_loaders(checkpoint)]
    yield from (state for state in found if isinstance(state, dict) and {"world", "accumulate"} <= state.keys())


def _move(loader: dict[str, Any], checkpoint: Mapping[str, Any], ranks: int, accumulation: int) -> None:
    """Move a loader's position between two steps: it is a number of whole batches, and those are the same for all."""
    position = int(loader["position"]) // int(loader["accumulate"]) * accumulation
    loader.update(world=ranks, accumulate=accumulation, position=position)
