"""A run whose loss or gradient is no longer a number stops, and says where it came from."""

import pytest
import torch

from ftreg import DivergedError, Mixout
from ftreg.__main__ import main
from tests import toys
from tests.cli.runs import BASE
from tests.models import checkpoint
from tests.pipeline import fit


class Burst(toys.Regularizer):
    """A penalty, or one of two, whose value or only whose gradient is NaN from the third step on."""

    def __init__(self, gradient_only: bool = False, named: bool = False) -> None:
        self.gradient_only, self.named = gradient_only, named

    def penalty(self, step):
        head = next(iter(step.params.values())).sum()
        if step.number < 2:
            term = 0 * head
        elif self.gradient_only:
            term = (head - head).sqrt()  # 0, with gradient ∞ · 0
        else:
            term = head * float("nan")
        return {"calm": 0 * head, "wild": term} if self.named else term


@pytest.fixture
def backbone(tmp_path) -> str:
    return checkpoint(tmp_path / "encoder", "bert")


@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("named", [False, True])
def test_a_loss_that_is_nan_stops_and_names_its_term(backbone, named, accumulate):
    term = "Burst's term wild" if named else "Burst's term"
    with pytest.raises(DivergedError, match=rf"diverged at optimizer step 2: {term} is nan") as found:
        fit(backbone, [Mixout(p=0.5), Burst(named=named)], accumulate_grad_batches=accumulate)
    assert "\n" not in str(found.value)


def test_a_gradient_that_is_nan_is_traced_to_its_term(backbone):
    with pytest.raises(DivergedError, match=r"step 2: the gradient's norm is nan, though .* from Burst's term wild"):
        fit(backbone, [toys.Jitter(), Burst(gradient_only=True, named=True), toys.Ascent()])


def test_nothing_was_updated(backbone):
    from ftreg import FineTuner

    whole, stopped = fit(backbone, max_steps=2, max_epochs=9), FineTuner(backbone, lr=1e-3)
    with pytest.raises(DivergedError):
        fit(backbone, [Burst()], model=stopped)
    assert all(p.isfinite().all() for p in stopped.parameters())
    assert whole.state_dict().keys() == stopped.state_dict().keys()


@pytest.mark.parametrize("clip", [0.0, 1.0])
def test_it_goes_on_if_told_to(backbone, clip):
    model = fit(backbone, [Burst()], options={"stop_when_diverged": False, "max_grad_norm": clip})
    assert model.trainer.global_step == 6
    assert not model._guard._terms  # nothing piles up that nobody looks at


def test_the_loss_of_plain_fine_tuning(backbone):
    with pytest.raises(DivergedError, match=r"step \d+: the (task loss|gradient)"):
        fit(backbone, precision="32-true", options={"lr": 1e36, "max_grad_norm": 0.0, "warmup": 0.0})


def test_on_the_command_line(tmp_path, capsys):
    arguments = [
        f"--trainer.default_root_dir={tmp_path}",
        "--model.backbone=tiny",
        "--data.train_subset=64",
        "--model.lr=1e36",
        "--model.max_grad_norm=0",
    ]
    assert main(["fit", *BASE, *arguments, "--trainer.max_steps=5"]) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("ftreg: error")]
    assert len(lines) == 1
    assert "training diverged at optimizer step" in lines[0]
    assert not (tmp_path / "result.json").exists()
    assert (
        not torch.load(tmp_path / "checkpoints/last.ckpt", weights_only=True)["state_dict"][
            "encoder.model.classifier.weight"
        ]
        .isnan()
        .any()
        if (tmp_path / "checkpoints/last.ckpt").exists()
        else True
    )
