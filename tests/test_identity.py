"""Two configurations are one run only where no number can differ."""

import importlib
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from ftreg.bench import grid
from ftreg.bench.plans import difference
from ftreg.cli.evaluating import adopted
from ftreg.core import method_registry
from ftreg.core.method_registry import subclasses
from ftreg.run.identity import identity
from ftreg.run.result import MethodRecord
from ftreg.run.resume import KEY, check_same_run
from ftreg.run.wording import methods_in_words

DISTINCT = [None, False, True, 0, 0.0, 1, 1.0, "0", "", "false", [], [0], [False], {}, {"a": 0}, {0: 1}, {"0": 1}]
TRAINER = {"callbacks": None, "gradient_clip_val": None, "num_sanity_val_steps": 0, "overfit_batches": 0.0}


def config(group: str = "trainer", **options: Any) -> dict[str, Any]:
    groups: dict[str, Any] = {"model": {"backbone": "demo"}, "data": {"task": "rte"}, "seeds": {}, "trainer": TRAINER}
    return groups | {group: groups[group] | options}


def refuses(one: dict[str, Any], other: dict[str, Any]) -> bool:
    try:
        check_same_run("last.ckpt", {"task": "rte", "config": one}, "rte", other)
    except ValueError:
        return True
    return False


TELLS: dict[str, Callable[[dict[str, Any], dict[str, Any]], bool]] = {
    "identity": lambda one, other: identity(one, {}) != identity(other, {}),
    "resume": refuses,
    "bench": lambda one, other: bool(difference(one, other)),
}


@pytest.mark.parametrize("tells", TELLS.values(), ids=TELLS)
@pytest.mark.parametrize("group", ["trainer", "model", "data"])
def test_types_count(group: str, tells: Callable[[dict[str, Any], dict[str, Any]], bool]) -> None:
    for number, one in enumerate(DISTINCT):
        for other in DISTINCT[:number]:
            off = group == "trainer" and all(value in (None, []) or value is False for value in (one, other))
            if not (off and tells is not TELLS["bench"]):
                assert tells(config(group, option=one), config(group, option=other)), (one, other)
        assert not tells(config(group, option=one), config(group, option=one))


@pytest.mark.parametrize("tells", TELLS.values(), ids=TELLS)
def test_clipping_at_nothing_is_not_the_default(tells: Callable[[dict[str, Any], dict[str, Any]], bool]) -> None:
    for nothing in (0, 0.0):
        assert tells(config(gradient_clip_val=nothing), config())


def test_what_is_off_is_absent() -> None:
    """A trainer with more options, none of them used, makes the same runs."""
    more = config(new=None, newer=False, newest=[], fast_dev_run=0, reload_dataloaders_every_n_epochs=0)
    assert identity(more, {}) == identity(config(), {}) == identity(config(overfit_batches=0), {})
    assert not refuses(more, config())


def test_the_same_value_in_another_form() -> None:
    from ftreg.run.identity import same

    assert same((1, "a"), [1, "a"])
    assert same({"a": 1, "b": 2}, {"b": 2, "a": 1})
    assert same(float("nan"), float("nan"))
    assert not same(np.float64(0.5), 0.25)


def test_an_option_that_a_checkpoint_has_otherwise_is_taken() -> None:
    run = {KEY: {"config": config("model", packing=True)}}
    assert "--model.packing=true" in adopted(run, config("model", packing=1), [])


def test_arms_are_told_apart() -> None:
    options = [{"mix": "scalar", "layer_norm": value} for value in (0, False)]
    named = [methods_in_words([MethodRecord("LayerPooling", one)]) for one in options]
    assert named[0] != named[1]


def test_a_grid_does_not_take_zero_for_false() -> None:
    with pytest.raises(ValueError, match="match_compute"):
        grid._match(0, {"plain": (), "m": ()})
    assert grid._match(False, {}) == {}


def test_a_checkpoint_of_our_own_method_needs_no_import(monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a script that knows nothing but the class that loads it; no other class is looked for."""
    looked_for: list[str] = []
    load = importlib.import_module
    # Before our methods are imported there are none.
    imported = lambda *cls: subclasses(*cls) if "ftreg.methods" in looked_for else []  # noqa: E731
    monkeypatch.setattr(method_registry, "subclasses", imported)
    monkeypatch.setattr(importlib, "import_module", lambda name: looked_for.append(name) or load(name))
    (method,) = method_registry.rebuild([{"class": "LayerPooling", "options": {"mix": "concat"}}])
    assert type(method).__module__ == "ftreg.methods.layer_pooling"
    with pytest.raises(ValueError, match="Toy, which is unknown here"):
        method_registry.rebuild([{"class": "tests.toys.Toy", "options": {}}])
    assert set(looked_for) == {"ftreg.methods"}
