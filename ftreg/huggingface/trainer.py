"""Hugging Face's Trainer with an engine in it.

    trainer = Trainer(model=model, args=args, train_dataset=data, methods=[Mixout(p=0.7), FreeLB()])
    trainer.train()

Its arguments, callbacks, logs and checkpoints are transformers' own. The model stays the user's: it is evaluated and
saved as it is, with its real weights. What accelerate wraps and trains is the engine around it.

The loss is the mean over the examples of the whole optimizer step, or over the labels where the criterion says so,
however it is dealt out to micro-batches and processes: what `num_items_in_batch` is for. transformers' own Trainer
gives the same without accumulation; with it, or on several processes, it sums the means of many models' micro-batches
(BERT's classifiers among them), and so has gradients that are larger by their number.
"""

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
import transformers
from accelerate.utils import convert_to_fp32
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from transformers.trainer_utils import get_last_checkpoint

from ftreg._base.errors import UsageError
from ftreg.core.criteria import Criterion
from ftreg.core.method import Regularizer
from ftreg.core.states import added_to
from ftreg.core.step_log import StepLog, step_values
from ftreg.core.tally import Tally
from ftreg.huggingface import checkpoints
from ftreg.huggingface.calls import EngineCalls
from ftreg.huggingface.compatibility import check_arguments, check_checkpointing, check_trainer
from ftreg.huggingface.criterion import counted, criterion_for, settled
from ftreg.huggingface.driven import DrivenEngine
from ftreg.huggingface.internals import OURS, Internals
from ftreg.huggingface.logs import logs_next
from ftreg.huggingface.pooled import Pooled


class EngineMixin(Internals):
    """This makes an engine's driver of a Trainer: name it before your own in a class's bases.

    Args:
        args: as of the Trainer, and so `kwargs`. A method among the `callbacks` is taken for one of `methods`.
        methods: in the order in which they map weights.
        criterion: of `ftreg.criteria`, or a function of the model's output and the batch to losses [batch]; None for
            the model's own loss, or `compute_loss_func`.

    Raises:
        UsageError: the model, an argument or a method cannot work, or not together.
    """

    engine: DrivenEngine

    def __init__(
        self,
        *args: Any,
        methods: Sequence[Regularizer] = (),
        criterion: Criterion | Callable[..., Tensor] | None = None,
        **kwargs: Any,
    ) -> None:
        for given in (*args, *kwargs.values()):
            if isinstance(given, transformers.TrainingArguments):
                check_arguments(given)
        callbacks = kwargs.get("callbacks") or []
        listed = [callback for callback in callbacks if isinstance(callback, Regularizer)]
        if listed:
            kwargs["callbacks"] = [callback for callback in callbacks if not isinstance(callback, Regularizer)]
        super().__init__(*args, **kwargs)
        order = type(self).__mro__
        check_trainer(self, order[order.index(EngineMixin) + 1 : order.index(transformers.Trainer)])
        self._criterion = criterion
        self._state: dict[str, Any] | None = None
        self._items: float | None = None
        self._logged: dict[str, float] = {}
        methods = [*methods, *listed]
        # A search for hyperparameters, or `model_init`, starts again from a fresh model: with fresh methods.
        self._fresh = copy.deepcopy(methods) if self.model_init is not None else methods
        self._build(methods)
        self.add_callback(EngineCalls(self))

    def _build(self, methods: Sequence[Regularizer]) -> None:
        """Make the engine around the present model."""
        criterion = criterion_for(self.model, self.args.label_smoothing_factor, self._criterion, self.compute_loss_func)
        # accelerate may have hung a precision of its own on a model that was evaluated before.
        self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
        self.engine = DrivenEngine(self.model, methods, criterion, self.args.seed)
        self._wrapped: nn.Module | None = None
        added = [*added_to(self.engine.encoder)]
        if added and self.args.load_best_model_at_end:
            raise UsageError(
                f"load_best_model_at_end puts the best model's weights back, and not those of {added[0]}, which a "
                f"method has added; leave it out"
            )

    def call_model_init(self, trial: Any = None) -> Any:
        model = super().call_model_init(trial)
        if hasattr(self, "engine"):
            self.model = model
            self._build(copy.deepcopy(self._fresh))
        return model

    # Training

    def train(self, resume_from_checkpoint: str | bool | None = None, *args: Any, **kwargs: Any) -> Any:
        check_arguments(self.args)
        if resume_from_checkpoint is True:
            resume_from_checkpoint = get_last_checkpoint(self.args.output_dir) or True
        resumed = isinstance(resume_from_checkpoint, str)
        self._state = checkpoints.read_state(self.engine, str(resume_from_checkpoint)) if resumed else None
        try:
            return super().train(resume_from_checkpoint, *args, **kwargs)
        finally:
            self.engine.end()

    def create_optimizer(self, *args: Any, **kwargs: Any) -> Any:
        ours = self.optimizer is None
        optimizer = super().create_optimizer(*args, **kwargs)
        if ours:
            encoder = self.engine.encoder
            own = {id(parameter) for parameter in self.engine.model.parameters()}
            rates = {name: lr for method in self.engine.methods for name, lr in method.learning_rates(encoder).items()}
            for name, parameter in encoder.named_parameters():
                if id(parameter) in own or not parameter.requires_grad:
                    continue
                decay = self.args.weight_decay if parameter.ndim >= 2 and name not in rates else 0.0
                lr = {"lr": rates[name]} if name in rates else {}
                optimizer.add_param_group({"params": [parameter], "weight_decay": decay, **lr})
        return optimizer

    def driven(self) -> nn.Module:
        if self._wrapped is None:
            if self.engine.methods:
                check_checkpointing(self.model)
            self.accelerator.unwrap_model(self.model, keep_fp32_wrapper=False)
            self._wrapped = self.engine
        self._wrapped = self.accelerator.prepare(self._wrapped)
        self.engine.scaler = self.accelerator.scaler
        return self._wrapped

    def begin_engine(self) -> None:
        """Let the engine begin, or go on from a checkpoint: weights and optimizer are where they will be."""
        self.engine.total_steps, self.engine.number = self.state.max_steps, self.state.global_step
        self.engine.seed = self.args.seed  # a search for hyperparameters has drawn it by now
        if self._state is not None:
            if self.args.process_index:
                self._state["counts"]["non_finite"] = {}  # it is all ranks' sum
            self.engine.load_method_state(self._state)
            self._state = None
        self.engine.begin()

    def get_batch_samples(self, *args: Any, **kwargs: Any) -> Any:
        samples, items = super().get_batch_samples(*args, **kwargs)
        self._items = None
        if samples and self._wrapped is not None:
            self.engine.criterion = settled(self.engine.criterion, self.model, samples[0])
            if items is not None:
                mine = torch.stack([counted(self.engine.criterion, batch).float() for batch in samples]).sum()
                self._items = self._gathered(mine)
            cells = self.args.world_size * len(samples)
            log = self.engine.log
            self.engine.log = StepLog(logs_next(self), Tally(cells), log.non_finite)
        return samples, items

    def _gathered(self, mine: Tensor) -> float:
        """Return how many items each process has on average, or this one where its loss is its own mean."""
        if self.args.average_tokens_across_devices and self.args.world_size > 1:
            everyones = self.accelerator.gather(mine.to(self.args.device))
            return float(everyones.mean())
        return float(mine)

    def training_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Tensor:
        before = self.engine.micro_batch
        loss: Tensor = super().training_step(model, inputs, *args, **kwargs)
        if self.engine.micro_batch == before:
            raise UsageError(
                f"the methods take no part: {type(self).__name__}.compute_loss does not run the engine; let it call "
                f"super().compute_loss(model, inputs, ...) with the model that it is given"
            )
        if self.accelerator.sync_gradients:
            self._before_step()
        return loss

    def _before_step(self) -> None:
        scaler = self.accelerator.scaler
        scale = 1.0 if scaler is None else scaler.get_scale()
        params = [p for p in self.engine.encoder.weights.real.values() if p.requires_grad]
        # fp16's are unscaled only when they are clipped, and only once.
        _multiply(params, 1 / scale)
        self.engine.before_step()
        _multiply(params, scale)
        if self.engine.log.logs:
            world = self.args.world_size
            values = step_values(self.engine.log, self.engine.methods, params, self.engine.number, world)
            self._logged = {f"train/{name}": value for name, value in values.items()}

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """Return the engine's loss of a training batch, and of any other what transformers' Trainer makes of it.

        Args:
            model: of the Trainer's loop.
            inputs: a batch.
            return_outputs: whether the model's output is returned too.
            num_items_in_batch: of the optimizer step, as the loop has counted them.

        Raises:
            UsageError: a training output is asked for, and the objective has none to give.
        """
        if model is not self._wrapped:
            return super().compute_loss(model, inputs, return_outputs, num_items_in_batch)
        # Averaged over micro-batches and processes, the engine's terms are those of the step's mean.
        parts = self.current_gradient_accumulation_steps
        batch = dict(inputs) if self._items is None else {**inputs, "scale": parts / max(self._items, 1.0)}
        objective = next((method.name for method in self.engine.methods if method.is_objective), None)
        if return_outputs and objective:
            raise UsageError(
                f"return_outputs: {objective} runs the model several times in a step, and keeps none of its outputs; "
                f"call compute_loss without it in training"
            )
        self.engine.keeps_output = return_outputs
        loss = model(batch)
        if self._scaled(num_items_in_batch):
            loss = loss / parts
        return (loss, self.engine.output) if return_outputs else loss

    def _scaled(self, items: Any) -> bool:
        """Return whether the loop takes the loss for one that is divided by the number of micro-batches already."""
        said: bool | None = getattr(self, "loss_is_scaled_for_ga", None)
        counts = self.model_accepts_loss_kwargs and items is not None
        return bool(said) if said is not None else counts or self.compute_loss_func is not None

    def log(self, logs: dict[str, float], *args: Any, **kwargs: Any) -> None:
        if "loss" in logs:
            logs, self._logged = {**logs, **self._logged}, {}
        super().log(logs, *args, **kwargs)

    def add_callback(self, callback: Any) -> None:
        if isinstance(callback, Regularizer) or (isinstance(callback, type) and issubclass(callback, Regularizer)):
            raise UsageError(
                f"a method is no callback of this Trainer once it is built; give it methods=[{_of(callback)}]"
            )
        super().add_callback(callback)

    # Evaluation: the model as it is

    def prediction_step(self, model: nn.Module, inputs: Any, *args: Any, **kwargs: Any) -> Any:
        self.engine.restore()
        plain = {name: value for name, value in inputs.items() if name not in OURS}
        if self.engine.encoder.head is not None:
            model = Pooled(self.engine)
        with self.accelerator.autocast():
            found = super().prediction_step(model, plain, *args, **kwargs)
        return convert_to_fp32(found)

    # Checkpoints

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        folder, replaced = output_dir or str(self.args.output_dir), self.engine.encoder.head is not None
        if replaced:
            rank_zero_warn(
                f"{folder}: the head that the engine has trained is in {checkpoints.FILE} alone, and from_pretrained "
                f"gives the model's own, which has learnt nothing; evaluate with this Trainer, or train ftreg.FineTuner"
            )
        if replaced or (_internal_call and not self.args.save_only_model):
            checkpoints.save_state(self.engine, folder, self.args.world_size, self.args.should_save)


class Trainer(EngineMixin):
    """Hugging Face's Trainer with `methods` and a `criterion`; see `EngineMixin`."""


def _multiply(params: Sequence[Tensor], factor: float) -> None:
    """Multiply gradients in place."""
    for parameter in params:
        if parameter.grad is not None and factor != 1:
            parameter.grad.mul_(factor)


def _of(callback: Any) -> str:
    return f"{callback.__name__ if isinstance(callback, type) else type(callback).__name__}(...)"
