"""Every method with every architecture: it works, or is refused in a line."""

from functools import partial
from pathlib import Path

import pytest

from ftreg import SMART, LayerPooling
from ftreg.testing import CASES, Case
from ftreg.testing.cases import ACTING
from ftreg.testing.encoders import ARCHITECTURES, checkpoint
from ftreg.testing.matrix import pair, step
from tests.pipeline import difference

VARIANTS: dict[str, Case] = {
    "SMART below": Case(partial(ACTING, perturb="embedding_output"), null=partial(SMART, weight=0.0, mu=0.0)),
    "a layer below": Case(partial(LayerPooling, layers=[0, 1], tokens="mean")),
}
"""Settings that ask more of an architecture than a method's card does."""
LAYERED = {"LayerPooling", "GradualUnfreezing", "ReplacedTokens", "SMART below", "a layer below"}
OTHERS: dict[str, set[str]] = {
    "big_bird": set(),
    "eurobert": set(),
    "xlm": LAYERED,
}
"""What is refused of other architectures."""


@pytest.fixture(scope="module", params=ARCHITECTURES)
def known(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """An architecture with layers, and a checkpoint of it."""
    return request.param, checkpoint(tmp_path_factory.mktemp("encoder"), request.param)


@pytest.mark.parametrize("name", [*CASES, *VARIANTS])
def test_every_method_works_with_every_architecture(known: tuple[str, str], name: str):
    assert pair((CASES | VARIANTS)[name], *known) == ""


def test_recomputing_activations_changes_nothing(known: tuple[str, str]):
    _, backbone = known
    assert difference(step(backbone), step(backbone, gradient_checkpointing=True)) < 1e-6


@pytest.mark.parametrize("architecture", OTHERS)
def test_what_else_there_is_works_or_is_refused(tmp_path: Path, architecture: str):
    backbone = checkpoint(tmp_path, architecture)
    refused = {name for name, case in (CASES | VARIANTS).items() if pair(case, architecture, backbone)}
    assert refused == OTHERS[architecture]
