"""Gradient norms tell how hard each part of the network is pulled, and distances from the start how far it has come.

Fine-tuning that fails shows here before the scores do: gradients vanish in the lower layers (Mosbach et al., ICLR
2021), or weights run far from the pre-trained ones (Zhang et al., ICLR 2021; Li et al., ICML 2018).
"""

from collections import defaultdict
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor

from ftreg.encoder.encoder import Encoder
from ftreg.encoder.groups import group
from ftreg.lightning.compatibility import SPLITTING


class Diagnostics(pl.Callback):
    """Logs two l2 norms per `group`; changes nothing.

    `grad_norm/<group>`, at the trainer's logging interval: of the gradient that is about to be clipped, which is the
    mean over accumulated micro-batches and ranks, as the callbacks listed before this one left it.

    `distance/<group>`, at every evaluation and at the end of training: of θ − θ₀, over the parameters that have a
    pre-trained value θ₀; of a model that its user has frozen in part, over those that train. `distance/relative` is
    ‖θ − θ₀‖/‖θ₀‖ over all of them. Costs a copy of θ₀ in host memory.

    Silent where a strategy splits parameters over ranks, which then see norms of their parts only.
    """

    def __init__(self) -> None:
        self._start: dict[str, Tensor] = {}
        self._length = 0.0
        self._measured = -1

    def on_fit_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        encoder = _encoder(pl_module)
        # Of a model that its user has frozen in part, as PEFT does, what trains is what is measured.
        wanted = [name for name, p in encoder.named_parameters() if p.requires_grad or not encoder.by_ids]
        names = [name for name in wanted if encoder.anchored(name)]
        self._start = {} if _split(trainer) else {name: _start(encoder, name) for name in names}
        self._length = sum(map(_square, self._start.values())) ** 0.5
        self._measured = -1

    def on_before_optimizer_step(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, optimizer: torch.optim.Optimizer
    ) -> None:
        every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if every <= 0 or (trainer.global_step + 1) % every or _split(trainer):
            return
        encoder = _encoder(pl_module)
        gradients: dict[str, list[Tensor]] = defaultdict(list)
        for name, parameter in encoder.named_parameters():
            if parameter.grad is not None:
                gradients[group(encoder, name)].append(parameter.grad)
        norms = {f"grad_norm/{part}": torch.nn.utils.get_total_norm(found) for part, found in gradients.items()}
        pl_module.log_dict(norms, batch_size=1)

    def on_validation_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if trainer.state.fn == TrainerFn.FITTING and not trainer.sanity_checking:
            self._measured = trainer.global_step
            pl_module.log_dict(self._distances(_encoder(pl_module)), batch_size=1)

    def on_train_end(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        if self._start and self._measured != trainer.global_step:
            distances = self._distances(_encoder(pl_module))
            for logger in trainer.loggers:
                logger.log_metrics(distances, step=trainer.global_step - 1)  # as Lightning numbers an evaluation
                logger.save()

    def _distances(self, encoder: Encoder) -> dict[str, float]:
        squares: dict[str, float] = defaultdict(float)
        for name, start in self._start.items():
            # One parameter at a time comes to θ₀, so that a GPU never holds both.
            now = encoder.get_parameter(name).detach().to(start.device)
            squares[group(encoder, name)] += _square(now.to(torch.promote_types(now.dtype, torch.float32)) - start)
        distances = {f"distance/{part}": square**0.5 for part, square in squares.items()}
        if self._length:
            distances["distance/relative"] = sum(squares.values()) ** 0.5 / self._length
        return distances


def _encoder(pl_module: pl.LightningModule) -> Encoder:
    engine: Any = pl_module.engine
    encoder: Encoder = engine.encoder
    return encoder


def _split(trainer: pl.Trainer) -> bool:
    return isinstance(trainer.strategy, SPLITTING)


def _start(encoder: Encoder, name: str) -> Tensor:
    """Return θ₀, in host memory: a second copy on a GPU would cost what the method under test may need."""
    anchor = encoder.start.value(name, keep=encoder.get_parameter(name).device.type == "cpu")
    return anchor.cpu()


def _square(x: Tensor) -> float:
    # Row by row: a float32 sum over a whole embedding matrix is off by a thousandth on the CPU.
    return float(torch.linalg.vector_norm(x, dim=-1).double().square().sum())
