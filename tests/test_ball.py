"""Norms, projections and ascent steps against numbers worked by hand."""

import math

import pytest
import torch

from ftreg.ball import ascend, direction, finite, norms, project, start

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
    assert finite(gradient).tolist() == [False, True]
    moved = ascend(torch.full_like(X, 0.1), gradient, ALL, 0.5, 0, "l2")
    assert torch.equal(moved[0], torch.full((2, 2), 0.1))
    torch.testing.assert_close(moved[1], 0.1 + 0.5 * X[1] / 0.3)


def test_padding_neither_moves_nor_counts():
    mask = torch.tensor([[1, 0], [1, 1]])
    assert torch.equal(direction(X, mask, "l2")[0], torch.tensor([[1.0, 0.0], [0.0, 0.0]]))


def test_the_start_has_the_papers_size():
    mask = (torch.arange(40) < torch.tensor([[10], [40]])).long()
    draw = (torch.rand(2, 40, 500) * 2 - 1) * mask[:, :, None]
    assert norms(start(draw, mask, 0.6, "l2"), "l2").flatten().tolist() == pytest.approx([0.6 / 3**0.5] * 2, rel=0.02)
    assert norms(start(draw, mask, 0.6, "linf"), "linf").flatten().tolist() == pytest.approx([0.6] * 2, rel=0.02)
