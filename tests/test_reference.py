"""The independent ports themselves, against a linear model whose every pass is worked out by hand."""

import math

import pytest
import torch
from torch import Tensor

from tests.reference.freelb import first_delta, freelb, freelb_fairseq
from tests.reference.pgd import fgm, pgd
from tests.reference.smart import beta_at, bregman, ell_s, momentum, smoothness
from tests.reference.smart_public import smart_public, stable_kl, sym_kl
from tests.reference.vat import kl, normalize, vat

F64 = torch.float64
LENGTHS = (4, 1)
MASK = torch.tensor([[1, 1, 1, 1], [1, 0, 0, 0]])
LABELS = torch.tensor([13.0, 5.0], dtype=F64)
ZERO = torch.zeros(2, 4, 2, dtype=F64)
SIGNS = (1.0, -1.0)  # of f − y, at E: 14 − 13 and 4 − 5
SUMS = torch.tensor([[2.0, 2.0], [0.0, 1.0]], dtype=F64)  # Σ_t E_t of either row


class Linear:
    """f_i = Σ_t v·E_t over real tokens, v = (3, 4); the token rows are (1, 0), (0, 1) and (9, 9), which is padding."""

    def __init__(self) -> None:
        self.v = torch.tensor([3.0, 4.0], dtype=F64, requires_grad=True)
        self.table = torch.tensor([[1.0, 0.0], [0.0, 1.0], [9.0, 9.0]], dtype=F64, requires_grad=True)
        self.unused = torch.zeros(3, dtype=F64, requires_grad=True)
        self.params = [self.v, self.table, self.unused]

    def embed(self) -> Tensor:
        return self.table[torch.tensor([[0, 1, 0, 1], [1, 2, 2, 2]])]

    def logits_of(self, embeds: Tensor) -> Tensor:
        return ((embeds * MASK.unsqueeze(-1)) @ self.v).sum(1, keepdim=True)


def close(found: Tensor, by_hand: object) -> None:
    torch.testing.assert_close(found, torch.as_tensor(by_hand, dtype=F64), rtol=1e-12, atol=1e-12)


def gradients(shifts: list[Tensor], residuals: list[float]) -> list[Tensor]:
    """Of mean_i residual_i², per example Σ_t(E_t + δ_t) being SUMS_i + shift_i."""
    v = torch.tensor([3.0, 4.0], dtype=F64)
    of_v = sum(residuals[i] * (SUMS[i] + shifts[i]) for i in range(2))
    rows = torch.stack([2 * residuals[0] * v, (2 * residuals[0] + residuals[1]) * v, 0 * v])
    return [of_v, rows, torch.zeros(3, dtype=F64)]


def pass_at(radius: float) -> tuple[float, list[Tensor]]:
    """Loss and gradients where either sequence stands at l2 distance `radius` uphill."""
    unit = torch.tensor([0.6, 0.8], dtype=F64)
    shifts = [SIGNS[i] * radius * math.sqrt(LENGTHS[i]) * unit for i in range(2)]
    residuals = [SIGNS[i] * (1 + 5 * radius * math.sqrt(LENGTHS[i])) for i in range(2)]
    return (residuals[0] ** 2 + residuals[1] ** 2) / 2, gradients(shifts, residuals)


@pytest.mark.parametrize(("eps", "losses"), [(0.0, [1.0, 3.125, 6.5]), (0.15, [1.0, 3.125, 4.65625])])
@pytest.mark.parametrize("fairseq", [False, True])
def test_freelb_accumulates_every_pass(eps: float, losses: list[float], fairseq: bool):
    model = Linear()
    given = (model.embed, model.logits_of, model.params, LABELS, MASK, ZERO)
    if fairseq:
        found = freelb_fairseq(*given, adv_steps=2, alpha=0.1, s=0.0, eps=eps)
    else:
        found = freelb(*given, K=3, alpha=0.1, s=0.0, eps=eps)
    close(torch.stack(found.losses), losses)
    close(found.value, sum(losses) / 3)
    by_hand = [pass_at(radius)[1] for radius in (0.0, 0.1, min(0.2, eps or 1))]
    for i, gradient in enumerate(found.gradients):
        close(gradient, sum(one[i] for one in by_hand) / 3)
    assert torch.equal(found.deltas[0], ZERO)
    for delta, radius in zip(found.deltas, (0.0, 0.1, min(0.2, eps or 1)), strict=True):
        close(delta.flatten(1).norm(dim=1), [radius, radius])
        assert not delta[1, 1:].any()
    assert all(param.grad is None for param in model.params)


def test_freelb_linf_steps_by_the_largest_entry_and_not_by_the_sign():
    model = Linear()
    given = (model.embed, model.logits_of, model.params, LABELS, MASK, ZERO)
    found = freelb(*given, K=2, alpha=0.1, s=0.0, norm="linf")
    close(found.deltas[1][:, 0], [[0.075, 0.1], [-0.075, -0.1]])
    close(found.losses[1], (3.5**2 + 1.625**2) / 2)
    bounded = freelb(*given, K=2, alpha=0.1, s=0.0, eps=0.08, norm="linf")
    close(bounded.deltas[1][:, 0], [[0.075, 0.08], [-0.075, -0.08]])


def test_the_direction_does_not_depend_on_the_batch_or_k():
    """At a gradient of 1.5e-8 per sequence the floor would bite, had it been divided by B·K."""
    model = Linear()
    labels = torch.tensor([14.0, 4.0], dtype=F64) - 1.5e-9
    found = freelb(model.embed, model.logits_of, model.params, labels, MASK, ZERO, K=9, alpha=1e-12, s=0.0)
    torch.testing.assert_close(
        found.deltas[1].flatten(1).norm(dim=1), torch.full((2,), 1e-12, dtype=F64), rtol=1e-6, atol=0
    )


def test_first_delta():
    ones = torch.ones(2, 4, 2, dtype=F64)
    delta = first_delta(ones, MASK, 0.4, "l2")
    close(delta.flatten(1).norm(dim=1), [0.4, 0.4])
    close(delta[1, 0, 0], 0.4 / math.sqrt(2))
    assert not delta[1, 1:].any()
    assert torch.equal(first_delta(ones, MASK, 0.4, "linf"), 0.4 * ones * MASK.unsqueeze(-1))
    draw = 2 * torch.rand(8, 64, 128, generator=torch.Generator().manual_seed(0)) - 1
    lengths = first_delta(draw, torch.ones(8, 64), 0.4, "l2").flatten(1).norm(dim=1)
    torch.testing.assert_close(lengths, torch.full((8,), 0.4 / math.sqrt(3)), rtol=0.02, atol=0)


def test_pgd_keeps_only_the_last_pass():
    model = Linear()
    found = pgd(model.embed, model.logits_of, model.params, LABELS, MASK, ZERO, K=2, alpha=0.1, s=0.0)
    close(torch.stack(found.losses), [1.0, 3.125, 6.5])
    close(found.value, 6.5)
    for gradient, by_hand in zip(found.gradients, pass_at(0.2)[1], strict=True):
        close(gradient, by_hand)


def test_fgm_adds_both_passes():
    model = Linear()
    found = fgm(model.embed, model.logits_of, model.params, LABELS, MASK, epsilon=0.2)
    close(found.value, 1.0 + 6.5)
    for i, gradient in enumerate(found.gradients):
        close(gradient, pass_at(0.0)[1][i] + pass_at(0.2)[1][i])


def test_smoothness_flows_through_both_sides():
    """r = 0.01 + 0.1·(3, 4)/4, its second entry clamped; the token rows cancel, as both sides hold them."""
    model = Linear()
    r0 = torch.full((2, 4, 2), 0.01, dtype=F64)
    given = (model.embed, model.logits_of, model.params, MASK, r0)
    found = smoothness(*given, epsilon=0.1, step_size=0.1, steps=1)
    step = torch.tensor([0.085, 0.1], dtype=F64)
    close(found.deltas[1], step * MASK.unsqueeze(-1))
    close(found.losses[0], 0.07**2 * 17 / 2)
    close(found.value, 0.655**2 * 17 / 2)
    close(found.gradients[0], 17 * 0.655 * step)
    assert found.gradients[1].abs().max() < 1e-14
    floored = smoothness(*given, epsilon=0.1, step_size=0.1, steps=1, floor=1.12)  # twice the second's ‖g‖_∞
    close(floored.deltas[1][:, 0], [[0.085, 0.1], [0.0475, 0.06]])
    still = smoothness(*given[:-1], ZERO, epsilon=0.1, step_size=0.1, steps=1)
    assert still.value == 0
    assert not still.deltas[1].any()


def test_vat_holds_the_clean_side_constant():
    model = Linear()
    r0 = torch.ones(2, 4, 2, dtype=F64)
    found = vat(model.embed, model.logits_of, model.params, MASK, r0, xi=1e-6, epsilon=0.2, steps=1)
    close(found.deltas[0].flatten(1).norm(dim=1), [1e-6, 1e-6])
    close(found.deltas[1][1, 0], [0.12, 0.16])
    assert not found.deltas[1][1, 1:].any()
    close(found.value, (2.0**2 + 1.0**2) / 2)
    shifts = [math.sqrt(n) * 0.2 * torch.tensor([0.6, 0.8], dtype=F64) for n in LENGTHS]
    for gradient, by_hand in zip(found.gradients, gradients(shifts, [2.0, 1.0]), strict=True):
        close(gradient, by_hand)
    assert torch.equal(normalize(ZERO, 0.0), ZERO)
    close(normalize(1e-200 * r0, 0.0).flatten(1).norm(dim=1), [1.0, 1.0])
    close(normalize(1e-3 * r0, 1e-2).flatten(1).norm(dim=1), [math.sqrt(8) / 10] * 2)


def test_smart_public_rescales_each_token():
    """u = 0.01 + 0.1·2·(0.07·n)·(3, 4), divided by its second entry plus 1."""
    model = Linear()
    r0 = torch.full((2, 4, 2), 0.01, dtype=F64)
    given = (model.embed, model.logits_of, model.params, MASK)
    found = smart_public(*given, r0, K=1, eta=0.1, epsilon=1.0)
    rows = torch.tensor([[0.178 / 1.234, 0.234 / 1.234], [0.052 / 1.066, 0.066 / 1.066]], dtype=F64)
    close(found.deltas[1], rows.unsqueeze(1) * MASK.unsqueeze(-1))
    shifts = [n * rows[i] for i, n in enumerate(LENGTHS)]
    moved = [float(shift @ torch.tensor([3.0, 4.0], dtype=F64)) for shift in shifts]
    close(found.value, (moved[0] ** 2 + moved[1] ** 2) / 2)
    close(found.gradients[0], moved[0] * shifts[0] + moved[1] * shifts[1])
    r0[0, 0, 0] = math.inf
    broken = smart_public(*given, r0, K=1, eta=0.1, epsilon=1.0)
    assert broken.value == 0
    assert not any(gradient.any() for gradient in broken.gradients)


def test_padding_stays_zero_where_the_pooler_sees_it():
    model = Linear()
    given = (model.embed, lambda embeds: (embeds @ model.v).sum(1, keepdim=True), model.params)
    ones = torch.ones(2, 4, 2, dtype=F64)
    found = [
        freelb(*given, LABELS, MASK, ones, K=2, alpha=0.1, s=0.1),
        freelb_fairseq(*given, LABELS, MASK, ones, adv_steps=1, alpha=0.1, s=0.1),
        pgd(*given, LABELS, MASK, ones, K=1, alpha=0.1, s=0.1),
        fgm(*given, LABELS, MASK, epsilon=0.1),
        smoothness(*given, MASK, ones, epsilon=0.1, step_size=0.1, steps=1),
        smart_public(*given, MASK, ones, K=1, eta=0.1, epsilon=1e-6),
        vat(*given, MASK, ones, xi=0.1, epsilon=0.1, steps=1),
    ]
    for one in found:
        assert len(one.deltas) == len(one.losses) == 2
        assert not any(delta[1, 1:].any() for delta in one.deltas)
        assert one.deltas[1][1, 0].any()
    close(found[-1].deltas[0][1].norm(), 0.1)


def test_divergences():
    x = torch.tensor([[2.0, -1.0, 0.3], [0.1, 0.2, -0.5]])
    t = torch.tensor([[1.5, -0.5, 0.0], [0.4, -0.3, -0.2]])
    assert round(float(stable_kl(x, t)) / 2, 4) == 0.3840
    assert round(float(kl(x, t).mean()), 4) == 0.0500
    x.requires_grad_()
    (found,) = torch.autograd.grad(stable_kl(x, t), x)
    prob = x.detach().softmax(-1)
    rho = torch.logit(prob) - torch.logit(t.softmax(-1))
    torch.testing.assert_close(found, 2 * prob * (rho - (prob * rho).sum(-1, keepdim=True)), rtol=1e-3, atol=1e-5)
    p, q = 1 / (1 + math.exp(-1)), 1 / (1 + math.exp(-3))
    one = torch.tensor([[1.0, 0.0], [1.0, 0.0]], dtype=F64, requires_grad=True)
    two = torch.tensor([[3.0, 0.0], [3.0, 0.0]], dtype=F64, requires_grad=True)
    close(ell_s(one, two), [(p - q) * (1 - 3)] * 2)
    value = sym_kl(one, two)
    close(value, (p - q) * (1 - 3))
    value.backward()
    close(one.grad, [[(p - q) / 2, (q - p) / 2]] * 2)
    close(two.grad, [[(q - p) / 2, (p - q) / 2]] * 2)
    (full,) = torch.autograd.grad(ell_s(one, two).mean(), one)
    close(full[0, 0], (p - q + (1 - 3) * p * (1 - p)) / 2)


def test_bregman_and_its_teacher():
    model = Linear()
    given = (model.embed, model.logits_of, model.params)
    value, found = bregman(*given, torch.tensor([[13.0], [5.0]], dtype=F64))
    close(value, 1.0)
    for gradient, by_hand in zip(found, pass_at(0.0)[1], strict=True):
        close(gradient, by_hand)
    value, found = bregman(*given, model.logits_of(model.embed()))
    assert value == 0
    assert not any(gradient.any() for gradient in found)
    (moved,) = momentum([torch.tensor([1.0, 0.0], dtype=F64)], [torch.tensor([2.0, 4.0], dtype=F64)], 0.75)
    close(moved, [1.25, 1.0])
    assert [beta_at(step, 20) for step in (0, 1, 2, 19)] == [0.99, 0.99, 0.999, 0.999]
