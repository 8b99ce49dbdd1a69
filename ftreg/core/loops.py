"""The engine looks at the loop around it: for calls that were left out, for its precision, for split parameters."""

from collections.abc import Sequence
from functools import partial
from typing import Any
from weakref import ref

import torch
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor
from torch.distributed.tensor import DTensor

from ftreg._base.errors import UsageError
from ftreg.core.optimizer_steps import follow
from ftreg.core.states import added_to
from ftreg.encoder.encoder import Encoder
from glue_tasks.errors import DataError
from glue_tasks.seeds import whole

LOOP = "loss.backward(); engine.before_step(); optimizer.step(); optimizer.zero_grad(); engine.after_step()"


class Calls:
    """This follows a loop's calls of its engine, and complains of those that it has left out.

    Without them random streams stand still and a teacher does not follow, and no number would tell.

    Args:
        engine: whose loop it is.
    """

    def __init__(self, engine: Any) -> None:
        self._engine: Any = ref(engine)
        self._forwards = 0
        """Since the last optimizer step."""
        self._used = False
        """Whether there was ever one."""
        self._ready = False
        self._ever = False
        """Whether an optimizer of torch's has ever stepped on the engine's parameters."""
        self._stepped: set[int] = set()
        """Ids of what an optimizer has stepped on since `before_step`."""
        self._before: list[Tensor] = []
        follow(self)

    @property
    def due(self) -> bool:
        """Whether the engine has to hear of a step that an optimizer has taken."""
        return self._ready and bool(self._stepped)

    def concerned(self, trained: set[int]) -> bool:
        """Return whether parameters of these ids are of the engine's network."""
        engine = self._engine()
        return engine is not None and any(id(p) in trained for p in engine.encoder.weights.real.values())

    def stepped(self, trained: set[int], newest: bool) -> None:
        """Hear that an optimizer with the parameters of these ids has stepped."""
        engine: Any = self._engine()
        if newest and self._forwards and not self._ready:
            raise UsageError(f"the optimizer has stepped without engine.before_step(); a step is: {LOOP}")
        if newest and engine.methods and not self._used:
            names = ", ".join(method.name for method in engine.methods)
            raise UsageError(
                f"the optimizer has stepped, and {names} took no part: the loss is not engine(batch); {LOOP}"
            )
        self._ever = True
        self._stepped |= trained

    def forward(self) -> None:
        """Hear that a forward begins."""
        if self._stepped:
            raise UsageError(f"the optimizer has stepped, and engine.after_step() was left out; a step is: {LOOP}")
        if not torch.is_grad_enabled():
            raise UsageError(
                "engine(batch) in training mode needs gradients, and they are off; call engine.eval() first"
            )
        self._forwards += 1
        self._used, self._ready = True, False

    def before_step(self) -> bool:
        """Return whether this is the step's first such call."""
        if self._ready:
            return False
        if not self._forwards:
            raise UsageError(f"engine.before_step() without a forward of the engine: the methods took no part; {LOOP}")
        self._ready = True
        # An optimizer that is none of torch's tells nobody of its steps: the weights do.
        self._before = [] if self._ever else _some(self._engine())
        return True

    def after_step(self) -> bool:
        """Return whether the optimizer has taken a step."""
        if not self._ready:
            raise UsageError(f"engine.after_step() without engine.before_step(); a step is: {LOOP}")
        self._ready = False
        engine: Any = self._engine()
        if not self._stepped and all(map(torch.equal, self._before, _some(engine))):
            return False
        if self._stepped:
            for name, parameter in added_to(engine.encoder).items():
                if parameter.requires_grad and id(parameter) not in self._stepped:
                    raise UsageError(
                        f"{name}, which a method has added to the network, is in no optimizer and would not train; "
                        f"give the optimizer engine.parameters()"
                    )
        self._forwards, self._stepped, self._before = 0, set(), []
        return True


def loss_scale(scaler: Any, device: str) -> float | None:
    """Return what the loop multiplies its loss by; None where it is fp16 and nobody has said."""
    if scaler is not None:
        return float(scaler.get_scale())
    fp16 = torch.is_autocast_enabled(device) and torch.get_autocast_dtype(device) == torch.float16
    return None if fp16 else 1.0


def devices(like: Tensor) -> list[torch.device]:
    """Return the accelerators whose random numbers a pass on such a tensor draws."""
    return [like.device] if like.device.type == "cuda" else []


def refuse(encoder: Encoder, methods: Sequence[Any]) -> None:
    """Refuse a network that a loop has made into one on which methods do something else than they say.

    Raises:
        UsageError: names the methods or the model, and what to do.
    """
    if not any(parameter.requires_grad for parameter in encoder.parameters()):
        raise UsageError("no parameter of the model is trainable; set requires_grad of those that are to train")
    for parameter in encoder.parameters():
        split = isinstance(parameter, DTensor) or hasattr(parameter, "_is_flat_param") or hasattr(parameter, "ds_id")
        if split and methods:
            raise UsageError(
                f"{', '.join(m.name for m in methods)}: not with FSDP, DeepSpeed or tensor parallelism, which split "
                f"parameters over processes; use DDP"
            )

    model, words = encoder.model, encoder.model.get_input_embeddings()
    name = type(model).__name__
    for path, part in model.named_modules():
        recompute = getattr(part, "_gradient_checkpointing_func", None)
        if getattr(part, "gradient_checkpointing", False) and _reentrant(recompute):
            raise UsageError(
                f"{name} recomputes its layers by reentrant checkpointing, which has no gradients for methods to take; "
                f"call model.gradient_checkpointing_enable({{'use_reentrant': False}})"
            )
        compiled = getattr(part, "_compiled_call_impl", None) is not None or type(part).__name__ == "OptimizedModule"
        if encoder.by_ids and compiled and any(words is inner for inner in part.modules()):
            raise UsageError(
                f"{path or name} is compiled with the word embeddings in it, where no perturbation can be put in their "
                f"place; compile its layers one by one, or not at all"
            )
    exact = [method.name for method in methods if method.full_precision]
    if exact and encoder.by_ids and model.dtype in (torch.float16, torch.bfloat16):
        raise UsageError(
            f"{', '.join(exact)}: not with {name} in {str(model.dtype).removeprefix('torch.')}, whose rounding is "
            f"larger than the change of the logits that counts; load the model in float32, and use autocast"
        )


def _reentrant(recompute: Any) -> bool:
    """Return whether a function of torch's checkpointing is not told to do without autograd's reentrance."""
    return isinstance(recompute, partial) and recompute.keywords.get("use_reentrant") is not False


def _some(engine: Any) -> list[Tensor]:
    """Return one entry of each trainable parameter."""
    real = engine.encoder.weights.real.values()
    return [p.detach().flatten()[:1].clone() for p in real if p.requires_grad]


def tell_of_a_head(encoder: Encoder) -> None:
    """Warn that a model of one's own has a head beside it, which its own `save_pretrained` knows nothing of."""
    if encoder.by_ids and encoder.head is not None:
        rank_zero_warn("a method has put a head of its own on the model: save engine.method_state() beside the model")


def checked(seed: Any, total_steps: Any) -> int:
    """Return the seed as a plain integer.

    Raises:
        UsageError: one of the options is out of range.
    """
    if total_steps is not None and (type(total_steps) is not int or total_steps < 1):
        raise UsageError(f"total_steps is {total_steps!r}; give the number of optimizer steps, 1 or more")
    try:
        return whole(seed, "seed")
    except DataError as error:
        raise UsageError(str(error)) from None
