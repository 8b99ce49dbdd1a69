"""Norms, projections and ascent steps against numbers worked by hand."""

import math

import pytest
import torch

from ftreg.functional.perturbation import ascend, direction, finite_rows, norms, project, start

X = torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.1, -0.2], [0.2, 0.0]]])
ALL = torch.ones(2, 2, dtype=torch.long)


def test_norms_are_over_the_whole_example():
    assert norms(X, "l2").flatten().tolist() == pytest.approx([5.0, 0.3])
    assert norms(X, "linf").flatten().tolist() == pytest.approx([4.0, 0.2])
    assert norms(X.bfloat16(), "l2").dtype == torch.float32


def test_projection_moves_only_what_is_outside():
    inside = project(X, 1.0, "l2")
    torch.testing.assert_close(inside[0], X[0] / 5)
    assert torch.equal(inside[1], X[1])
    assert torch.equal(project(X, 1.0, "linf")[0], torch.tensor([[1.0, 0.0], [0.0, 1.0]]))
    assert torch.equal(project(X, 0, "l2"), X)


def test_an_ascent_step():
    delta = torch.zeros_like(X)
    torch.testing.assert_close(ascend(delta, X, ALL, 0.5, 0, "l2")[0], 0.5 * X[0] / 5)
    # linf divides by the largest entry and takes no sign
    torch.testing.assert_close(ascend(delta, X, ALL, 0.5, 0.4, "linf")[0], torch.tensor([[0.375, 0.0], [0.0, 0.4]]))


def test_the_scale_of_the_gradient_plays_no_part():
    torch.testing.assert_close(direction(X, ALL, "l2"), direction(1e3 * X, ALL, "l2"))
    assert torch.equal(direction(torch.zeros_like(X), ALL, "l2"), torch.zeros_like(X))


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_an_example_with_a_gradient_that_is_not_finite_stays(bad: float):
    gradient = X.clone()
    gradient[0, 1, 0] = bad
    assert finite_rows(gradient).tolist() == [False, True]
    moved = ascend(torch.full_like(X, 0.1), gradient, ALL, 0.5, 0, "l2")
    assert torch.equal(moved[0], torch.full((2, 2), 0.1))
    torch.testing.assert_close(moved[1], 0.1 + 0.5 * X[1] / 0.3)


def test_padding_neither_moves_nor_counts():
    mask = torch.tensor([[1, 0], [1, 1]])
    assert torch.equal(direction(X, mask, "l2")[0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_half_precision_divides_by_no_zero_and_no_infinity(norm: str):
    """float16 has no number between 0 and 6e-8, and none above 65,504."""
    x = X.half()
    x[1] = 0
    assert torch.equal(direction(x, ALL, norm)[1], torch.zeros(2, 2, dtype=torch.half))
    large = torch.full((1, 10, 1000), 1000.0).half()  # whose l2 norm is 100,000
    found = direction(large, torch.ones(1, 10, dtype=torch.long), norm)
    torch.testing.assert_close(found, torch.full_like(large, 0.01 if norm == "l2" else 1.0))
    draw = torch.ones(1, 100, 1000).half()
    torch.testing.assert_close(start(draw, torch.ones(1, 100, dtype=torch.long), 1.0, "l2")[0, 0, 0].item(), 1e5**-0.5,
                               rtol=1e-3, atol=0)  # fmt: skip


def test_an_example_without_a_token_has_a_start_and_a_direction_of_zero():
    mask = torch.tensor([[0, 0], [1, 1]])
    assert torch.equal(start(X * mask[:, :, None], mask, 0.5, "l2")[0], torch.zeros(2, 2))
    assert torch.equal(direction(X, mask, "l2")[0], torch.zeros(2, 2))


def test_a_ball_smaller_than_any_gradients_floor_is_projected_to():
    tiny = torch.tensor([[[5e-9, 0.0]]])
    torch.testing.assert_close(project(tiny, 1e-9, "l2"), torch.tensor([[[1e-9, 0.0]]]), rtol=1e-5, atol=0)


def test_the_start_has_the_papers_size():
    mask = (torch.arange(40) < torch.tensor([[10], [40]])).long()
    draw = (torch.rand(2, 40, 500) * 2 - 1) * mask[:, :, None]
    assert norms(start(draw, mask, 0.6, "l2"), "l2").flatten().tolist() == pytest.approx([0.6 / 3**0.5] * 2, rel=0.02)
    assert norms(start(draw, mask, 0.6, "linf"), "linf").flatten().tolist() == pytest.approx([0.6] * 2, rel=0.02)
