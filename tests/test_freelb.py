"""What FreeLB, PGD and FGM are besides their arithmetic: dropout, start, diagnostics, one backward."""

import pytest
import pytorch_lightning as pl
import torch

from ftreg import FGM, PGD, FreeLB, UsageError
from tests.models import batch, checkpoint
from tests.pipeline import difference, fit, state
from tests.steps import encoder_of, gradients, take

LENGTHS = [9, 4, 7, 12]


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("noisy"), "bert", initializer_range=0.1)


@pytest.mark.parametrize("noise", ["shared", "fresh"])
def test_passes_share_one_dropout_mask_or_none(noisy: str, noise: str):
    """Without movement, passes under one mask have one loss."""
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    method = FreeLB(steps=3, step_size=0.0, init=0.0, noise=noise)
    step = take(encoder, batch(LENGTHS), method, logs=True)
    losses = []
    watch = step.losses
    step.losses = lambda *args, **options: losses.append(watch(*args, **options)) or losses[-1]  # type: ignore[func-returns-value]
    method.objective(step)
    same = [torch.equal(losses[0], other) for other in losses[1:]]
    assert same == ([True, True] if noise == "shared" else [False, False])
    assert torch.equal(losses[0], step.losses()) == (noise == "shared")


@pytest.mark.parametrize("method", [FreeLB, PGD, FGM])
def test_it_is_plain_until_its_start(noisy: str, method: type):
    plain = [state(fit(noisy, max_steps=steps)) for steps in (3, 4)]
    late = [state(fit(noisy, [method(start_step=3)], max_steps=steps)) for steps in (3, 4)]
    assert difference(plain[0], late[0]) == 0
    assert difference(plain[1], late[1]) > 0


def test_a_clean_first_pass(noisy: str):
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    one, none = (FreeLB(steps=1, init=init) for init in (0.0, 0.2))
    step = take(encoder, batch(LENGTHS), one)
    assert torch.equal(one.objective(step), step.loss())
    assert not torch.equal(none.objective(step), step.loss())


def test_the_value_is_the_mean_over_the_passes(noisy: str):
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    method = FreeLB()
    step = take(encoder, batch(LENGTHS), method)
    value = method.objective(step)
    with torch.no_grad():
        losses = [step.loss() if d is None else step.mean(step.losses(d)) for d in step.deltas[:3]]
    torch.testing.assert_close(value, torch.stack(losses).mean(), rtol=0, atol=1e-12)


def test_fgm_is_two_passes_of_freelb(noisy: str):
    """Summed rather than averaged, from a clean start and without a bound."""
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    found = []
    for method in (FGM(epsilon=0.3), FreeLB(steps=2, step_size=0.3, epsilon=0.0, init=0.0)):
        step = take(encoder, batch(LENGTHS), method)
        found.append(gradients(method.objective(step), step))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, 2 * other, rtol=0, atol=1e-12)


def test_diagnostics(noisy: str):
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    method = FreeLB(steps=4, step_size=0.1, epsilon=0.25, init=0.2)
    valid = torch.tensor([True, True, True, False])
    counted: dict[str, torch.Tensor | int] = {}
    step = take(encoder, {**batch(LENGTHS), "valid": valid}, method, logs=True, non_finite=counted)
    method.objective(step)
    found = {name.removeprefix("FreeLB/"): float(value) for name, value in step.log.tally.values().items()}
    norms = [delta[valid].flatten(1).norm(dim=1) for delta in step.deltas]
    for number, norm in enumerate(norms, 1):
        assert found[f"delta_norm_{number}"] == pytest.approx(norm.mean().item())
    with torch.no_grad():
        first, last = (step.losses(step.deltas[k])[valid].mean().item() for k in (0, 3))
    assert found["loss_rise"] == pytest.approx(last - first)
    assert found["loss_rise"] > 0
    assert found["at_surface"] == (norms[-1] > 0.2499).double().mean()
    assert counted == {"FreeLB": 0}
    silent = take(encoder, batch(LENGTHS), method)
    method.objective(silent)
    assert silent.log.tally.values() == {}


def test_one_backward_a_step(noisy: str):
    """What Lightning runs is one; DDP arms its all-reduce for one."""
    seen = []

    class Count(pl.Callback):
        def on_train_start(self, trainer, module):
            head = module.encoder.model.classifier.weight
            head.register_post_accumulate_grad_hook(lambda p: seen.append(trainer.global_step))

    fit(noisy, [FreeLB(), Count()])
    assert seen == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("method", [FreeLB, PGD, FGM])
def test_frozen_embeddings_are_left_alone(noisy: str, method: type):
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    encoder.model.get_input_embeddings().weight.requires_grad_(False)
    own = method()
    step = take(encoder, batch(LENGTHS), own)
    own.objective(step).backward()
    assert encoder.model.get_input_embeddings().weight.grad is None
    assert encoder.model.bert.encoder.layer[0].output.dense.weight.grad.any()


@pytest.mark.parametrize(
    ("make", "line"),
    [
        (lambda: FreeLB(steps=0), r"FreeLB\.steps is 0; it must be 1 or more"),
        (lambda: FreeLB(epsilon=-0.1), r"FreeLB\.epsilon is -0\.1; it must be 0 or more"),
        (lambda: FreeLB(norm="l1"), r"FreeLB\.norm is 'l1'; valid: l2, linf"),
        (lambda: FreeLB(noise="none"), r"FreeLB\.noise is 'none'; valid: shared, fresh"),
        (lambda: PGD(steps=-1), r"PGD\.steps is -1; it must be 0 or more"),
        (lambda: PGD(norm="l1"), r"PGD\.norm is 'l1'; valid: l2, linf"),
        (lambda: FGM(weight=float("inf")), r"FGM\.weight is inf; it must be 0 or more"),
        (lambda: FGM(noise="x"), r"FGM\.noise is 'x'; valid: shared, fresh"),
    ],
)
def test_options_are_checked(make, line: str):
    with pytest.raises(UsageError, match=line):
        make()
