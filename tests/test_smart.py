"""SMART's proximal half by hand, its adversary in the small, and whether it says that it does nothing."""

import math
import re
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ftreg import FGM, PGD, SMART, VAT, FineTuner, FreeLB, UsageError
from ftreg.core.method import check_claims
from ftreg.functional.divergences import kl, symmetric_kl
from ftreg.functional.smart import max_rescale, stable_kl, stopped_kl
from tests.models import batch, checkpoint
from tests.pipeline import fit
from tests.reference import smart, smart_public
from tests.steps import Spy, encoder_of, gradients, take

STEADY = {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
ACTS: dict[str, Any] = {"epsilon": 1e-2, "step_size": 1.0, "sigma": 1e-3, "noise": "shared"}


@pytest.fixture(scope="module")
def steady(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("steady"), "bert", initializer_range=0.1, **STEADY)


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> str:
    return checkpoint(tmp_path_factory.mktemp("noisy"), "bert", initializer_range=0.1)


class Slope(nn.Module):
    """f(x) = θ x: an encoder of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.theta = nn.Parameter(torch.tensor(2.0, dtype=torch.float64))


class Line:
    """A step of one example, x = 3 with target 0, and squared error."""

    logs = False

    def __init__(self, encoder: Slope) -> None:
        self._theta = encoder.theta

    def logits(self, params: dict[str, Tensor] | None = None, dropout: str = "shared") -> Tensor:
        return (params["theta"] if params else self._theta).reshape(1, 1) * 3

    def mean(self, values: Tensor) -> Tensor:
        return values.mean()

    def divergence(self, p: Tensor, q: Tensor) -> Tensor:
        return symmetric_kl(p, q)


def test_proximal_steps_worked_by_hand():
    """Gradient steps of 0.01 on (3θ)² + μ (3θ − 3θ̃)², μ = 0.5, β = 0.9, then 0.5 from the second update on.

    θ₀ = θ̃₀ = 2:  18·2 + 0 = 36                                       θ₁ = 1.64      θ̃₁ = 0.9·2 + 0.1·1.64 = 1.964
    at θ₁:        18·1.64 + 0.5·18·(1.64 − 1.964) = 26.604            θ₂ = 1.37396   θ̃₂ = (θ̃₁ + θ₂)/2 = 1.66898
    at θ₂:        18·1.37396 + 0.5·18·(1.37396 − 1.66898) = 22.0761   θ₃ = 1.153199
    """
    encoder: Any = Slope()
    method = SMART(weight=0.0, mu=0.5, beta=0.9, beta_late=0.5, beta_switch=0.1)
    method.remember(encoder)
    method.begin(encoder, 0, 10)
    seen = []
    for number in range(3):
        step: Any = Line(encoder)
        loss = step.mean(step.logits().square().squeeze(-1)) + method.penalty(step)["bregman"]
        (gradient,) = torch.autograd.grad(loss, encoder.theta)
        with torch.no_grad():
            encoder.theta -= 0.01 * gradient
        method.after_step(encoder, number)
        seen += [gradient.item(), encoder.theta.item(), method._teacher["theta"].item()]
    assert seen[:8] == pytest.approx([36, 1.64, 1.964, 26.604, 1.37396, 1.66898, 22.0761, 1.153199], abs=1e-9)


def test_the_teacher_follows_the_weights_and_the_schedule(steady: str):
    kept: list[dict[str, Tensor]] = []

    class Keep(SMART):
        name = "SMART"

        def remember(self, encoder):
            super().remember(encoder)
            kept.append({n: t.clone() for n, t in encoder.named_parameters()})

        def after_step(self, encoder, number):
            super().after_step(encoder, number)
            kept.append({n: t.detach().clone() for n, t in encoder.named_parameters()})

    method = Keep(weight=0.0, beta=0.6, beta_late=0.9, beta_switch=0.5)
    fit(steady, [method])
    names = [*kept[0]]
    teacher = [kept[0][name].double() for name in names]
    for number, weights in enumerate(kept[1:]):
        beta = smart.beta_at(number, 6, early=0.6, late=0.9, switch=0.5)
        teacher = smart.momentum(teacher, [weights[name] for name in names], beta)
    for name, expected in zip(names, teacher, strict=True):
        torch.testing.assert_close(method._teacher[name], expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("labels", [("a", "b", "c"), ()])
def test_the_proximal_term_is_the_reference(steady: str, labels: tuple[str, ...]):
    encoder, other = (encoder_of(steady, labels, torch.float64) for _ in range(2))
    method = SMART(weight=0.0, mu=1.0)
    method.remember(encoder)
    step = take(encoder, batch([9, 4, 7, 12], max(1, len(labels))), method)
    term = method.penalty(step)["bregman"]
    assert term.item() == 0
    assert not any(g.any() for g in gradients(term, step))
    with torch.no_grad():
        for parameter in encoder.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, dtype=torch.float64))
    inputs = batch([9, 4, 7, 12], max(1, len(labels)))
    step = take(encoder, inputs, method)
    term = method.penalty(step)["bregman"]
    found = gradients(term, step)
    taught = other(other.embed(inputs["input_ids"]), inputs["attention_mask"]).detach()
    value, expected = smart.bregman(
        lambda: encoder.embed(inputs["input_ids"]),
        lambda embeds: encoder(embeds, inputs["attention_mask"]),
        [*step.params.values()],
        taught,
    )
    torch.testing.assert_close(term, value, rtol=0, atol=1e-12)
    assert value > 1e-6
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=1e-10)


def test_the_teachers_mode(noisy: str):
    """In `eval` it has no dropout; in `train`, with shared noise, it is the student while their weights agree."""
    encoder = encoder_of(noisy, ("a", "b"), torch.float64)
    terms = {}
    for mode in ("eval", "train"):
        method = SMART(weight=0.0, teacher_mode=mode, noise="shared")
        method.remember(encoder)
        terms[mode] = method.penalty(take(encoder, batch([9, 4, 7, 12]), method))["bregman"].item()
    assert terms["train"] == 0
    assert terms["eval"] > 1e-6


def test_an_example_whose_gradient_is_not_finite_keeps_its_start(steady: str):
    encoder = encoder_of(steady, ("a", "b"), torch.float64)
    method = SMART(mu=0.0, **ACTS)
    counted: dict[str, Tensor | int] = {}
    step = take(encoder, batch([9, 4, 7, 12]), method, non_finite=counted)
    ask = Spy.gradients

    def broken(values, inputs, **options):
        (g,) = ask(step, values, inputs, **options)
        g[1, 2, 3] = float("nan")
        return [g]

    step.gradients = broken  # type: ignore[method-assign]
    term = method.penalty(step)["smoothness"]
    start, end = step.deltas
    assert torch.equal(start[1], end[1])
    assert not torch.equal(start[0], end[0])
    assert term.isfinite()
    assert term > 0
    assert counted == {"SMART": 1}


def test_the_published_step_leaves_padding_alone_without_a_guard(steady: str):
    encoder = encoder_of(steady, ("a", "b"), torch.float64)
    step = take(encoder, batch([9, 4, 7, 12]), SMART())
    method = SMART(mu=0.0, variant="max_rescale", epsilon=0.0, perturb="embedding_output")
    assert method.penalty(step)["smoothness"].isfinite()
    real = step.mask.bool()
    assert torch.equal(step.deltas[-1].abs().amax(-1), real.double())


def test_the_published_step_leaves_an_example_whose_gradient_is_not_finite():
    r, g = torch.full((2, 1, 2), 0.25), torch.ones(2, 1, 2)
    g[0, 0, 0] = float("inf")
    found = SMART(variant="max_rescale", epsilon=0.0)._step(r, g, torch.ones(2, 1, dtype=torch.long))
    assert torch.equal(found[0], r[0])
    assert torch.equal(found[1], torch.ones(1, 2))


def test_a_ball_of_radius_zero_is_a_point(steady: str):
    encoder = encoder_of(steady, ("a", "b"), torch.float64)
    step = take(encoder, batch([9, 4]), SMART())
    method = SMART(mu=0.0, **{**ACTS, "epsilon": 0.0})
    assert method.penalty(step)["smoothness"] == 0
    assert not step.deltas[-1].any()


def test_a_curvature_probed_at_no_distance_is_refused():
    with pytest.raises(UsageError, match=r"VAT\.xi is 0"):
        VAT(xi=0.0)
    VAT(xi=0.0, steps=0)


METHODS = (SMART(noise="shared"), SMART(variant="max_rescale", epsilon=0.0), VAT(), FGM(), FreeLB(), PGD(norm="linf"))


@pytest.mark.parametrize("method", METHODS, ids=lambda method: f"{method.name} {getattr(method, 'variant', '')}")
def test_a_micro_batch_of_filler_logs_numbers(steady: str, warned: list[str], method: Any):
    """With fewer rows than micro-batches and ranks, one row stands for none and counts for nothing."""
    encoder = encoder_of(steady, ("a", "b"), torch.float64)
    step = take(encoder, {**batch([9]), "valid": torch.tensor([False]), "scale": 1.0}, method, logs=True)
    method.remember(encoder)
    terms = method.objective(step) if method.claims else method.penalty(step)
    values = [*terms.values()] if isinstance(terms, dict) else [terms]
    assert [float(value.detach()) for value in values] == [0.0] * len(values)
    logged = step.log.tally.values()
    assert logged
    assert all(map(math.isfinite, logged.values()))
    assert not warned


def test_the_adversary_is_worth_more_than_a_random_point(steady: str):
    """At the same radius; and the control costs the same passes."""
    encoder = encoder_of(steady, ("a", "b"), torch.float64)
    found = {}
    for step_size, sigma in ((1.0, 1e-3), (0.0, 1e-2)):
        method = SMART(mu=0.0, **{**ACTS, "step_size": step_size, "sigma": sigma})
        step = take(encoder, batch([9, 4, 7, 12]), method)
        found[step_size] = method.penalty(step)["smoothness"].item()
        assert len(step.deltas) == 2
        assert step.deltas[1].abs().max() == pytest.approx(1e-2)
    assert found[1.0] > 10 * found[0.0]


@pytest.fixture
def warned(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What SMART warned of, whatever filters the other tests left."""
    lines: list[str] = []
    monkeypatch.setattr("ftreg.methods.smart.rank_zero_warn", lines.append)
    return lines


def test_it_warns_once_if_it_does_nothing(steady: str, warned: list[str]):
    # The published ball with one dropout mask.
    fit(steady, [SMART(noise="shared")], log_every_n_steps=2)
    assert len(warned) == 1
    assert re.match(r"SMART: at step 1 the smoothness term's gradient is \d\.\de-\d\d of the task's", warned[0])


def test_it_logs_whether_it_bites(steady: str, warned: list[str]):
    model = fit(steady, [SMART(**ACTS)], log_every_n_steps=1, max_steps=2)
    logged = {k: float(v) for k, v in model.trainer.callback_metrics.items()}
    assert logged["train/SMART/gradient_ratio"] > 1e-3
    assert logged["train/SMART/delta_max"] == pytest.approx(1e-2)
    assert logged["train/SMART/non_finite"] == 0
    assert {"train/SMART/smoothness", "train/SMART/bregman", "train/task"} < logged.keys()
    assert not warned


def test_the_inner_gradient_under_autocast_points_where_float64_does():
    """At the published ε bf16's rounding is larger than the change of the logits: it would point anywhere."""
    found, weights = {}, None

    class Look(SMART):
        name = "SMART"

        def _step(self, r, g, mask):
            found[self.tag] = g.double()
            return super()._step(r, g, mask)

    for tag, dtype, autocast, exact in (
        ("float64", torch.float64, False, True),
        ("guarded", torch.float32, True, True),
        ("unguarded", torch.float32, True, False),
    ):
        encoder = encoder_of("demo", ("a", "b"), dtype)
        encoder.load_state_dict(weights or encoder.state_dict())
        weights = weights or encoder.state_dict()
        method = Look(mu=0.0, noise="shared")
        method.tag = tag
        step = take(encoder, batch([9, 4, 7, 12]), method, full_precision=("SMART",) if exact else ())
        start = torch.randn(4, 12, 384, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
        step.noise = lambda name, at, start=start, dtype=dtype: start.to(dtype)  # type: ignore[method-assign]
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            method.penalty(step)

    def cosine(tag: str) -> float:
        return float(torch.cosine_similarity(found["float64"].flatten(), found[tag].flatten(), dim=0))

    assert cosine("guarded") > 0.999
    assert cosine("unguarded") < 0.5


@pytest.mark.parametrize("precision", ["16-true", "bf16-true"])
def test_true_half_precision_is_refused(steady: str, precision: str):
    import pytorch_lightning as pl

    model = FineTuner(steady)
    model.trainer = pl.Trainer(accelerator="cpu", logger=False, precision=precision, callbacks=[SMART()])
    with pytest.raises(UsageError, match=rf"SMART: not under trainer.precision={precision}.*use {precision[:-4]}mixed"):
        model.setup("fit")


def test_two_consistency_penalties_warn():
    with pytest.warns(UserWarning, match="SMART and VAT are both smoothness penalties"):
        check_claims([SMART(), VAT()])


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"epsilon": -1.0}, r"SMART\.epsilon is -1\.0; it must be 0 or more"),
        ({"steps": 0}, r"SMART\.steps is 0; it must be 1 or more"),
        ({"beta": 1.5}, r"SMART\.beta is 1\.5; it must lie between 0 and 1"),
        ({"weight": float("nan")}, r"SMART\.weight is nan"),
        ({"variant": "x"}, r"SMART\.variant is 'x'; valid: projected, max_rescale"),
        ({"perturb": "x"}, r"SMART\.perturb is 'x'; valid: word, embedding_output"),
        ({"noise": "none"}, r"SMART\.noise is 'none'; valid: fresh, shared"),
        ({"teacher_mode": "x"}, r"SMART\.teacher_mode is 'x'; valid: eval, train"),
    ],
)
def test_options_are_checked(options, line: str):
    with pytest.raises(UsageError, match=line):
        SMART(**options)


def test_divergences_by_hand():
    """Logits whose softmaxes are (1/2, 1/2) and (1/4, 3/4)."""
    p, q = torch.zeros(1, 2), torch.tensor([[0.0, math.log(3)]])
    # ½ log(½ / ¼) + ½ log(½ / ¾) = ½ log(4/3)
    assert kl(p, q).item() == pytest.approx(math.log(4 / 3) / 2, abs=1e-6)
    assert symmetric_kl(p, q).item() == pytest.approx(math.log(3) / 4, abs=1e-6)
    assert kl(torch.tensor([[3.0]]), torch.tensor([[1.0]])).item() == 4
    assert stopped_kl(p, q).item() == pytest.approx(symmetric_kl(p, q).item(), abs=1e-6)


def test_the_published_divergences():
    x = torch.tensor([[2.0, -1.0, 0.3], [0.1, 0.2, -0.5]])
    y = torch.tensor([[1.5, -0.5, 0.0], [0.4, -0.3, -0.2]])
    torch.testing.assert_close(stable_kl(x, y).sum(), smart_public.stable_kl(x, y))
    assert stable_kl(x, y).mean().item() == pytest.approx(0.3840, abs=1e-4)
    assert kl(x, y).mean().item() == pytest.approx(0.0500, abs=1e-4)
    assert max_rescale(torch.tensor([[[0.2, -0.4]]]), 0.0).tolist() == [[[0.5, -1.0]]]
