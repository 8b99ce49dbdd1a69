"""TwoStage: what is loaded, what is not, and what counts as the start afterwards."""

from pathlib import Path
from typing import Any

import pytest
import pytorch_lightning as pl
import torch

from ftreg import FineTuner, LayerPooling, Mixout, TwoStage, UsageError
from ftreg.run.diagnostics import Diagnostics
from ftreg.testing.encoders import checkpoint
from ftreg.testing.fits import RandomRows, difference, fit
from tests import toys

POOLER = "model.bert.pooler.dense.weight"
LAYER = "model.bert.encoder.layer.1.output.dense.weight"
HEAD = "model.classifier.weight"


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("encoder"), "bert")


def save(model: FineTuner, path: Path) -> str:
    model.trainer.save_checkpoint(path)
    return str(path)


@pytest.fixture(scope="module")
def stage(backbone: str, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A checkpoint of a stage on two classes."""
    return save(fit(backbone, options={"labels": ("no", "yes"), "lr": 1e-2}), tmp_path_factory.mktemp("s") / "s.ckpt")


class Watch(pl.Callback):
    """The weights that training starts from."""

    def on_train_start(self, trainer: pl.Trainer, pl_module: pl.LightningModule) -> None:
        self.start = {name: p.detach().clone() for name, p in pl_module.encoder.named_parameters()}


def started(backbone: str, *methods: Any, **options: Any) -> dict[str, torch.Tensor]:
    watch = Watch()
    fit(backbone, [*methods, watch], options={"labels": ("yes", "no")} | options, max_steps=1)
    return watch.start


def weights(path: str) -> dict[str, torch.Tensor]:
    state = torch.load(path, weights_only=True)["state_dict"]
    return {name.removeprefix("encoder."): value for name, value in state.items()}


def test_the_encoder_is_the_stages_and_the_head_is_plain_fine_tunings(backbone: str, stage: str):
    plain, found, saved = started(backbone), started(backbone, TwoStage(checkpoint=stage)), weights(stage)
    for name in found:
        assert torch.equal(found[name], plain[name] if "classifier" in name else saved[name]), name
    assert not torch.equal(plain[LAYER], saved[LAYER])


@pytest.mark.parametrize("pooler", ["keep", "pretrained", "new"])
def test_the_pooler_has_a_policy_of_its_own(backbone: str, stage: str, pooler: Any):
    plain, saved = started(backbone), weights(stage)
    found = started(backbone, TwoStage(checkpoint=stage, pooler=pooler))
    assert torch.equal(found[POOLER], saved[POOLER]) == (pooler == "keep")
    assert torch.equal(found[POOLER], plain[POOLER]) == (pooler == "pretrained")
    assert torch.equal(found[LAYER], saved[LAYER])
    again = started(backbone, TwoStage(checkpoint=stage, pooler=pooler), init_seed=1)
    assert torch.equal(found[POOLER], again[POOLER]) == (pooler != "new")


def test_a_kept_head_takes_the_targets_order_of_classes(backbone: str, stage: str):
    found, saved = started(backbone, TwoStage(checkpoint=stage, head="keep")), weights(stage)
    assert torch.equal(found[HEAD], saved[HEAD][[1, 0]])
    assert torch.equal(found["model.classifier.bias"], saved["model.classifier.bias"][[1, 0]])
    same = started(backbone, TwoStage(checkpoint=stage, head="keep"), labels=("no", "yes"))
    assert torch.equal(same[HEAD], saved[HEAD])


def test_a_kept_head_of_layer_pooling(backbone: str, tmp_path: Path):
    path = save(fit(backbone, [LayerPooling(mix="attention")], options={"labels": ("no", "yes")}), tmp_path / "s.ckpt")
    for methods in ([0, 1], [1, 0]):
        both = [TwoStage(checkpoint=path, head="keep"), LayerPooling(mix="attention")]
        found, saved = started(backbone, *(both[n] for n in methods)), weights(path)
        (last,) = [name for name in found if name.startswith("head.") and len(found[name].shape) == 2
                   and len(found[name]) == 2]  # fmt: skip
        assert torch.equal(found[last], saved[last][[1, 0]])
        others = [name for name in found if name.startswith(("head.mix", "head.tokens"))]
        assert others
        assert all(torch.equal(found[name], saved[name]) for name in others)


def test_a_stage_with_another_head_gives_its_encoder(backbone: str, stage: str):
    found, saved = started(backbone, LayerPooling(), TwoStage(checkpoint=stage)), weights(stage)
    fresh = started(backbone, LayerPooling())
    assert torch.equal(found[LAYER], saved[LAYER])
    assert all(torch.equal(found[name], fresh[name]) for name in found if name.startswith("head."))


@pytest.mark.parametrize("anchor", ["pretrained", "intermediate"])
@pytest.mark.parametrize("swap", [False, True])
def test_what_is_pulled_towards_is_said_by_anchor(backbone: str, stage: str, anchor: Any, swap: bool):
    mixout, diagnostics = Mixout(p=0.5), Diagnostics()
    methods = [TwoStage(checkpoint=stage, anchor=anchor), mixout]
    options = {"labels": ("yes", "no"), "decay_towards": "anchor", "weight_decay": 0.5}
    model = fit(backbone, [*(methods[::-1] if swap else methods), diagnostics], options=options, max_steps=1)
    expected = (started(backbone) if anchor == "pretrained" else weights(stage))[LAYER]
    optimizer: Any = model.optimizers()
    pulled = [p for p in optimizer.optimizer._anchors.values() if p.shape == expected.shape]
    assert torch.equal(mixout._anchors[LAYER], expected)
    assert any(torch.equal(p, expected) for p in pulled)
    assert torch.equal(diagnostics._start[LAYER], expected)


def test_what_another_method_draws_afresh_stays_so(backbone: str, stage: str):
    drawn = started(backbone, toys.ReinitTop())
    for methods in ([toys.ReinitTop(), TwoStage(checkpoint=stage)], [TwoStage(checkpoint=stage), toys.ReinitTop()]):
        found = started(backbone, *methods)
        assert torch.equal(found[LAYER], drawn[LAYER])
        lower = LAYER.replace("layer.1", "layer.0")
        assert torch.equal(found[lower], weights(stage)[lower])


def test_another_seed_starts_from_the_same_encoder_with_another_head(backbone: str, stage: str):
    one, other = (started(backbone, TwoStage(checkpoint=stage), init_seed=seed) for seed in (0, 1))
    assert {name for name in one if not torch.equal(one[name], other[name])} == {HEAD}  # biases start at zero


def test_optimizer_and_schedule_are_fresh(backbone: str, stage: str):
    model = fit(backbone, [TwoStage(checkpoint=stage)], max_steps=1)
    optimizer: Any = model.optimizers()
    assert {int(state["step"]) for state in optimizer.optimizer.state_dict()["state"].values()} == {1}


def test_a_second_fit_goes_on_from_the_first(backbone: str, stage: str):
    method = TwoStage(checkpoint=stage)
    model = fit(backbone, [method], max_steps=2)
    ends = {name: p.detach().clone() for name, p in model.encoder.named_parameters()}
    watch = Watch()
    fit(backbone, [method, watch], model=model, max_steps=1)
    assert difference(ends, watch.start) == 0


def test_an_evaluation_needs_no_stage(backbone: str, stage: str, tmp_path: Path):
    copy = tmp_path / "stage.ckpt"
    copy.write_bytes(Path(stage).read_bytes())
    model = fit(backbone, [TwoStage(checkpoint=str(copy))], max_steps=1)
    kept = save(model, tmp_path / "kept.ckpt")
    copy.unlink()
    FineTuner.load_from_checkpoint(kept, weights_only=True)
    again = FineTuner(backbone)
    trainer = pl.Trainer(
        accelerator="cpu", precision="64-true", logger=False, enable_progress_bar=False,
        callbacks=[TwoStage(checkpoint=str(copy))],
    )  # fmt: skip
    trainer.validate(again, model.trainer.datamodule, ckpt_path=kept, verbose=False, weights_only=True)
    assert difference(weights(kept), dict(again.encoder.state_dict())) == 0


@pytest.mark.parametrize(
    ("options", "labels", "line"),
    [
        ({"head": "keep"}, ("a", "b", "c"), "head of .* tells no, yes apart, the target has a, b, c; give head=new"),
        ({"head": "keep"}, (), "tells no, yes apart, the target has a score"),
    ],
)
def test_a_head_of_other_labels_is_not_kept(backbone: str, stage: str, options: Any, labels: Any, line: str):
    class Labelled(RandomRows):
        def prepare_data(self) -> None:
            self.kind = "single_label" if labels else "regression"

    with pytest.raises(UsageError, match=line):
        fit(backbone, [TwoStage(checkpoint=stage, **options)], options={"labels": labels}, data=Labelled)


def test_complaints(backbone: str, stage: str, tmp_path: Path):
    deeper = checkpoint(tmp_path, "bert", hidden_size=16)
    for options, where, line in [
        ({"checkpoint": stage}, deeper, "has no model.bert.* of shape .*; a stage has the target's architecture$"),
        ({"checkpoint": str(tmp_path / "none.ckpt")}, backbone, "TwoStage.checkpoint .*: no such file"),
        ({"stages": [{"data": {"task": "mnli"}}]}, backbone, "run by `ftreg fit`; from Python, fit the stage first"),
    ]:
        with pytest.raises(UsageError, match=line):
            fit(where, [TwoStage(**options)])
    with pytest.raises(UsageError, match=r"has no head.*; a stage has the target's architecture, and its kind of head"):
        fit(backbone, [TwoStage(checkpoint=stage, head="keep"), LayerPooling()], options={"labels": ("no", "yes")})
    for options, line in [
        ({"head": "old"}, "TwoStage.head is 'old'"),
        ({"stages": [{}], "checkpoint": stage}, "both stages and a checkpoint"),
    ]:
        with pytest.raises(UsageError, match=line):
            TwoStage(**options)
