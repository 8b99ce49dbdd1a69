"""What a method may ask of a step."""

from pathlib import Path

import pytest
import torch
from torch import nn

from ftreg import FineTuner
from ftreg.core.method import Regularizer
from tests import toys
from tests.models import ARCHITECTURES, batch, checkpoint
from tests.pipeline import fit
from tests.steps import encoder_of, take

LENGTHS = [9, 4, 7, 12]


class Nobody(Regularizer):
    """Whose turn it is here."""


@pytest.fixture
def folder(tmp_path: Path) -> str:
    return checkpoint(tmp_path, "bert")


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_an_offset_is_added_to_what_the_first_layer_takes(tmp_path: Path, architecture: str, packing: bool):
    encoder = encoder_of(checkpoint(tmp_path, architecture), ("a", "b"), torch.float64, packing=packing)
    inputs = batch(LENGTHS)
    step = take(encoder, inputs, Nobody())
    offset = step.noise("r", at="embedding_output")
    assert offset.shape == (*inputs["input_ids"].shape, encoder.hidden_size)
    clean = step.logits()
    assert torch.equal(step.logits(torch.zeros_like(offset), at="embedding_output"), clean)
    moved = step.logits(offset, at="embedding_output")

    embeddings = encoder.model.base_model.embeddings
    if architecture == "electra":  # whose word embeddings are narrower than its hidden states
        embeddings = encoder.model.base_model.embeddings_project
    if architecture == "albert":  # whose are too
        embeddings = encoder.model.base_model.encoder.embedding_hidden_mapping_in
    handle = embeddings.register_forward_hook(lambda module, args, output: output + offset)
    by_hand = step.logits(torch.zeros_like(step.embeds()))
    handle.remove()
    torch.testing.assert_close(moved, by_hand, rtol=0, atol=1e-12)
    assert not torch.allclose(moved, clean)
    assert torch.equal(step.logits(torch.zeros_like(offset), at="embedding_output"), clean)


def test_a_pass_without_noise_is_the_evaluation(folder: str):
    encoder = encoder_of(folder, ("a", "b"), torch.float64)
    encoder.model.bert.encoder.layer[1].eval()
    modes = [module.training for module in encoder.modules()]
    step = take(encoder, batch(LENGTHS), Nobody())
    clean, quiet, again = step.logits(), step.logits(dropout="none"), step.logits(dropout="none")
    assert torch.equal(quiet, again)
    assert not torch.equal(clean, quiet)
    assert modes == [module.training for module in encoder.modules()]
    encoder.eval()
    assert torch.equal(quiet, take(encoder, batch(LENGTHS), Nobody()).logits())


def test_given_embeddings_are_used_as_they_are(folder: str):
    encoder = encoder_of(folder, ("a", "b"), torch.float64)
    step = take(encoder, batch(LENGTHS), Nobody())
    kept = step.embeds().detach()
    assert torch.equal(step.logits(), step.logits(embeds=kept))
    losses = step.losses(torch.zeros_like(kept), embeds=kept)
    matrix = encoder.model.get_input_embeddings().weight
    assert step.gradients(losses, [matrix]) == [None]


def test_embeddings_are_of_the_mixed_weights(tmp_path: Path):
    seen = {}

    class Look(toys.Regularizer):
        def penalty(self, step):
            seen["gap"] = (step.embeds() - step._encoder.model.get_input_embeddings().weight[0]).detach()
            seen["mixed"] = isinstance(step._encoder.model.get_input_embeddings().weight, nn.Parameter)

    fit(checkpoint(tmp_path, "bert"), [toys.Shrink(), Look(), toys.Ascent()], max_steps=1)
    assert seen["mixed"] is False


@pytest.mark.parametrize("loss_scale", [1.0, 1024.0])
def test_gradients_are_of_the_sum_over_valid_rows(folder: str, loss_scale: float):
    encoder = encoder_of(folder, ("a", "b"), torch.float64)
    valid = torch.tensor([True, False, True, True])
    step = take(encoder, {**batch(LENGTHS), "valid": valid, "scale": 0.125}, Nobody(), loss_scale=loss_scale)
    delta = torch.zeros_like(step.embeds()).detach().requires_grad_()
    losses = step.losses(delta)
    (found,) = step.gradients(losses, [delta], keep_graph=True)
    (expected,) = torch.autograd.grad(losses[valid].sum(), delta, retain_graph=True)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-14)
    assert not found[1].any()
    step.record_gradient_ratio("ratio", 3.0, losses.square())
    norms = [
        torch.stack([g.norm() for g in torch.autograd.grad(x[valid].sum(), [*encoder.parameters()], retain_graph=True)])
        for x in (losses.square(), step.losses())
    ]
    assert step.log.tally.values()["Nobody/ratio"] == pytest.approx(float(3 * norms[0].norm() / norms[1].norm()))


def test_full_precision_passes_are_not_autocast(folder: str):
    encoder = encoder_of(folder, ("a", "b"), torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        for names, expected in (((), torch.bfloat16), (("Nobody",), torch.float32)):
            step = take(encoder, batch(LENGTHS), Nobody(), full_precision=names)
            assert step.logits(torch.zeros(4, 12, 32)).dtype == expected
            step.on_behalf_of("Somebody")
            assert step.logits(torch.zeros(4, 12, 32)).dtype == torch.bfloat16
            # the clean pass is shared, so one such method decides it for all
            assert step.logits().dtype == expected


def test_diagnostics_are_logged_under_the_methods_name(folder: str):
    class Tell(toys.Regularizer):
        def penalty(self, step):
            if step.logs:
                step.record("number", step.number)

    logged = []

    class Watch(toys.Regularizer):
        def on_train_batch_end(self, trainer, *args):
            logged.append(trainer.callback_metrics.get("train/Tell/number"))

    fit(folder, [Tell(), Watch()], log_every_n_steps=2)
    assert [value if value is None else int(value) for value in logged] == [None, 1, 1, 3, 3, 5]


def test_terms_are_logged_by_name(folder: str):
    class Two(toys.Regularizer):
        def penalty(self, step):
            return {"one": 0.25 * step.loss(), "other": 0.5 * step.loss()}

    class Both(toys.Ascent):
        def penalty(self, step):
            return step.loss()

    model = fit(folder, [Two(), Both()], max_steps=1, log_every_n_steps=1)
    found = {k: float(v) for k, v in model.trainer.callback_metrics.items() if k.startswith("train/")}
    assert set(found) == {"train/Both", "train/Two/one", "train/Two/other", "train/Both/penalty", "train/loss"}
    assert found["train/loss"] == pytest.approx(sum(v for k, v in found.items() if k != "train/loss"))


def test_layers_are_compiled_on_request(folder: str, monkeypatch: pytest.MonkeyPatch):
    compiled = []
    monkeypatch.setattr(nn.Module, "compile", lambda module, **options: compiled.append(type(module).__name__))
    model = FineTuner(folder, compile=True)
    model.configure_model()
    assert compiled == ["BertLayer", "BertLayer"]
