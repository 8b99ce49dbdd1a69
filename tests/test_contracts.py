"""What every exported method promises, at its row of settings; and that the contracts find what breaks them.

The promise that takes more than one process is in `tests/test_exactness.py`, for all methods in one start of two ranks.
"""

import re
import textwrap
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from torch import Tensor

import ftreg.testing
from ftreg import SMART, LayerPooling
from ftreg.core.method import Slot
from ftreg.core.step import Step
from ftreg.testing import (
    ALONE,
    CASES,
    CONTRACTS,
    Case,
    clean,
    command_line,
    exported,
    gradient,
    null,
    permutation,
    reloading,
)
from ftreg.testing.cases import ACTING
from tests import broken, toys

README = Path(__file__).parent.parent / "README.md"


class StructureAndMore(toys.MeanHead):
    """Another head, and a penalty that no null settings switch off."""

    def penalty(self, step: Step) -> Tensor:
        return step.mean(step.logits().square().sum(1))


class RecordsOtherOptions(LayerPooling):
    """Is built again as another method than it was."""

    def options(self) -> dict[str, Any]:
        return super().options() | {"mix": "sum"}


def test_every_exported_method_has_a_row():
    assert set(CASES) == set(exported())
    for name, case in CASES.items():
        assert {type(build()) for build in (case.card, case.null) if build} == {exported()[name]}


def test_only_another_head_excuses_from_null_settings():
    assert {name for name, case in CASES.items() if case.null is None} == {
        name for name, case in CASES.items() if Slot.POOLER in case.card().claims
    }


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("contract", ALONE)
def test_contract(contract, case: str, tmp_path: Path):
    contract(CASES[case], tmp_path)


@pytest.mark.parametrize("half", [{"weight": 0.0}, {"mu": 0.0}], ids=["proximal", "smoothness"])
def test_either_half_of_smart_acts(half: dict[str, float], tmp_path: Path):
    gradient(Case(partial(ACTING, **half), null=SMART), tmp_path)


@pytest.mark.parametrize(
    ("contract", "case", "complaint"),
    [
        (null, Case(toys.Jitter, null=toys.Jitter), "Jitter at its null settings ends .* away from plain"),
        (null, Case(broken.Idle), "Idle has no null settings, but leaves the network as it is"),
        (null, Case(StructureAndMore), "StructureAndMore ends .* away from plain fine-tuning of the network that it"),
        (gradient, Case(broken.Idle, null=broken.Idle), r"Idle changes the gradient by 0\.0e\+00"),
        # The published ε under one dropout mask: what a test of the loss alone would not notice.
        (
            gradient,
            Case(partial(SMART, mu=0.0, noise="shared"), null=SMART),
            "SMART changes the gradient by .*e-0[6-9]",
        ),
        (clean, Case(broken.LeavesHook, null=broken.Idle), "after a fit, hooks of model.classifier is not as before"),
        (clean, Case(broken.LeavesFrozen, null=broken.Idle), "after a fit, parameter encoder.model.classifier.bias"),
        (clean, Case(broken.LeavesDropout, null=broken.Idle), "after a failure in pass 0, dropout model.dropout"),
        (permutation, Case(broken.KnowsItsPlace, null=broken.Idle), "KnowsItsPlace, .* in reversed order the fit ends"),
        (reloading, Case(partial(RecordsOtherOptions, mix="mean")), "RecordsOtherOptions: loaded .* predictions are"),
        (command_line, Case(broken.LosesOption, null=broken.Idle), r"LosesOption: result\.json has .*'weight': 4\.0"),
    ],
    ids=lambda value: value if isinstance(value, str) else getattr(value, "__name__", ""),
)
def test_a_broken_promise_is_found(contract, case: Case, complaint: str, tmp_path: Path):
    with pytest.raises(AssertionError, match=complaint):
        contract(case, tmp_path)


def test_a_method_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The example of `ftreg.testing`, on the method that the README shows."""
    (mine,) = re.findall(r"```python\n(from ftreg import Regularizer.*?)```", README.read_text(), re.DOTALL)
    (tmp_path / "mine.py").write_text(mine)
    monkeypatch.syspath_prepend(tmp_path)
    names: dict[str, object] = {}
    assert ftreg.testing.__doc__
    (example,) = re.findall(r"\n\n((?:    .*\n|\n)+)", ftreg.testing.__doc__)
    exec(textwrap.dedent(example), names)
    for contract in CONTRACTS:
        folder = tmp_path / contract.__name__
        folder.mkdir()
        names["test_my_noise"](contract, folder)
