"""The selection split: no text on both sides, the right size and label proportions; subsets."""

import time
from pathlib import Path

import numpy as np
import pytest

from glue_tasks.registry import find
from glue_tasks.sources import load
from glue_tasks.stratification import (
    Indices,
    draws,
    group_rows,
    normalise,
    rarest,
    selection_split,
    stratified_subset,
    stratify,
)


def test_groups_follow_chains_of_shared_texts() -> None:
    rows = [("A cat.", "b"), ("c", "a CAT"), ("C!", "d"), ("e", "f"), ("...", "g"), ("?", "h")]
    groups = group_rows(rows)
    assert groups[0] == groups[1] == groups[2]
    assert len(set(groups.tolist())) == 4


def test_groups_by_containment() -> None:
    texts = ["a very good film", "good film", "very good", "film", "bad", "not good , film", "a good plot"]
    groups = group_rows([(text,) for text in texts], contained=True)
    assert groups[0] == groups[1] == groups[2]
    assert groups[3] == -1, "a contained word stays in train"
    assert groups[4] >= 0, "a word contained nowhere is an ordinary row"
    assert groups[5] == groups[0], "punctuation does not separate"
    assert len(set(groups.tolist())) == 4
    assert len(set(group_rows([(text,) for text in texts]).tolist())) == len(texts)


def test_normalise() -> None:
    assert normalise(" The  Cat's\there. ") == ("the", "cat", "s", "here")
    assert normalise(" ?! ") == ("?!",)


def groups_of(sizes: list[int]) -> Indices:
    return np.repeat(np.arange(len(sizes)), sizes)


def test_whole_groups_and_no_giants() -> None:
    groups = groups_of([300, 12, *[2] * 100, *[1] * 400])
    strata = np.arange(len(groups)) % 2
    rows = selection_split(groups, strata, 100, seed=0)
    assert len(rows) == 100
    rest = np.setdiff1d(np.arange(len(groups)), rows)
    assert not set(groups[rows]) & set(groups[rest])
    assert not {0, 1} & set(groups[rows])
    assert (strata[rows] == 0).sum() == 50


def test_rows_marked_to_stay_stay() -> None:
    groups = np.concatenate([np.full(3, -1), np.arange(40)])
    assert selection_split(groups, np.zeros(43, np.int64), 40, seed=0).tolist() == list(range(3, 43))


def test_nothing_can_be_selected_from_one_group() -> None:
    assert len(selection_split(np.zeros(50, np.int64), np.zeros(50, np.int64), 5, seed=0)) == 0


def test_draws_are_the_same_everywhere() -> None:
    assert draws(2, 0, "selection") == [5223487196371804138, 9157828228556713513]
    assert draws(2, 0, "selection") != draws(2, 1, "selection") != draws(2, 1, "subset")


@pytest.mark.parametrize("size", [1, 10, 333, 1000])
def test_stratified_subset(size: int) -> None:
    strata = np.repeat([0, 1, 2], [600, 300, 100])
    rows = stratified_subset(strata, size, seed=4)
    assert len(rows) == len(set(rows.tolist())) == size
    assert (np.diff(rows) > 0).all()
    share = np.bincount(strata[rows], minlength=3)
    assert np.abs(share - size * np.array([0.6, 0.3, 0.1])).max() < 1
    assert rows.tolist() == stratified_subset(strata, size, seed=4).tolist()
    if size < 1000:
        assert rows.tolist() != stratified_subset(strata, size, seed=5).tolist()


def test_a_regression_is_stratified_by_quantiles() -> None:
    labels = np.random.default_rng(0).exponential(size=1000).astype(np.float32)
    strata = stratify(labels, regression=True)
    assert np.bincount(strata).tolist() == [100] * 10
    assert (np.diff(strata[np.argsort(labels)]) >= 0).all()
    assert len(set(stratify(np.ones(20, np.float32), regression=True).tolist())) == 1


@pytest.mark.parametrize(("name", "size"), [("rte", 249), ("wnli", 63), ("stsb", 574), ("sst2", 872)])
def test_real_tasks_share_no_text_across_the_sides(name: str, size: int, glue_dir: Path) -> None:
    task = find(name)
    table = load(task, "train", "tsv", str(glue_dir))
    texts = [
        [" ".join(normalise(text)) for text in row] for row in zip(*(table[c][:] for c in task.columns), strict=True)
    ]
    labels = np.array(table["label"][:])
    start = time.process_time()
    groups = group_rows(texts, task.grouping == "contained")
    selected = selection_split(groups, stratify(labels, task.regression), size, seed=1)
    assert time.process_time() - start < 20
    assert len(selected) == size
    rest = np.setdiff1d(np.arange(len(table)), selected)
    inside = {text for row in selected for text in texts[row]}
    outside = {text for row in rest for text in texts[row]}
    assert not inside & outside
    if task.regression:
        assert abs(labels[selected].mean() - labels.mean()) < 0.05
    else:
        assert abs(labels[selected].mean() - labels.mean()) < 0.01
    if task.grouping == "contained":
        for one, other in ((inside, outside), (outside, inside)):
            whole = "\n".join(f" {text} " for text in other)
            assert not [text for text in one if " " in text and f" {text} " in whole]
    reseeded = selection_split(groups, stratify(labels, task.regression), size, seed=2)
    assert selected.tolist() != reseeded.tolist()


def test_the_stratum_of_a_set_is_its_rarest_name() -> None:
    held = np.array([[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 1, 1], [1, 0, 0], [0, 1, 0]], bool)
    assert rarest(held).tolist() == [0, 1, 3, 2, 0, 1]
