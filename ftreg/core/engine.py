"""The engine folds methods into one loss, for any loop that takes a loss, a backward and an optimizer step.

    engine = Engine(model, [Mixout(p=0.7), FreeLB(), SMART()], seed=0, total_steps=1000)
    optimizer = torch.optim.AdamW(engine.parameters(), lr=2e-5)
    for batch in loader:
        loss = engine(batch)
        loss.backward()
        engine.before_step(); optimizer.step(); optimizer.zero_grad(); engine.after_step()

Its forward is the step's loss, however many passes it takes: DDP, Fabric and accelerate wrap the engine. Weights that
methods mix are in the network while a forward or a backward runs: evaluation, clipping and saving see the real ones.
"""

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from ftreg.core import batches, loops, states
from ftreg.core.collectives import rank
from ftreg.core.criteria import Criterion, MultipleChoice, criterion_of
from ftreg.core.method import Regularizer, check_claims
from ftreg.core.passes import Passes
from ftreg.core.step import Scalar, Step
from ftreg.core.step_log import StepLog
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.given import unwrapped
from ftreg.encoder.noise import Noise, StreamKey, precision
from ftreg.encoder.torch_internals import around_backward


class Engine(nn.Module):
    """An engine runs methods on one model; see this module for the loop around it.

    A batch holds what the model takes: `input_ids`, `attention_mask`, the criterion's targets. It may also have
    `row_ids`, which name its rows, `scale`, which makes accumulation exact, and `valid`; see `ftreg.core.batches`.

    Args:
        model: a transformers model with a head, maybe wrapped by PEFT.
        methods: in the order in which they map weights.
        criterion: of `ftreg.criteria`, or a function of the model's output and the batch to losses [batch]; None to go
            by the model's head.
        seed: of dropout, of all methods' noise, and of the weights that methods add.
        total_steps: optimizer steps of the whole training, for methods whose options are shares of it.
        scaler: the loop's GradScaler, under fp16.
        noise: makes the methods' random draws; a subclass of `Noise` injects others.

    Raises:
        UsageError: the model, the criterion or a method cannot work, or not together.
    """

    def __init__(
        self,
        model: Any,
        methods: Sequence[Regularizer] = (),
        criterion: Criterion | Callable[..., Tensor] | None = None,
        seed: int = 0,
        *,
        total_steps: int | None = None,
        scaler: Any = None,
        noise: type[Noise] = Noise,
    ) -> None:
        super().__init__()
        seed = loops.checked(seed, total_steps)
        inner = model.model if isinstance(model, Encoder) else unwrapped(model)
        self.criterion = criterion_of(inner, criterion)
        self._dims = 3 if isinstance(self.criterion, MultipleChoice) else 2
        if isinstance(model, Encoder):
            self.encoder = model
        else:
            self.encoder = Encoder.of(model, seed, answer=self.criterion.answer, choices=self._dims == 3)
        self._given = (inner if isinstance(model, Encoder) else model,)  # in a tuple: it is a part already
        self.seed, self.total_steps, self.scaler, self.noise = seed, total_steps, scaler, noise
        self.methods: list[Regularizer] = []
        self.number = 0
        """The optimizer step that comes next, from 0."""
        self.micro_batch = 0
        """Micro-batches that this process has seen."""
        self.log = StepLog()
        """The log of the present step; with `log.logs`, a forward fills it."""
        self._rows = batches.RowCounter()
        self._held: ExitStack | None = None
        self._latest: tuple[Mapping[str, Any], StreamKey] | None = None
        self._begun = self._moded = False
        self._calls = loops.Calls(self)
        self._token = object()
        """Which methods have, that were given to no other engine since."""
        self.adopt(methods)

    @property
    def model(self) -> Any:
        """The model as it was given, with its own `state_dict` keys and its real weights."""
        return self._given[0]

    def adopt(self, methods: Sequence[Regularizer], fitting: bool = True) -> None:
        """Work with these methods, in place of those before.

        Args:
            methods: in the order in which they map weights.
            fitting: whether training is to come; otherwise they change the network's structure alone.

        Raises:
            UsageError: a method cannot work with the model, or not beside another.
        """
        check_claims(methods)
        for method in methods if fitting else ():
            method.check(methods)
        with precision(self.encoder.model.dtype):
            for method in methods:
                method.attach(self.encoder)
        loops.tell_of_a_head(self.encoder)
        # Some architectures make a part in float32 whatever is asked for.
        self.encoder.to(self.encoder.model.device).parts.to(self.encoder.model.dtype)
        for method in methods if fitting else ():
            method.start(self.encoder)
        for method in methods if fitting else ():
            method.remember(self.encoder)
        self.methods = [*methods]
        for method in methods:
            method.driven_by = self._token
        self.encoder.forget_weights()

    def begin(self) -> None:
        """Start training, or go on with it; the first forward does so by itself.

        Raises:
            UsageError: nothing trains, parameters are split over processes, or a method has to know `total_steps`.
        """
        loops.refuse(self.encoder, self.methods)
        if self.encoder.by_ids and not self._moded:
            self.train()  # a model that was just loaded is in evaluation mode
        for method in self.methods:
            method.begin(self.encoder, self.number, self.total_steps)
        self.encoder.begin()
        self._begun = True

    def end(self) -> None:
        """Leave the network as it is without the methods; training may go on afterwards."""
        self.restore()
        for method in self.methods:
            method.end(self.encoder)
        self._begun = False

    def forward(self, batch: Mapping[str, Any]) -> Scalar:
        """Return the loss of a batch with every method's part in it; in evaluation mode, the task's mean loss alone."""
        return total(self.terms(batch))

    def terms(self, batch: Mapping[str, Any]) -> dict[str, Scalar]:
        """Return the summands of a batch's loss, by name: `task` or the objective's method, and each penalty."""
        if self.encoder.by_ids:
            batches.check_batch(batch, self.encoder, self.criterion, self._dims)
        if not self.training:
            step = Step(batch, self.encoder, (), self.criterion, StreamKey(self.seed, 0))
            return {"task": step.mean(step.losses(dropout="none"))}
        if not self._begun:
            self.begin()
        states.refuse_taken(self.methods, self._token)
        self._calls.forward()
        key = StreamKey(self.seed, self.number, self.micro_batch, rank())
        self.micro_batch += 1
        self._latest = self._rows.named(batch, key.rank, self.encoder.features is not None), key
        terms = self._compute(*self._latest)
        if self.log.logs:
            self.log.tally.terms(terms)
        return terms

    def predict(self, batch: Mapping[str, Any]) -> Tensor:
        """Return what the criterion judges, such as logits, without dropout, gradients and mixed weights."""
        with torch.no_grad():
            self.restore()
            if self.encoder.by_ids:
                batches.check_batch(batch, self.encoder, self.criterion, self._dims)
            return Passes(batch, self.encoder, (), StreamKey(self.seed, 0)).run(dropout="none")

    def restart(self) -> None:
        """Count steps, micro-batches and rows from 0 again, for another training."""
        self.number = self.micro_batch = self._rows.rows = 0

    def again(self) -> dict[str, Scalar]:
        """Return the latest batch's terms once more, with another graph: all of a step's noise is named."""
        assert self._latest is not None
        return self._compute(*self._latest)

    def _compute(self, batch: Mapping[str, Any], key: StreamKey) -> dict[str, Scalar]:
        scale = loops.loss_scale(self.scaler, batch["input_ids"].device.type)
        step = Step(batch, self.encoder, self.methods, self.criterion, key, self.log, scale, self.noise)
        self.restore()
        # The loop's own random numbers go on as if no dropout had been drawn.
        with torch.random.fork_rng(loops.devices(batch["input_ids"])), ExitStack() as held:
            self._hold(held, batch, {})
            terms = step.terms()
            mixed = self.encoder.weights.current
        for term in terms.values():
            around_backward(term, partial(self._enter, batch, mixed), self.restore)
        return terms

    def _hold(self, held: ExitStack, batch: Mapping[str, Any], mixed: Mapping[str, Tensor]) -> None:
        """Put in what passes run with; leaving `held` takes it out."""
        held.callback(self.encoder.weights.restore)
        for method in self.methods:
            held.enter_context(method.during(self.encoder, batch))
        self.encoder.weights.put(mixed)

    def _enter(self, batch: Mapping[str, Any], mixed: Mapping[str, Tensor]) -> None:
        """Hold it again for a backward, in which activation checkpointing runs layers once more."""
        if self._held is None:
            self._held = ExitStack()
            self._hold(self._held, batch, mixed)

    def restore(self) -> None:
        """Put the real weights and the network's own parts back, as after a backward that has failed."""
        held, self._held = self._held, None
        if held is not None:
            held.close()

    def before_step(self) -> None:
        """Let methods change the gradients: call it once they are complete, before they are clipped and used."""
        self.restore()
        if self._calls.before_step():
            for method in self.methods:
                method.before_step(self.encoder, self.number)

    def after_step(self) -> None:
        """Let methods follow the weights: call it after the optimizer's step.

        A step that the optimizer has not taken, because gradients overflowed or are still gathered, is not counted.

        Raises:
            UsageError: `before_step` was left out, or parameters that a method has added are in no optimizer.
        """
        if self._calls.after_step():
            for method in self.methods:
                method.after_step(self.encoder, self.number)
            self.number += 1

    def train(self, mode: bool = True) -> "Engine":
        """Set training or evaluation mode; in evaluation the weights are the real ones, whatever came before."""
        self._moded = True
        if not mode:
            self.restore()
        return super().train(mode)

    # State

    @property
    def stepped(self) -> bool:
        """Whether an optimizer has stepped, and `after_step` is due."""
        return self._calls.due

    def counts(self) -> dict[str, Any]:
        """Return where in its streams the training is: what a resumed one needs beside all weights and states."""
        non_finite = {name: int(count) for name, count in self.log.non_finite.items()}
        where = {"number": self.number, "micro_batch": self.micro_batch, "rows": self._rows.rows}
        return {**where, "non_finite": non_finite}

    def load_counts(self, counts: Mapping[str, Any]) -> None:
        """Go on from what `counts` has returned."""
        self.number, self.micro_batch, self._rows.rows = counts["number"], counts["micro_batch"], counts["rows"]
        self.log.non_finite = dict(counts["non_finite"])
        self.encoder.start.passed = True
        self._begun = False

    def method_state(self) -> dict[str, Any]:
        """Return all that a resumed training needs beside the model's and the optimizer's own state.

        Plain values and tensors: what is saved of them loads with `weights_only=True`.
        """
        return states.collected(self)

    def load_method_state(self, state: Mapping[str, Any]) -> None:
        """Go on from what `method_state` has returned; load the model's own weights as well.

        Raises:
            UsageError: it is of other methods.
        """
        states.put_back(state, self)
        self.load_counts(state["counts"])
        self._calls = loops.Calls(self)

    def __getstate__(self) -> dict[str, Any]:
        passing = ("_calls", "_held", "_latest")
        return {name: value for name, value in self.__dict__.items() if name not in passing}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)  # type: ignore[no-untyped-call]
        self._held = self._latest = None
        self._calls = loops.Calls(self)  # of a copy's own loop


def total(terms: Mapping[str, Scalar]) -> Scalar:
    """Return the sum of a loss's summands."""
    return torch.stack([*terms.values()]).sum() if len(terms) > 1 else next(iter(terms.values()))
