"""A run asks for a method by its role: one's own method with that role is served as TwoStage is."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any, Self

import pytest
import yaml

from ftreg import SMART, VAT, ConflictError, FreeLB, MaskedLM, Regularizer, ReplacedTokens, StartsFromFits
from ftreg.cli.citation import cited
from ftreg.core.method import check_claims
from ftreg.core.method_registry import task_heads
from ftreg.run import stages
from ftreg.run.provenance import from_config
from ftreg.testing.cases import exported

STAGES = [{"data": {"task": "mnli"}}, {"data": {"task": "qnli"}}]
TARGET = {"model": {"backbone": "x"}, "data": {"source": "sample", "path": None}, "trainer": {}, "seeds": {}}


class Warmed(StartsFromFits):
    """A start of one's own, cited by what it starts from."""

    papers = ("mine2026",)

    def __init__(self, stages: list[dict[str, Any] | str] | None = None) -> None:
        self.stages, self.checkpoint, self.weights, self.store = stages, None, "last", "kept"

    @property
    def cites(self) -> tuple[str, ...]:
        return ()

    @property
    def keeps_head(self) -> bool:
        return False

    @property
    def allows_overlap(self) -> bool:
        return True

    def within_stage(self, before: Sequence[dict[str, Any] | str]) -> Self:
        return type(self)([*before])

    def start_from(self, checkpoint: str) -> None:
        self.checkpoint = checkpoint

    def cites_start(self, supervised: bool | None) -> tuple[str, ...]:
        return self.papers if supervised else ()


def entry(**options: Any) -> dict[str, Any]:
    return {"class_path": f"{Warmed.__module__}.Warmed", "init_args": options}


def test_a_start_of_ones_own_has_its_stages_run() -> None:
    start = stages.staged({"trainer": {"callbacks": [entry(stages=STAGES)]}})
    assert isinstance(start, Warmed)
    assert stages.stage_folder(start, "qnli", "0" * 16) == Path("kept") / f"qnli-{'0' * 16}"
    arguments = dict(line[2:].split("=", 1) for line in stages.stage_arguments(start, TARGET))
    assert yaml.safe_load(arguments["data.task"]) == "qnli"
    (earlier,) = yaml.safe_load(arguments["trainer.callbacks"])
    assert (earlier["class_path"], len(earlier["init_args"]["stages"])) == ("Warmed", 1)
    assert stages.staged({"trainer": {"callbacks": [entry()]}}) is None


@pytest.mark.parametrize(("callbacks", "own"), [([], {"mine2026"}), (["MaskedLM"], set())], ids=["labels", "text"])
def test_its_papers_follow_from_what_it_starts_from(callbacks: list[str], own: set[str]) -> None:
    stage = {"data": {"task": "mnli"}, "trainer": {"callbacks": callbacks}}
    config = {"data": {"task": "rte"}, "trainer": {"callbacks": [entry(stages=[stage])]}}
    assert cited([from_config(config, "here")]).own["methods"] == own


def test_one_method_has_heads_for_tasks() -> None:
    assert task_heads()({"mrpc": ["no", "yes"]}).heads == {"mrpc": ["no", "yes"]}


@pytest.mark.parametrize("untaught", [MaskedLM, ReplacedTokens])
@pytest.mark.parametrize("judging", [partial(SMART, mu=0.0), VAT])
def test_what_is_about_predictions_needs_a_head_that_trains(untaught: Any, judging: Any) -> None:
    with pytest.raises(ConflictError, match=r"is about a head's predictions, and .* trains no head without a task_w"):
        check_claims([untaught(), judging()])
    check_claims([untaught(task_weight=1.0), judging()])


def test_those_are_the_methods_that_compare_predictions() -> None:
    def compares(cls: type[Regularizer]) -> bool:
        return "divergence(" in Path(__import__(cls.__module__, fromlist=["x"]).__file__).read_text(encoding="utf-8")

    assert {name for name, cls in exported().items() if cls.needs_trained_head} == {
        name for name, cls in exported().items() if compares(cls)
    }
    assert not FreeLB.needs_trained_head
