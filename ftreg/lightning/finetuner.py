"""FineTuner fine-tunes one encoder on one task: it is the module that folds the methods into one training step."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, cast

import pytorch_lightning as pl
from jaxtyping import Float
from torch import Tensor
from transformers import get_linear_schedule_with_warmup

from ftreg._base.checks import at_least, typed
from ftreg._base.errors import UsageError
from ftreg.core.divergence_guard import DivergenceGuard
from ftreg.core.engine import Engine, total
from ftreg.core.method import Regularizer
from ftreg.core.method_registry import check_labels, describe, rebuild
from ftreg.core.optimizer import adamw, anchors_of, clip
from ftreg.core.step import Scalar
from ftreg.core.step_log import StepLog, counted
from ftreg.core.tally import Tally
from ftreg.encoder.compiling import compile_layers
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.heads import Policy
from ftreg.lightning.compatibility import check_between_steps, check_methods, check_trainer
from ftreg.lightning.internals import batch_number, has_trainer
from ftreg.lightning.module import EngineModule
from ftreg.lightning.predictions import Collector, Predictions, log_scores
from ftreg.lightning.step_logging import log_step, logs_now
from glue_tasks.kinds import Kind, kind_of
from glue_tasks.seeds import whole


class FineTuner(EngineModule):
    """FineTuner is plain fine-tuning, with every `Regularizer` among the trainer's callbacks folded into it.

    Args:
        backbone: `demo`, `tiny`, a folder or a Hub id.
        labels: class names in id order; empty for regression.
        lr: peak learning rate of AdamW.
        weight_decay: decoupled, per unit of learning rate; not on biases and LayerNorm.
        decay_towards: `zero`, or `anchor` for the pre-trained weights (the head still decays towards zero).
        warmup: fraction of the steps with linearly rising learning rate; it falls linearly afterwards.
        max_grad_norm: global norm to clip at, unless the trainer sets one; 0 for none.
        init_seed: of the head's first weights, dropout and all methods' noise.
        attention: `eager` or `sdpa`; `auto` is eager on the CPU, where it is the faster one, and sdpa
            elsewhere; the other one where the architecture lacks it.
        packing: lay a batch's sentences end to end where that is exact.
        gradient_checkpointing: recompute layers in the backward instead of keeping their activations.
        compile: compile the encoder's layers with `torch.compile`.
        stop_when_diverged: stop at the first loss or gradient that is not a finite number.
        head: a fine-tuned backbone's is left out for a `new` one, or `keep` puts its classes into our order by name.
        kind: what is predicted, see `glue_tasks.kinds`; None for a class, or a number where there are no labels.

    Raises:
        UsageError: an option is out of range, or the methods cannot work together.
    """

    def __init__(
        self,
        backbone: str = "demo",
        labels: Sequence[str] = ("0", "1"),
        lr: float = 2e-5,
        weight_decay: float = 0.01,
        decay_towards: Literal["zero", "anchor"] = "zero",
        warmup: float = 0.1,
        max_grad_norm: float = 1.0,
        init_seed: int = 0,
        attention: Literal["auto", "eager", "sdpa"] = "auto",
        packing: bool = True,
        gradient_checkpointing: bool = False,
        compile: bool = False,
        stop_when_diverged: bool = True,
        head: Policy = "new",
        kind: Kind | None = None,
    ) -> None:
        super().__init__()
        typed("model", FineTuner.__init__, locals())
        at_least("model", 0, lr=lr, weight_decay=weight_decay, max_grad_norm=max_grad_norm)
        init_seed = whole(init_seed, "model.init_seed")
        if not 0 <= warmup <= 1:
            raise UsageError(f"model.warmup is {warmup}; it is a fraction of the steps, from 0 to 1")
        if len(labels) == 1:
            raise UsageError(f"model.labels is {list(labels)}; give two or more class names, or none for regression")
        self.backbone, self.labels = backbone, tuple(labels)
        self.lr, self.weight_decay, self.decay_towards = lr, weight_decay, decay_towards
        self.warmup, self.max_grad_norm, self.init_seed = warmup, max_grad_norm, init_seed
        self.attention, self.packing, self.gradient_checkpointing = attention, packing, gradient_checkpointing
        self.compiled, self.stop_when_diverged, self.head = compile, stop_when_diverged, head
        self.kind = kind_of(kind, labels)
        self.save_hyperparameters()
        self.predictions: dict[str, Predictions] = {}
        """The latest evaluation's, by split."""
        self._collector = Collector()
        self._methods: list[Regularizer] = []
        self._guard = DivergenceGuard()
        self._non_finite: dict[str, Tensor | int] = {}
        self._unused = 0
        """Micro-batches whose gradients no optimizer step has used yet."""

    # What it is made of

    encoder: Encoder

    @property
    def methods(self) -> list[Regularizer]:
        """The methods of this run, in the trainer's order; of the checkpoint, without a trainer."""
        if not has_trainer(self):
            return self._methods
        return [c for c in cast(Any, self.trainer).callbacks if isinstance(c, Regularizer)]

    def configure_callbacks(self) -> list[pl.Callback]:
        """Return none; but this is asked before any callback does anything."""
        check_trainer(self.trainer)
        return []

    def setup(self, stage: str) -> None:
        check_methods(self.methods, self.trainer, self)

    def configure_model(self) -> None:
        if not hasattr(self, "encoder"):
            on_cpu = not has_trainer(self) or self.trainer.strategy.root_device.type == "cpu"
            either = ("eager", "sdpa") if on_cpu else ("sdpa", "eager")
            attention = either if self.attention == "auto" else self.attention
            more = (attention, self.packing, self.gradient_checkpointing, self.head, self.kind)
            self.encoder = Encoder(self.backbone, self.labels, self.init_seed, *more)
            if self.compiled:
                compile_layers(self.encoder.architecture)
        # The command line tries a fit's methods on the network before the trainer starts, and before there is a folder.
        fitting = has_trainer(self) and self.trainer.state.fn in (None, "fit")
        engine = Engine(self.encoder, seed=self.init_seed)
        engine.adopt(self.methods, fitting)
        # No part of this module: the encoder is one, under its own name.
        object.__setattr__(self, "engine", engine)
        if self.decay_towards == "anchor" and self.weight_decay and fitting:
            anchors_of(self.encoder, dict(self.encoder.named_parameters()))

    # One training step

    def on_train_start(self) -> None:
        cells = self.trainer.world_size * self.trainer.accumulate_grad_batches
        self.engine.log = StepLog(tally=Tally(cells), non_finite=self._non_finite)
        self._place()
        super().on_train_start()

    def training_step(self, batch: Mapping[str, Any], batch_index: int) -> Scalar:
        self._place()
        terms = self.engine.terms(batch)
        if self.stop_when_diverged:
            self._guard.add(terms, self._again)
        return total(terms)

    def _place(self) -> None:
        """Tell the engine where the trainer is, which also counts steps that fp16 has skipped."""
        at: Any = self.trainer
        self.engine.number = at.global_step
        self.engine.micro_batch = batch_number(at)
        self.engine.scaler = getattr(at.precision_plugin, "scaler", None)
        self.engine.log.logs = logs_now(at)

    def _again(self) -> dict[str, Scalar]:
        """Compute the latest micro-batch's terms once more."""
        with self.trainer.precision_plugin.forward_context():
            return self.engine.again()

    def on_after_backward(self) -> None:
        self._unused += 1

    def optimizer_step(self, *args: Any, **kwargs: Any) -> None:
        super().optimizer_step(*args, **kwargs)
        self._unused = 0

    def configure_optimizers(self) -> Any:
        steps = int(self.trainer.estimated_stepping_batches)
        # A fused optimizer unscales fp16 gradients itself, and Lightning then refuses to clip.
        fused = str(self.trainer.precision) != "16-mixed"
        rates = {name: lr for method in self.methods for name, lr in method.learning_rates(self.encoder).items()}
        optimizer = adamw(self.encoder, self.lr, self.weight_decay, self.decay_towards, fused, rates)
        schedule = get_linear_schedule_with_warmup(optimizer, round(self.warmup * steps), steps)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": schedule, "interval": "step"}}

    def configure_gradient_clipping(
        self,
        optimizer: Any,
        gradient_clip_val: int | float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        value = self.max_grad_norm if gradient_clip_val is None else gradient_clip_val
        params = [p for p in self.encoder.weights.real.values() if p.grad is not None]
        # Not through Lightning, which refuses to clip for any fused optimizer under autocast; fp16 is unscaled by now.
        norm = clip(params, value, gradient_clip_algorithm or "norm")
        if self.stop_when_diverged:
            expected = str(self.trainer.precision) == "16-mixed"
            self._guard.close(None if expected else norm, self.trainer.global_step, params, self.trainer.world_size)
        if logs_now(self.trainer):
            log_step(self, self.engine.log)
            self.engine.log.tally = Tally(self.engine.log.tally.cells)

    # Evaluation: unmixed weights, exact rows

    def forward(self, batch: Mapping[str, Any]) -> Float[Tensor, "batch *answer"]:
        """Compute the logits of a batch, as `Step` describes one."""
        embeds = self.encoder.embed(batch["input_ids"])
        out = self.encoder(embeds, batch["attention_mask"], batch.get("token_type_ids"), batch.get("lengths"))
        assert isinstance(out, Tensor)
        return out

    def validation_step(self, batch: Mapping[str, Any], batch_index: int, dataloader_idx: int = 0) -> None:
        self._collector.add(batch, self(batch), dataloader_idx)

    test_step = validation_step

    def predict_step(self, batch: Mapping[str, Any], batch_index: int, dataloader_idx: int = 0) -> Tensor:
        logits: Tensor = self(batch)
        self._collector.add(batch, logits, dataloader_idx)
        return logits[batch["valid"]] if "valid" in batch else logits

    def on_validation_epoch_end(self) -> None:
        self.on_predict_epoch_end()
        log_scores(self, self.predictions)

    on_test_epoch_end = on_validation_epoch_end

    def on_predict_epoch_end(self) -> None:
        self.predictions = self._collector.gather(self)

    # Checkpoints: plain values only, so that they load with weights_only=True

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        checkpoint["ftreg"] = {
            "labels": list(self.labels),
            "kind": self.kind,
            "methods": describe(self.methods),
            "supervised": all(method.supervised for method in self.methods),
            "non_finite": counted(self._non_finite, self.trainer.world_size),
            "unused": self._unused,
        }

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        record = checkpoint.get("ftreg", {})
        check_labels(checkpoint, self.labels, self.kind)
        if has_trainer(self) and self.trainer.state.fn == "fit":
            check_between_steps(checkpoint)
        self.encoder.start.passed = True
        self._non_finite = {} if self.global_rank else dict(record.get("non_finite", {}))  # it is all ranks' sum
        if not has_trainer(self):
            self._methods = rebuild(record.get("methods", []))
            self.engine.adopt(self._methods, fitting=False)
