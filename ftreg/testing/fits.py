"""A small real fit has random rows, a tiny encoder, a real Trainer; and all that it ends with can be compared."""

import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch import Tensor

from ftreg.encoder.noise import stream_seed
from ftreg.lightning.finetuner import FineTuner
from glue_tasks.data import GlueDataModule
from glue_tasks.loader import Rows

BATCH = 8
ROWS = 37
"""Five batches an epoch, of which the last has five rows: fewer than eight cells, and not divisible by two."""
EVALUATED = 11

State = dict[str, Tensor]


def random_rows(split: str, count: int) -> Rows:
    """Return rows of 3 to 19 random tokens with random labels."""
    generator = torch.Generator().manual_seed(len(split))
    lengths = torch.randint(3, 20, (count,), generator=generator).tolist()
    tokens = [torch.randint(5, 120, (length,), generator=generator).tolist() for length in lengths]
    labels = torch.randint(0, 2, (count,), generator=generator)
    return Rows.from_lists(split, tokens, None, labels, torch.arange(count), 1)


class RandomRows(GlueDataModule):
    """This is the data module with random tokens in place of a task's."""

    def __init__(self, training: int = ROWS) -> None:
        super().__init__("rte", "none", protocol="dev", batch_size=BATCH, eval_batch_size=4)
        self.training = training

    def prepare_data(self) -> None:
        """Download nothing."""

    def rows(self, split: str) -> Rows:
        return random_rows(split, self.training if split == "train" else EVALUATED)


def fit(
    backbone: str,
    callbacks: Sequence[pl.Callback] = (),
    resume: str | None = None,
    model: FineTuner | None = None,
    options: Mapping[str, Any] | None = None,
    rows: int = ROWS,
    data: type[RandomRows] = RandomRows,
    **trainer_options: Any,
) -> FineTuner:
    """Fit for six optimizer steps (over an epoch's end) in float64 on the CPU.

    Args:
        backbone: a folder, as `checkpoint` makes one.
        callbacks: methods, and any others.
        resume: a checkpoint to go on from, which must load with `weights_only=True`.
        model: one to fit again.
        options: of the `FineTuner`.
        rows: to train on.
        data: where they come from.
        trainer_options: of the `Trainer`.

    Returns:
        the fitted model, with its trainer.
    """
    quiet()
    defaults: dict[str, Any] = {"max_steps": 6, "max_epochs": 9, "precision": "64-true", "enable_checkpointing": False}
    defaults |= {"enable_progress_bar": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **(defaults | trainer_options),
    )
    model = model or FineTuner(backbone, **({"lr": 1e-3} | dict(options or {})))
    trainer.fit(model, data(rows), ckpt_path=resume, weights_only=True)
    return model


def quiet() -> None:
    """Silence warnings, and Lightning but for its errors."""
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def state(model: FineTuner) -> State:
    """Return all weights, the optimizer's state and every method's own, flat: `weights/…`, `optimizer/…`, `SMART/…`."""
    flat = {f"weights/{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer: Any = model.optimizers()
    flat |= _flat("optimizer", optimizer.optimizer.state_dict()["state"])
    for method in model.methods:
        flat |= _flat(method.name, method.state_dict())
    return flat


def _flat(path: str, value: Any) -> Iterator[tuple[str, Tensor]]:
    if isinstance(value, Mapping):
        for name, item in value.items():
            yield from _flat(f"{path}/{name}", item)
    elif isinstance(value, list | tuple):
        yield from _flat(path, dict(enumerate(value)))
    elif isinstance(value, Tensor | bool | int | float):
        yield path, torch.as_tensor(value).clone()
    else:
        # Equal or not is all there is to compare.
        yield path, torch.tensor(stream_seed(repr(value)))


def difference(a: Mapping[str, Tensor], b: Mapping[str, Tensor]) -> float:
    """Return the largest absolute difference of two states; NaN counts as infinite.

    Raises:
        AssertionError: one has what the other lacks.
    """
    if a.keys() != b.keys():
        raise AssertionError(f"only one of two states has {', '.join(sorted(a.keys() ^ b.keys())[:3])}")
    gaps = [(a[name].double() - b[name].double()).abs().max().item() for name in a]
    return max(float("inf") if gap != gap else gap for gap in gaps)


def every_step(folder: Path) -> pl.Callback:
    """Return a callback that saves a checkpoint after each optimizer step."""
    return ModelCheckpoint(
        dirpath=folder, filename="{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )


class Logged(pl.Callback):
    """This keeps what each optimizer step has logged, by step and name."""

    def __init__(self) -> None:
        self.values: State = {}
        self._step = 0

    def on_train_batch_end(self, trainer: pl.Trainer, *args: Any) -> None:
        every = int(trainer.log_every_n_steps)  # type: ignore[attr-defined]
        if trainer.global_step != self._step and trainer.global_step % every == 0:
            found = {name: value for name, value in trainer.callback_metrics.items() if name.startswith("train/")}
            self.values |= {f"logged/{trainer.global_step}/{name}": value.clone() for name, value in found.items()}
        self._step = trainer.global_step
