"""One small method of every kind, for testing the pipeline that carries them."""

from collections.abc import Mapping
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from ftreg.core.method import Regularizer, Slot
from ftreg.core.step import Step
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import Noise
from ftreg.functional.deposit import deposit


class Ascent(Regularizer):
    """O: the mean loss over `passes` steps of normalised ascent on the embeddings, one backward."""

    claims = frozenset({Slot.OBJECTIVE})

    def __init__(self, passes: int = 3, size: float = 0.5) -> None:
        self.passes, self.size = passes, size

    def objective(self, step: Step) -> Tensor:
        params = [*step.params.values()]
        totals = [torch.zeros_like(p) for p in params]
        delta = torch.zeros_like(step.embeds()).detach().requires_grad_()
        for _ in range(self.passes - 1):
            losses = step.losses(delta)
            found = torch.autograd.grad(step.mean(losses) / self.passes, params, retain_graph=True, allow_unused=True)
            (slope,) = torch.autograd.grad(step.sum(losses), delta)
            totals = [total if g is None else total + g for total, g in zip(totals, found, strict=True)]
            norm = slope.flatten(1).norm(dim=1).clamp(min=1e-8)
            delta = (delta + self.size * slope / norm[:, None, None]).detach().requires_grad_()
        return deposit(step.mean(step.losses(delta)) / self.passes, params, totals)


class TwoBackwards(Ascent):
    """The same objective with every graph kept and no deposit: what `deposit` must equal."""

    def objective(self, step: Step) -> Tensor:
        delta = torch.zeros_like(step.embeds()).detach().requires_grad_()
        total = torch.zeros(())
        for number in range(self.passes):
            losses = step.losses(delta)
            total = total + step.mean(losses) / self.passes
            if number < self.passes - 1:
                (slope,) = torch.autograd.grad(step.sum(losses), delta, retain_graph=True)
                norm = slope.flatten(1).norm(dim=1).clamp(min=1e-8)
                delta = (delta + self.size * slope / norm[:, None, None]).detach().requires_grad_()
        return total


class Jitter(Regularizer):
    """R: divergence from the prediction under noise drawn per example."""

    def __init__(self, weight: float = 1.0) -> None:
        self.weight = weight

    def penalty(self, step: Step) -> Tensor:
        delta = 0.1 * step.noise("jitter")
        return self.weight * step.mean(step.divergence(step.logits(delta), step.logits()))


class Jitter2(Jitter):
    """R: another of the same, on streams of its own."""


class Shrink(Regularizer):
    """M: every matrix times a random factor."""

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        factors = {n: 1 - 0.1 * torch.rand((), generator=noise.generator(n)) for n, p in params.items() if p.ndim == 2}
        return {name: params[name] * factor.to(params[name].dtype) for name, factor in factors.items()}


class ReinitTop(Regularizer):
    """S: the last layer starts afresh."""

    def attach(self, encoder: Encoder) -> None:
        encoder.reinitialise(encoder.model.base_model.encoder.layer[-1])


class _MeanHead(nn.Module):
    def __init__(self, dim: int, classes: int) -> None:
        super().__init__()
        self.linear = nn.Linear(dim, classes)

    def forward(self, states: tuple[Tensor, ...], mask: Tensor) -> Tensor:
        weights = mask.unsqueeze(-1).to(states[0].dtype)
        mixed = torch.stack([(s * weights).sum(1) / weights.sum(1) for s in states]).mean(0)
        out: Tensor = self.linear(mixed)
        return out


class MeanHead(Regularizer):
    """S, slot POOLER: the mean of all tokens of all layers."""

    claims = frozenset({Slot.POOLER})

    def attach(self, encoder: Encoder) -> None:
        if encoder.head is None:
            config = encoder.model.config
            with torch.random.fork_rng():
                torch.manual_seed(5)
                encoder.replace_head(_MeanHead(config.hidden_size, config.num_labels))


class HalveHead(Regularizer):
    """G: half the head's gradient."""

    def on_before_optimizer_step(self, trainer: pl.Trainer, pl_module: Any, optimizer: Any) -> None:
        for name, parameter in pl_module.encoder.named_parameters():
            if pl_module.encoder.in_head(name) and parameter.grad is not None:
                parameter.grad.mul_(0.5)


class Average(Regularizer):
    """W: an average of the weights, in the callback's state, that pulls the embeddings' scale."""

    def __init__(self) -> None:
        self._mean: dict[str, Tensor] = {}

    def after_step(self, encoder: Encoder, number: int) -> None:
        for name, parameter in encoder.named_parameters():
            self._mean[name] = torch.lerp(self._mean.get(name, parameter.detach()), parameter.detach(), 0.1)

    def penalty(self, step: Step) -> Tensor | None:
        if not self._mean:
            return None
        return 0.1 * step.mean(step.divergence(step.logits(params=self._mean).detach(), step.logits()))

    def state_dict(self) -> dict[str, Any]:
        return {"mean": self._mean}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._mean = dict(state_dict["mean"])


class Careless(Regularizer):
    """R: noise of the global generator, the micro-batch's own mean, and state that no checkpoint has."""

    def __init__(self) -> None:
        self._seen = 0

    def penalty(self, step: Step) -> Tensor:
        self._seen += 1
        delta = 0.1 * torch.randn_like(step.embeds())
        return self._seen * step.divergence(step.logits(delta), step.logits()).mean()


class DoNothing(Regularizer):
    """Changes nothing, but draws from every global generator it can reach."""

    def attach(self, encoder: Encoder) -> None:
        torch.rand(3)

    def map_weights(self, params: Mapping[str, Tensor], noise: Noise) -> Mapping[str, Tensor]:
        torch.rand(3)
        return {}

    def penalty(self, step: Step) -> None:
        torch.rand(5)
        step.logits(dropout="fresh")

    def on_train_batch_end(self, *args: Any) -> None:
        torch.rand(7)
