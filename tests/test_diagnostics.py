"""Gradient norms and distances from the start: their values, when they are logged, and that they change nothing."""

import math
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import Logger
from torch import Tensor

from ftreg import SMART, FineTuner, Mixout, TwoStage
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.groups import group
from ftreg.run.diagnostics import Diagnostics
from tests import toys
from tests.models import ARCHITECTURES, checkpoint
from tests.pipeline import RandomRows, difference, every_step, fit, state

PARTS = ["embeddings", "head", "layer_00", "layer_01", "pooler"]


class Kept(Logger):
    """Keeps every logged row in memory."""

    name, version = "kept", 0

    def __init__(self) -> None:
        super().__init__()
        self.rows: list[tuple[int, dict[str, float]]] = []

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Not of interest."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        assert step is not None
        self.rows.append((step + 1, dict(metrics)))

    def of(self, kind: str) -> dict[int, dict[str, float]]:
        """By optimizer step and then by part, in rows that have any of the kind."""
        found: dict[int, dict[str, float]] = {}
        for step, row in self.rows:
            if parts := {key.split("/")[1]: value for key, value in row.items() if key.startswith(kind)}:
                assert step not in found
                found[step] = parts
        return found


class Attach(pl.Callback):
    """Gives the shared fit a logger and a sanity check."""

    def __init__(self, logger: Logger) -> None:
        self.logger = logger

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        trainer.loggers = [self.logger]
        trainer.num_sanity_val_steps = 1


def measured(backbone: str, *callbacks: pl.Callback, **options: Any) -> tuple[Kept, FineTuner]:
    kept = Kept()
    return kept, fit(backbone, [Attach(kept), *callbacks, Diagnostics()], **{"log_every_n_steps": 1} | options)


def norms(tensors: dict[str, Tensor], encoder: Encoder) -> dict[str, float]:
    squares: dict[str, float] = defaultdict(float)
    for name, tensor in tensors.items():
        squares[group(encoder, name)] += tensor.double().pow(2).sum().item()
    return {part: math.sqrt(square) for part, square in squares.items()}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_groups(tmp_path: Path, architecture: str) -> None:
    encoder = Encoder(checkpoint(tmp_path, architecture), ("0", "1"))
    prefix = f"model.{encoder.model.base_model_prefix}."
    found = {name: group(encoder, name) for name, _ in encoder.named_parameters()}
    for name, part in found.items():
        if name.removeprefix(prefix).startswith(("embeddings", "encoder.rel_embeddings", "encoder.LayerNorm")):
            assert part == "embeddings"
        elif not name.startswith(prefix):
            assert part == "head"
    second = {"albert": [], "modernbert": ["layers.1.", "final_norm."], "deberta-v3": ["encoder.layer.1."]}
    starts = tuple(prefix + path for path in second.get(architecture, ["encoder.layer.1.", "transformer.layer.1."]))
    assert {name for name, part in found.items() if part == "layer_01"} == {n for n in found if n.startswith(starts)}
    absent = {"pooler"} - ({"pooler"} if architecture in ("bert", "albert") else set())
    # ALBERT has one layer, which runs twice.
    absent |= {"layer_01"} if architecture == "albert" else set()
    assert sorted(set(found.values())) == [part for part in PARTS if part not in absent]


def test_groups_sort_by_depth(tmp_path: Path) -> None:
    encoder = Encoder(checkpoint(tmp_path, "electra", num_hidden_layers=11), ("0", "1"))
    found = list(dict.fromkeys(group(encoder, name) for name, _ in encoder.named_parameters()))
    assert found == ["embeddings", *(f"layer_{depth:02d}" for depth in range(11)), "head"]
    assert group(encoder, "model.electra.embeddings_project.weight") == "embeddings"


class Gradients(pl.Callback):
    """What `Diagnostics` should see; and then nothing is left of it."""

    def __init__(self) -> None:
        self.seen: list[dict[str, float]] = []

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        named = pl_module.encoder.named_parameters()
        self.seen.append(norms({name: p.grad for name, p in named if p.grad is not None}, pl_module.encoder))


@pytest.mark.parametrize("accumulate", [1, 2])
def test_gradient_norms_before_clipping(tmp_path: Path, accumulate: int) -> None:
    own = Gradients()
    kept, _ = measured(
        checkpoint(tmp_path, "bert"), Mixout(), own, options={"max_grad_norm": 1e-3}, accumulate_grad_batches=accumulate
    )
    logged = kept.of("grad_norm")
    assert list(logged) == [1, 2, 3, 4, 5, 6]
    for row, seen in zip(logged.values(), own.seen, strict=True):
        assert sorted(row) == PARTS
        assert row == pytest.approx(seen, rel=1e-6)
        assert sum(norm**2 for norm in row.values()) > 1e-4


def test_gradient_norms_at_the_logging_interval(tmp_path: Path) -> None:
    kept, _ = measured(checkpoint(tmp_path, "bert"), log_every_n_steps=2)
    assert list(kept.of("grad_norm")) == [2, 4, 6] == [step for step, row in kept.rows if "train/loss" in row]


def test_a_frozen_part_has_no_gradient_and_stays(tmp_path: Path) -> None:
    kept, _ = measured(checkpoint(tmp_path, "bert"), toys.MeanHead())
    assert sorted(kept.of("grad_norm")[1]) == [part for part in PARTS if part != "pooler"]
    distances = kept.of("distance")[6]
    assert distances["pooler"] == 0 < distances["layer_01"]


def test_distances_at_evaluations_and_the_end(tmp_path: Path) -> None:
    backbone = checkpoint(tmp_path, "bert")
    kept, model = measured(backbone, Mixout(), precision="32-true")
    logged = kept.of("distance")
    assert list(logged) == [5, 6]  # the epoch's end, the end
    assert [step for step, row in kept.rows if "dev/score" in row and "distance/relative" in row] == [5]
    start = dict(Encoder(backbone, model.labels).named_parameters())
    anchored = {name: p for name, p in model.encoder.named_parameters() if model.encoder.anchored(name)}
    expected = norms({name: (p - start[name]).detach() for name, p in anchored.items()}, model.encoder)
    relative = math.hypot(*expected.values()) / math.hypot(*(start[name].detach().norm().item() for name in anchored))
    assert "head" not in expected
    assert logged[6] == pytest.approx({**expected, "relative": relative}, rel=1e-5)
    assert 0 < logged[5]["relative"] != logged[6]["relative"]


def test_the_end_is_measured_once(tmp_path: Path) -> None:
    kept, model = measured(checkpoint(tmp_path, "bert"), max_steps=5)
    model.trainer.validate(model, RandomRows(), verbose=False)
    assert [step for step, row in kept.rows if "distance/relative" in row] == [5]


def test_a_part_drawn_afresh_has_no_distance(tmp_path: Path) -> None:
    kept, _ = measured(checkpoint(tmp_path, "bert"), toys.ReinitTop())
    assert sorted(kept.of("distance")[6]) == ["embeddings", "layer_00", "pooler", "relative"]


def test_resumed_distances_are_from_the_first_start(tmp_path: Path) -> None:
    backbone = checkpoint(tmp_path, "bert")
    whole, _ = measured(backbone, every_step(tmp_path / "steps"), enable_checkpointing=True)
    (third,) = (tmp_path / "steps").glob("*step=3.ckpt")
    again, _ = measured(backbone, resume=str(third))
    assert list(again.of("distance")) == [5, 6]
    for row, expected in zip(again.of("distance").values(), whole.of("distance").values(), strict=True):
        assert row == pytest.approx(expected, rel=1e-6)
    assert again.of("grad_norm") == {step: row for step, row in whole.of("grad_norm").items() if step > 3}


@pytest.mark.parametrize("precision", ["64-true", "bf16-true"])
def test_resumed_distances_are_from_the_stage(tmp_path: Path, precision: str) -> None:
    """Everything that is logged after a resumption is what the uncut run logs there."""
    backbone = checkpoint(tmp_path, "bert")
    stage = tmp_path / "stage.ckpt"
    fit(backbone, options={"lr": 1e-2}).trainer.save_checkpoint(stage)

    def run(*callbacks: pl.Callback, **options: Any) -> Kept:
        teachers = [SMART(noise="shared")] if precision == "64-true" else []
        methods = [TwoStage(checkpoint=str(stage)), Mixout(p=0.5), *teachers]
        pulled = {"decay_towards": "anchor", "weight_decay": 0.5, "lr": 1e-2}
        return measured(backbone, *methods, *callbacks, options=pulled, precision=precision, **options)[0]

    whole = run(every_step(tmp_path / "steps"), enable_checkpointing=True)
    (third,) = (tmp_path / "steps").glob("*step=3.ckpt")
    again = run(resume=str(third))
    kinds = {key.split("/")[0] for _, row in again.rows for key in row}
    assert {"distance", "grad_norm", "dev", "train"} <= kinds
    assert again.rows == [(step, row) for step, row in whole.rows if step > 3]


@pytest.mark.parametrize("method", [None, "Mixout"])
def test_changes_nothing(tmp_path: Path, method: str | None) -> None:
    """Neither weights nor optimizer nor the global generator, with dropout on."""
    backbone = checkpoint(tmp_path, "bert")
    methods = [Mixout()] if method else []
    torch.manual_seed(0)
    without = state(fit(backbone, [Attach(Kept()), *methods], log_every_n_steps=1))
    generator = torch.get_rng_state()
    torch.manual_seed(0)
    _, model = measured(backbone, *methods)
    assert torch.equal(torch.get_rng_state(), generator)
    assert difference(without, state(model)) == 0
