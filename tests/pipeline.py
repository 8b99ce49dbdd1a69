"""A small real fit: random rows, a tiny encoder, a real Trainer. Shared by the tests of exactness and resuming."""

import logging
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor

from ftreg import FineTuner
from glue_tasks import GlueDataModule
from glue_tasks.loader import Rows

BATCH = 8
ROWS = 37
"""Five batches an epoch, of which the last has five rows: fewer than eight cells, and not divisible by two."""


def random_rows(split: str, count: int) -> Rows:
    generator = torch.Generator().manual_seed(len(split))
    lengths = torch.randint(3, 20, (count,), generator=generator).tolist()
    tokens = [torch.randint(5, 120, (length,), generator=generator).tolist() for length in lengths]
    labels = torch.randint(0, 2, (count,), generator=generator)
    return Rows.from_lists(split, tokens, None, labels, torch.arange(count), 1)


class RandomRows(GlueDataModule):
    """The data module with random tokens in place of a task's."""

    def __init__(self) -> None:
        super().__init__("rte", "none", protocol="dev", batch_size=BATCH, eval_batch_size=4)

    def prepare_data(self) -> None:
        """Nothing to download."""

    def rows(self, split: str) -> Rows:
        return random_rows(split, ROWS if split == "train" else 11)


def fit(
    backbone: str,
    callbacks: Sequence[pl.Callback] = (),
    resume: str | None = None,
    model: FineTuner | None = None,
    options: dict[str, Any] | None = None,
    **trainer_options: Any,
) -> FineTuner:
    """Fit for six optimizer steps (over an epoch's end) in float64 and return the model."""
    quiet()
    defaults: dict[str, Any] = {"max_steps": 6, "max_epochs": 9, "precision": "64-true", "enable_checkpointing": False}
    trainer = pl.Trainer(
        accelerator="cpu",
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        callbacks=list(callbacks),
        **(defaults | trainer_options),
    )
    model = model or FineTuner(backbone, **({"lr": 1e-3} | (options or {})))
    trainer.fit(model, RandomRows(), ckpt_path=resume, weights_only=True)
    return model


def quiet() -> None:
    warnings.filterwarnings("ignore")
    for name in ("pytorch_lightning", "lightning.pytorch", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)


def state(model: FineTuner) -> dict[str, Tensor]:
    """All weights and the optimizer's state, flat."""
    flat = {f"weights/{name}": tensor.clone() for name, tensor in model.state_dict().items()}
    optimizer: Any = model.optimizers()
    for index, moments in optimizer.optimizer.state_dict()["state"].items():
        flat |= {f"optimizer/{index}/{name}": torch.as_tensor(value).clone() for name, value in moments.items()}
    return flat


def difference(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    """The largest absolute difference of two states; NaN counts as infinite."""
    assert a.keys() == b.keys()
    gaps = [(a[name].double() - b[name].double()).abs().max().item() for name in a]
    return max(float("inf") if gap != gap else gap for gap in gaps)


def every_step(folder: Path) -> pl.Callback:
    """A checkpoint after each optimizer step."""
    from pytorch_lightning.callbacks import ModelCheckpoint

    return ModelCheckpoint(
        dirpath=folder, filename="{step}", every_n_train_steps=1, save_top_k=-1, save_on_train_epoch_end=False
    )
