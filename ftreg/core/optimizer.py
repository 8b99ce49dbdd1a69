"""The recipe's optimizer is AdamW with bias correction, decoupled decay, linear warm-up and linear decay.

The strong baseline of Zhang et al. (ICLR 2021) and Mosbach et al. (ICLR 2021). Biases and LayerNorm never decay.
Towards an anchor, decay is θ ← θ − η·w·(θ − θ₀) instead of θ ← θ − η·w·θ (Li et al., ICML 2018, made decoupled).
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import torch
from torch import Tensor

from ftreg._base.checks import at_least, typed
from ftreg._base.errors import UsageError
from ftreg.core.engine import Engine
from ftreg.encoder.encoder import Encoder


def adamw(
    network: Engine | Encoder,
    lr: float,
    weight_decay: float = 0.01,
    decay_towards: Literal["zero", "anchor"] = "zero",
    fused: bool = True,
    rates: Mapping[str, float] | None = None,
) -> "AdamW":
    """Return the optimizer of all that trains; build it before the training begins.

    Args:
        network: an engine, whose methods give what they have added its learning rates, or an encoder.
        lr: peak learning rate.
        weight_decay: w, per unit of learning rate; not of biases and LayerNorm.
        decay_towards: zero, or the anchor: the pre-trained value, or what a method has put in its place.
        fused: off where the loop's own unscaling would forbid clipping (fp16 under Lightning).
        rates: other peak learning rates, by the encoder's names of parameters.

    Raises:
        UsageError: an option is out of range, or it is no engine.
    """
    typed("adamw", adamw, {"lr": lr, "weight_decay": weight_decay, "decay_towards": decay_towards, "fused": fused})
    at_least("adamw", 0, lr=lr, weight_decay=weight_decay)
    if not isinstance(network, Engine | Encoder):
        raise UsageError(f"adamw: a {type(network).__name__} is no ftreg.Engine; give the engine, before it is wrapped")
    encoder = network.encoder if isinstance(network, Engine) else network
    methods = network.methods if isinstance(network, Engine) else []
    own = {name: rate for method in methods for name, rate in method.learning_rates(encoder).items()}
    rates = own | dict(rates or {})
    named = {name: p for name, p in encoder.named_parameters() if p.requires_grad}
    anchors = anchors_of(encoder, named) if decay_towards == "anchor" and weight_decay else {}
    trained = {name: rate for name, rate in rates.items() if name in named}  # an objective may have frozen the head
    return AdamW(named, anchors, lr, weight_decay, fused, trained)


def anchors_of(encoder: Encoder, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Have the encoder keep, and give, the anchor of each of these parameters that decays towards one."""
    return {name: encoder.start.value(name) for name, p in named.items() if p.ndim >= 2 and encoder.anchored(name)}


def clip(params: Sequence[Tensor], value: float, algorithm: str) -> Tensor:
    """Clip the gradients of `params` in place; returns their global norm before.

    Args:
        params: those that have a gradient.
        value: the largest global norm, or entry; 0 for none.
        algorithm: `norm` or `value`.
    """
    norm = torch.nn.utils.get_total_norm([p.grad for p in params if p.grad is not None])
    if value and algorithm == "value":
        torch.nn.utils.clip_grad_value_(params, value)
    elif value:
        torch.nn.utils.clip_grads_with_norm_(params, value, norm)
    return norm


class AdamW(torch.optim.AdamW):
    """This is `torch.optim.AdamW`, fused, with decoupled decay towards zero or towards anchors.

    Args:
        named: parameters by name; those with fewer than two dimensions (biases, LayerNorm) do not decay.
        anchors: where a decaying parameter is pulled, by name; towards zero if not listed.
        lr: peak learning rate.
        weight_decay: w, per unit of learning rate.
        fused: off where the optimizer's own unscaling would forbid clipping (fp16).
        rates: other peak learning rates, by name; what has one does not decay.
    """

    def __init__(
        self,
        named: Mapping[str, Tensor],
        anchors: Mapping[str, Tensor],
        lr: float,
        weight_decay: float,
        fused: bool = True,
        rates: Mapping[str, float] | None = None,
    ) -> None:
        rates = rates or {}
        own = [{"params": [named[name]], "weight_decay": 0.0, "lr": rate} for name, rate in rates.items()]
        named = {name: p for name, p in named.items() if name not in rates}
        pulled = {name: p for name, p in named.items() if name in anchors and p.ndim >= 2}
        decayed = [p for name, p in named.items() if name not in pulled and p.ndim >= 2]
        kept = [p for p in named.values() if p.ndim < 2]
        groups: list[dict[str, Any]] = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": kept, "weight_decay": 0.0},
            {"params": list(pulled.values()), "weight_decay": 0.0, "pull": weight_decay},
            *own,
        ]
        self._anchors = {p: anchors[name].to(p) for name, p in pulled.items()}
        super().__init__([group for group in groups if group["params"]], lr=lr, fused=fused)

    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """Run the closure, pull, then update. The pull comes after the closure: gradients are of the unpulled θ."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        with torch.no_grad():
            for group in self.param_groups:
                if group.get("pull"):
                    for p in group["params"]:
                        if p.grad is not None:
                            p.lerp_(self._anchors[p], group["lr"] * group["pull"])
        super().step()
        return loss
