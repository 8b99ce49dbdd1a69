"""Batches: the same global batch under any sharding, exact resume, every evaluation row once."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch
from torch import Tensor

from glue_tasks.errors import DataError
from glue_tasks.loader import Batch, EvalLoader, Rows, TrainLoader

SHARDINGS = [(1, 1), (1, 2), (2, 1), (2, 2), (4, 3)]


def make_rows(count: int, types: bool = True) -> Rows:
    """Row r has r % 4 + 1 tokens, all of them 10 + r; its id is 100 + r."""
    tokens = [[10 + row] * (row % 4 + 1) for row in range(count)]
    kinds = [[1] * len(row) for row in tokens] if types else None
    labels = torch.arange(count) % 2
    return Rows.from_lists("train", tokens, kinds, labels, torch.arange(count) + 100, pad_id=7)


def valid_ids(batch: Batch) -> list[int]:
    return batch["row_ids"][batch["valid"]].tolist()


def loss(row_ids: Tensor) -> Tensor:
    return (row_ids.double() * 0.37).sin()


def test_a_batch_is_padded_to_its_longest_row() -> None:
    batch = make_rows(6).collate(torch.tensor([1, 4, 2]), torch.tensor([True, True, False]))
    assert batch["input_ids"].tolist() == [[11, 11, 7], [14, 7, 7], [12, 12, 12]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0], [1, 0, 0], [1, 1, 1]]
    assert batch["token_type_ids"].tolist() == batch["attention_mask"].tolist()
    assert batch["row_ids"].tolist() == [101, 104, 102]
    assert batch["labels"].tolist() == [1, 0, 0]
    assert batch["lengths"] == [2, 1, 3]
    assert batch["split"] == "train"
    assert {batch[name].dtype for name in ("input_ids", "attention_mask", "token_type_ids")} == {torch.int64}


def test_without_token_types_the_batch_has_none() -> None:
    assert "token_type_ids" not in make_rows(3, types=False).collate(torch.arange(3), torch.ones(3).bool())


@pytest.mark.parametrize(("world", "accumulate"), SHARDINGS)
@pytest.mark.parametrize(("count", "size"), [(24, 12), (23, 8), (5, 8), (7, 3)])
def test_the_cells_are_the_global_batch(world: int, accumulate: int, count: int, size: int) -> None:
    whole = list(TrainLoader(make_rows(count), size, order_seed=3))
    ranks = [list(TrainLoader(make_rows(count), size, 3, world, rank, accumulate)) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(whole) * accumulate}
    for number, reference in enumerate(whole):
        cells = [batches[number * accumulate + micro] for batches in ranks for micro in range(accumulate)]
        rows = sorted(row for cell in cells for row in valid_ids(cell))
        assert rows == sorted(reference["row_ids"].tolist())
        means = [cell["scale"] * (loss(cell["row_ids"]) * cell["valid"]).sum() for cell in cells]
        torch.testing.assert_close(sum(means) / len(cells), loss(reference["row_ids"]).mean())


def test_every_epoch_has_every_row_in_another_order() -> None:
    loader = TrainLoader(make_rows(50), 8, order_seed=0)
    orders = []
    for epoch in range(3):
        loader.sampler.set_epoch(epoch)
        orders.append([row for batch in loader for row in valid_ids(batch)])
    assert all(sorted(order) == list(range(100, 150)) for order in orders)
    assert len({tuple(order) for order in orders}) == 3
    other = TrainLoader(make_rows(50), 8, order_seed=1)
    assert [row for batch in other for row in valid_ids(batch)] not in orders


@pytest.mark.parametrize(("world", "accumulate"), [(1, 1), (2, 2)])
def test_resume_from_every_position(world: int, accumulate: int) -> None:
    def loader() -> TrainLoader:
        return TrainLoader(make_rows(19), 4, 5, world, world - 1, accumulate)

    def epoch(loader: TrainLoader, number: int) -> list[tuple[list[int], dict[str, Any]]]:
        batches = iter(loader)
        loader.sampler.set_epoch(number)  # Lightning's order: after iter(), before next()
        return [(batch["row_ids"].tolist(), dict(loader.state_dict())) for batch in batches]

    run = loader()
    history = [epoch(run, number) for number in range(2)]
    for number in range(2):
        for position, (_, state) in enumerate(history[number]):
            resumed = loader()
            resumed.load_state_dict(state)
            assert resumed.state_dict()["position"] == state["position"] % len(resumed)
            rest = [rows for rows, _ in history[number][position + 1 :]]
            if rest:
                assert [rows for rows, _ in epoch(resumed, number)] == rest
            assert [rows for rows, _ in epoch(resumed, 1)] == [rows for rows, _ in history[1]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"batch_size": 5}, "batch size"),
        ({"world": 2}, "processes"),
        ({"accumulate": 2}, "accumulate_grad_batches"),
        ({"order_seed": 1}, "order seed"),
        ({"rows": make_rows(18)}, "number of training rows"),
    ],
)
def test_resume_refuses_other_batches(change: dict[str, Any], named: str) -> None:
    options: dict[str, Any] = {"rows": make_rows(19), "batch_size": 4, "order_seed": 0}
    state = TrainLoader(**options).state_dict()
    loader = TrainLoader(**(options | change))
    with pytest.raises(DataError, match=named) as error:
        loader.load_state_dict(state)
    assert "\n" not in str(error.value)


def test_resume_refuses_other_rows_of_the_same_number() -> None:
    rows = make_rows(19)
    others = Rows.from_lists("train", [[3]] * 19, None, rows.labels, rows.row_ids, pad_id=7)
    with pytest.raises(DataError, match="hash"):
        TrainLoader(others, 4, 0).load_state_dict(TrainLoader(rows, 4, 0).state_dict())


@pytest.mark.parametrize("world", [1, 2, 4])
@pytest.mark.parametrize("count", [1, 3, 5, 7])
def test_evaluation_has_every_row_once(world: int, count: int) -> None:
    ranks = [list(EvalLoader(make_rows(count), 2, world, rank)) for rank in range(world)]
    assert sorted(row for rank in ranks for batch in rank for row in valid_ids(batch)) == [*range(100, 100 + count)]
    assert len({tuple(len(batch["row_ids"]) for batch in rank) for rank in ranks}) == 1
    for number, rank in enumerate(ranks):
        assert len(rank) == len(EvalLoader(make_rows(count), 2, world, number))
        assert [row for batch in rank for row in valid_ids(batch)] == [*range(100 + number, 100 + count, world)]


class Recorder(pl.LightningModule):
    """Learns nothing; keeps the rows it has seen."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(()))
        self.seen: list[list[int]] = []

    def training_step(self, batch: Batch) -> Tensor:
        self.seen.append(batch["row_ids"].tolist())
        return self.weight * batch["scale"]

    def validation_step(self, batch: Batch) -> None:
        pass

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def fit(folder: Path, checkpoint: Path | None = None) -> Recorder:
    model = Recorder()
    trainer = pl.Trainer(
        max_epochs=3,
        accumulate_grad_batches=2,
        val_check_interval=4,
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[pl.callbacks.ModelCheckpoint(folder, "{step}", save_top_k=-1, every_n_train_steps=1)],
    )
    rows = make_rows(11)
    loaders = TrainLoader(rows, 4, order_seed=2, accumulate=2), EvalLoader(rows, 4)
    trainer.fit(model, *loaders, ckpt_path=checkpoint, weights_only=True)
    return model


@pytest.mark.filterwarnings("ignore")
def test_lightning_resumes_within_and_between_epochs(tmp_path: Path) -> None:
    whole = fit(tmp_path / "whole").seen
    assert len(whole) == 18
    for step in range(1, 9):
        assert fit(tmp_path / str(step), tmp_path / f"whole/step={step}.ckpt").seen == whole[2 * step :]
