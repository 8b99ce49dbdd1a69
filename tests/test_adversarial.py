"""FreeLB, PGD, FGM, SMART and VAT against independent ports of the authors' loops: each δ, the value, all gradients."""

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from ftreg import FGM, PGD, SMART, VAT, FreeLB
from ftreg.core.method import Regularizer
from tests.models import batch, checkpoint
from tests.reference import freelb, pgd, smart, smart_public, vat
from tests.reference.freelb import Passes
from tests.steps import Spy, encoder_of, gradients, take

Port = Callable[..., Passes]
TASKS = {"classification": ("a", "b", "c"), "regression": ()}
PRECISIONS = {torch.float64: 1e-10, torch.float32: 1e-6}
ATTACK = {"steps": 3, "step_size": 0.1, "epsilon": 0.15, "init": 0.2}
BALL = {"K": 3, "alpha": 0.1, "eps": 0.15, "s": 0.2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    # Wide weights, or a random encoder's logits hardly move and every comparison is of rounding.
    return checkpoint(
        tmp_path_factory.mktemp("encoder"),
        "bert",
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        initializer_range=0.1,
    )


def agree(
    folder: str,
    task: str,
    dtype: torch.dtype,
    method: Regularizer,
    port: Port,
    draw: Callable[[Spy], Tensor],
    **options,
):
    """In float64 ours is on the packed batch, theirs on the padded one."""
    labels = TASKS[task]
    encoder = encoder_of(folder, labels, dtype, packing=dtype == torch.float64)
    inputs = batch([9, 4, 7, 12], classes=max(1, len(labels)), seed=1)
    if not labels:
        inputs["labels"] = torch.tensor([0.5, 3.0, 4.2, 1.1])
    step = take(encoder, inputs, method)
    noise = draw(step)
    term = method.objective(step) if method.claims else method.penalty(step)
    if isinstance(term, dict):
        (term,) = term.values()
    found = gradients(term, step)

    def logits_of(embeds: Tensor) -> Tensor:
        return encoder(embeds, inputs["attention_mask"])

    theirs = port(
        lambda: encoder.embed(inputs["input_ids"]),
        logits_of,
        [*step.params.values()],
        *([inputs["labels"]] if method.claims else []),
        inputs["attention_mask"],
        *([] if isinstance(method, FGM) else [noise]),
        **options,
    )
    close(step.deltas, theirs.deltas, dtype)
    close([term], [theirs.value], dtype)
    close(found, theirs.gradients, dtype)
    assert max(g.abs().max() for g in found) > 1e-4


def close(ours: Sequence[Tensor], theirs: Sequence[Tensor], dtype: torch.dtype) -> None:
    """Within the precision's bound, relative to the largest number in the list if that is above 1."""
    scale = max(1.0, *(float(t.abs().max()) for t in theirs))
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine.detach(), other, rtol=0, atol=PRECISIONS[dtype] * scale)


everywhere = [
    pytest.mark.parametrize("task", TASKS),
    pytest.mark.parametrize("dtype", PRECISIONS, ids=lambda dtype: str(dtype).rpartition(".")[2]),
]


def in_all(test: Any) -> Any:
    for mark in everywhere:
        test = mark(test)
    return test


def uniform(step: Spy) -> Tensor:
    return step.noise("delta", "uniform")


@in_all
@pytest.mark.parametrize("norm", ["l2", "linf"])
@pytest.mark.parametrize("steps", [1, 2, 4])
def test_freelb(folder, task, dtype, norm, steps):
    options = {**ATTACK, "steps": steps, "norm": norm}
    port = {**BALL, "K": steps, "norm": norm}
    agree(folder, task, dtype, FreeLB(**options), freelb.freelb, uniform, **port)


@in_all
def test_freelb_without_bound_from_a_clean_start(folder, task, dtype):
    method = FreeLB(steps=3, step_size=0.1, epsilon=0.0, init=0.0)
    agree(folder, task, dtype, method, freelb.freelb, uniform, K=3, alpha=0.1, s=0.0)


@in_all
def test_four_steps_are_the_roberta_codes_three(folder, task, dtype):
    method = FreeLB(**{**ATTACK, "steps": 4})
    agree(folder, task, dtype, method, freelb.freelb_fairseq, uniform, adv_steps=3, alpha=0.1, eps=0.15, s=0.2)


@in_all
@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_pgd(folder, task, dtype, norm):
    agree(folder, task, dtype, PGD(**ATTACK, norm=norm), pgd.pgd, uniform, **BALL, norm=norm)


@in_all
def test_fgm(folder, task, dtype):
    agree(folder, task, dtype, FGM(epsilon=0.3), pgd.fgm, uniform, epsilon=0.3)


@in_all
@pytest.mark.parametrize("steps", [1, 3])
def test_smart(folder, task, dtype, steps):
    method = SMART(weight=1.0, mu=0.0, epsilon=0.05, step_size=0.04, sigma=0.01, steps=steps)
    port = {"epsilon": 0.05, "step_size": 0.04, "steps": steps}
    agree(folder, task, dtype, method, smart.smoothness, lambda step: 0.01 * step.noise("r"), **port)


@in_all
def test_smart_of_the_public_code(folder, task, dtype):
    method = SMART(weight=1.0, mu=0.0, epsilon=1e-3, step_size=0.1, sigma=0.01, steps=2, variant="max_rescale")
    port = {"K": 2, "eta": 0.1, "epsilon": 1e-3}
    agree(folder, task, dtype, method, smart_public.smart_public, lambda step: 0.01 * step.noise("r"), **port)


@in_all
@pytest.mark.parametrize("steps", [0, 1, 2])
def test_vat(folder, task, dtype, steps):
    method = VAT(weight=1.0, epsilon=0.5, xi=0.5, steps=steps)
    agree(folder, task, dtype, method, vat.vat, lambda step: step.noise("d"), xi=0.5, epsilon=0.5, steps=steps)
