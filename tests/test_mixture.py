"""Batches of several tasks: one task a step on every rank, every row in its turn, shares by temperature, resuming."""

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

import ftreg
from glue_tasks.auxiliary_tasks import AuxiliaryTask
from glue_tasks.data import GlueDataModule
from glue_tasks.errors import DataError
from glue_tasks.loader import Batch, Rows, TrainLoader
from glue_tasks.mixture import MixtureLoader
from glue_tasks.tasks import Task

TINY = str(Path(ftreg.__file__).parent / "encoder" / "backbones" / "tiny")
SIZES = {"a": 19, "b": 8, "c": 5}
SAMPLINGS: list[dict[str, Any]] = [{}, {"sampling": "temperature", "temperature": 2.0}]
SHARDINGS = [(1, 2), (2, 1), (2, 2), (4, 3)]


def make_rows(count: int, seed: int = 0) -> Rows:
    """Row r has r % 4 + 1 tokens; its id is r."""
    tokens = [[10 + seed + row] * (row % 4 + 1) for row in range(count)]
    return Rows.from_lists("train", tokens, None, torch.arange(count) % 2, torch.arange(count), pad_id=7)


def make_tasks(sizes: dict[str, int] = SIZES) -> dict[str, Rows]:
    return {name: make_rows(count) for name, count in sizes.items()}


def loader(*sharding: int, tasks: dict[str, Rows] | None = None, **options: Any) -> MixtureLoader:
    return MixtureLoader(tasks or make_tasks(), 4, 3, *sharding, **options)


def epoch(loader: MixtureLoader, number: int = 0) -> list[Batch]:
    batches = iter(loader)
    loader.sampler.set_epoch(number)  # Lightning's order: after iter(), before next()
    return list(batches)


def valid_ids(batch: Batch) -> list[int]:
    return batch["row_ids"][batch["valid"]].tolist()


def seen(batches: list[Batch]) -> list[tuple[str, list[int]]]:
    return [(batch["task"], batch["row_ids"].tolist()) for batch in batches]


def test_an_epoch_in_proportion_has_every_row_of_every_task_once():
    mixed = loader()
    orders = []
    for number in range(3):
        rows: dict[str, list[int]] = {name: [] for name in SIZES}
        for batch in epoch(mixed, number):
            rows[batch["task"]] += valid_ids(batch)
        assert {name: sorted(ids) for name, ids in rows.items()} == {n: [*range(k)] for n, k in SIZES.items()}
        orders.append([batch["task"] for batch in epoch(mixed, number)])
    assert len(mixed) == 5 + 2 + 2
    assert len({tuple(order) for order in orders}) == 3
    assert any(order != sorted(order) for order in orders)


@pytest.mark.parametrize("options", SAMPLINGS)
def test_a_task_goes_through_its_rows_in_turn_over_epochs(options: dict[str, Any]):
    mixed = loader(**options)
    streams: dict[str, list[int]] = {name: [] for name in SIZES}
    for number in range(12):
        for batch in epoch(mixed, number):
            streams[batch["task"]] += valid_ids(batch)
    for name, size in SIZES.items():
        turns = [streams[name][start : start + size] for start in range(0, len(streams[name]) - size + 1, size)]
        assert len(turns) > 1
        assert all(sorted(turn) == [*range(size)] for turn in turns)
        assert len({tuple(turn) for turn in turns}) >= len(turns) - 1  # five rows have few orders


@pytest.mark.parametrize("options", SAMPLINGS)
def test_a_tasks_order_does_not_depend_on_the_others(options: dict[str, Any]):
    def rows_of_a(tasks: dict[str, Rows]) -> list[list[int]]:
        mixed = loader(tasks=tasks, **options)
        found = [row for number in range(4) for name, row in seen(epoch(mixed, number)) if name == "a"]
        return found[:5]

    assert rows_of_a(make_tasks()) == rows_of_a(make_tasks({"z": 30, "a": 19}))
    twins = seen(epoch(loader(tasks=make_tasks({"a": 19, "d": 19}))))
    assert [rows for name, rows in twins if name == "a"] != [rows for name, rows in twins if name == "d"]
    other = MixtureLoader(make_tasks(), 4, 4)
    assert [rows for name, rows in seen(epoch(other)) if name == "a"] != rows_of_a(make_tasks())


@pytest.mark.parametrize("temperature", [0.5, 1.0, 2.0, 5.0, float("inf")])
def test_shares_follow_the_temperature(temperature: float):
    mixed = loader(tasks=make_tasks({"a": 400, "b": 100, "c": 25}), sampling="temperature", temperature=temperature)
    sampler = mixed.sampler
    weights = {name: len(rows) ** (1 / temperature) for name, rows in mixed.tasks.items()}
    counts: Counter[int] = Counter()
    for number in range(80):
        sampler.set_epoch(number)
        counts.update(sampler.order()[0].tolist())
    draws = sum(counts.values())
    assert draws == 80 * len(mixed)
    for place, name in enumerate(weights):
        expected = weights[name] / sum(weights.values())
        deviation = (expected * (1 - expected) / draws) ** 0.5
        assert abs(counts[place] / draws - expected) < 5 * deviation


def test_a_small_temperature_overflows_nothing():
    mixed = loader(tasks=make_tasks({"a": 400, "b": 100}), sampling="temperature", temperature=1e-3)
    assert {batch["task"] for batch in epoch(mixed)} == {"a"}


@pytest.mark.parametrize("options", SAMPLINGS)
@pytest.mark.parametrize("sharding", SHARDINGS)
def test_the_cells_are_the_global_batch_of_one_task(sharding: tuple[int, int], options: dict[str, Any]):
    world, accumulate = sharding
    whole = epoch(loader(**options), 1)
    ranks = [epoch(loader(world, rank, accumulate, **options), 1) for rank in range(world)]
    assert {len(batches) for batches in ranks} == {len(whole) * accumulate}
    for number, reference in enumerate(whole):
        cells = [batches[number * accumulate + micro] for batches in ranks for micro in range(accumulate)]
        assert {cell["task"] for cell in cells} == {reference["task"]}
        assert sorted(row for cell in cells for row in valid_ids(cell)) == sorted(reference["row_ids"].tolist())
        means = [cell["scale"] * (cell["row_ids"].double().sin() * cell["valid"]).sum() for cell in cells]
        torch.testing.assert_close(sum(means) / len(cells), reference["row_ids"].double().sin().mean())


@pytest.mark.parametrize("options", SAMPLINGS)
@pytest.mark.parametrize("sharding", [(1, 0, 1), (2, 1, 2)])
def test_resume_from_every_position(sharding: tuple[int, int, int], options: dict[str, Any]):
    whole = loader(*sharding, **options)
    history = []
    for number in range(3):
        batches = iter(whole)
        whole.sampler.set_epoch(number)
        history.append([(batch["task"], batch["row_ids"].tolist(), dict(whole.state_dict())) for batch in batches])
    for number in range(2):
        for position, (*_, state) in enumerate(history[number]):
            resumed = loader(*sharding, **options)
            resumed.load_state_dict(state)
            rest = [(task, rows) for task, rows, _ in history[number][position + 1 :]]
            if rest:
                assert seen(epoch(resumed, number)) == rest
            assert seen(epoch(resumed, number + 1)) == [(task, rows) for task, rows, _ in history[number + 1]]


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"tasks": make_tasks({"a": 19, "b": 8})}, "list of tasks was a, b, c in the checkpoint and is a, b now"),
        ({"tasks": make_tasks({"b": 8, "a": 19, "c": 5})}, "list of tasks"),
        ({"tasks": make_tasks({"a": 19, "b": 9, "c": 5})}, "number of training rows was 19, 8, 5"),
        ({"tasks": {**make_tasks(), "b": make_rows(8, seed=1)}}, "hash"),
        ({"sampling": "proportional", "temperature": 1}, "sampling of tasks"),
        ({"temperature": 3.0}, "temperature of the sampling was 2.0 in the checkpoint and is 3.0"),
        ({"batch_size": 5}, "batch size"),
        ({"world": 2}, "processes"),
        ({"accumulate": 2}, "accumulate_grad_batches"),
        ({"order_seed": 1}, "order seed"),
    ],
)
def test_resume_refuses_other_batches(change: dict[str, Any], named: str):
    options: dict[str, Any] = {"tasks": make_tasks(), "batch_size": 4, "order_seed": 0, **SAMPLINGS[1]}
    state = MixtureLoader(**options).state_dict()
    MixtureLoader(**options).load_state_dict(state)
    with pytest.raises(DataError, match=named) as error:
        MixtureLoader(**(options | change)).load_state_dict(state)
    assert "\n" not in str(error.value)


def test_one_task_and_several_do_not_resume_each_other():
    one = TrainLoader(make_rows(19), 4, 3)
    with pytest.raises(DataError, match="list of tasks was None"):
        loader().load_state_dict(one.state_dict())
    with pytest.raises(DataError, match="number of training rows was 19, 8, 5"):
        one.load_state_dict(loader().state_dict())


# The data module


def module(**options: Any) -> GlueDataModule:
    defaults: dict[str, Any] = {"task": "mnli", "tokenizer": TINY, "train_subset": 64}
    return GlueDataModule(**(defaults | options))


def test_the_data_module_mixes_whole_training_splits():
    data = module(also=[AuxiliaryTask("rte", train_subset=40), AuxiliaryTask("stsb")])
    assert data.heads == {"rte": ("entailment", "not_entailment"), "stsb": ()}
    data.setup("fit")
    mixed = data.train_dataloader()
    assert isinstance(mixed, MixtureLoader)
    whole = GlueDataModule("stsb", TINY, protocol="dev").sizes["train"]
    assert {name: len(rows) for name, rows in mixed.tasks.items()} == {"mnli": 64, "rte": 40, "stsb": whole}
    assert list(data.sizes) == ["train", "train/rte", "train/stsb", "selection", "dev_matched", "dev_mismatched"]
    kinds = {batch["task"]: batch["labels"].dtype for batch in mixed}
    assert kinds == {"mnli": torch.int64, "rte": torch.int64, "stsb": torch.float32}
    assert "task" not in next(iter(data.val_dataloader()[0]))


def test_the_others_change_nothing_else():
    alone, data = module(), module(also=[AuxiliaryTask("rte")])
    assert alone.heads == {}
    assert isinstance(alone.train_dataloader(), TrainLoader)
    assert "task" not in next(iter(alone.train_dataloader()))
    prints = data.fingerprints
    assert prints.pop("train/rte") == GlueDataModule("rte", TINY, protocol="dev").fingerprints["train"]
    assert prints == alone.fingerprints


def test_another_task_comes_from_its_own_place(tmp_path: Path):
    lines = ["a\tb\tlabel", *(f"first {row}\tsecond {row}\t{'yes' if row % 2 else 'no'}" for row in range(30))]
    (tmp_path / "dev.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    own = Task("own", ("a", "b"), ("no", "yes"))
    data = module(task="sst2", also=[AuxiliaryTask(own, source="files", path=str(tmp_path), train_split="dev")])
    assert len(data.rows("train/own")) == 30
    with pytest.raises(DataError, match=r"needs data\.path"):
        module(also=[AuxiliaryTask(own, source="files")]).setup("fit")


def test_the_data_module_resumes_within_an_epoch():
    whole = module(also=[AuxiliaryTask("rte", train_subset=40)])
    batches = iter(whole.train_dataloader())
    for _ in range(3):
        next(batches)
    state = whole.state_dict()
    resumed = module(also=[AuxiliaryTask("rte", train_subset=40)])
    resumed.load_state_dict(state)
    assert seen(list(resumed.train_dataloader())) == seen(list(batches))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"also": [AuxiliaryTask("rte"), AuxiliaryTask("rte")]}, "data.also: task 'rte' is there twice"),
        ({"also": [AuxiliaryTask("mnli")]}, "data.also: task 'mnli' is there twice"),
        ({"also": [AuxiliaryTask("rtee")]}, r"unknown task 'rtee'; did you mean 'rte'\?"),
        ({"also": [AuxiliaryTask("ax")]}, r"data\.also: task 'ax' trains on one of: none"),
        (
            {"also": [AuxiliaryTask("rte", train_split="test")]},
            "task 'rte' trains on one of: train, dev; not on 'test'",
        ),
        (
            {"also": [AuxiliaryTask("rte", train_subset=0)]},
            "data.also: train_subset=0 of task 'rte' must be at least 1",
        ),
        ({"also": [AuxiliaryTask("text")]}, "data.also: task 'text' has no labels"),
        ({"sampling": "temperature", "temperature": 0.0}, r"data\.temperature=0\.0 must be above 0"),
        ({"sampling": "temperature", "temperature": float("nan")}, r"data\.temperature=nan must be above 0"),
        ({"temperature": 2.0}, r"data\.temperature=2\.0 needs data\.sampling=temperature"),
        ({"sampling": "uniform"}, "data.sampling is 'uniform'; valid"),
    ],
)
def test_refused_at_once(options: dict[str, Any], words: str):
    with pytest.raises(DataError, match=words) as error:
        module(**options)
    assert "\n" not in str(error.value)


def test_too_large_a_subset_is_refused():
    with pytest.raises(DataError, match="task 'rte' has 2000 rows, train_subset=9999"):
        module(also=[AuxiliaryTask("rte", train_subset=9999)]).setup("fit")
