"""A model is watched while it runs, which shows what it is made of: layers, where they are entered, the pooler.

Architectures name and nest their parts differently: `encoder.layer`, `transformer.layer`, `layers`, one layer that runs
twelve times. Their passes are alike, so a short one is watched: which modules are called, in which order, on what.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from ftreg._base.errors import UsageError

TOKENS = 4
"""The tokens of the one example that is watched."""


class Pooling:
    """A pooling is the pre-trained part that makes one vector of hidden states [batch, tokens, dim].

    Args:
        first: whether it is called on the first token's hidden state in place of all of them.
        modules: the pooler, and what follows it: some keep its activation apart.
    """

    def __init__(self, first: bool, modules: tuple[nn.Module, ...]) -> None:
        self.first, self.modules = first, modules

    def __call__(self, hidden: Tensor) -> Tensor:
        out = hidden[:, 0] if self.first else hidden
        for module in self.modules:
            out = module(out)
        return out


@dataclass(frozen=True)
class Architecture:
    """An architecture names the parts of a model below its head.

    Args:
        name: of the backbone and its class, for messages.
        layers: lowest first, in the order in which they run; a shared one once for each time.
        stack: the module that owns them.
        entrance: the module whose output is the first layer's input; the model itself, where that is its word
            embeddings; None where no module makes it.
        width: entries of that input.
        pooling: the pre-trained pooler, if there is one.
        where: the layer, from 0, that a module belongs to, by path: in which it runs, or after which. Modules that run
            before the layers have none.
        unknown: why no layers were found; empty where they were.
    """

    name: str
    layers: tuple[nn.Module, ...] = ()
    stack: nn.Module | None = None
    entrance: nn.Module | None = None
    width: int = 0
    pooling: Pooling | None = None
    where: Mapping[str, int] = field(default_factory=dict)
    unknown: str = ""

    def layered(self, user: str) -> "Architecture":
        """Return this architecture to `user`, which needs its layers.

        Raises:
            UsageError: names the user, the backbone and why no layers were found.
        """
        if not self.layers:
            raise self.refusal(user, self.unknown)
        return self

    def entered(self, user: str) -> nn.Module:
        """Return the entrance to `user`, which adds something there.

        Raises:
            UsageError: there is none.
        """
        entrance = self.layered(user).entrance
        if entrance is None:
            raise self.refusal(user, "what its first layer takes is no module's output, so nothing can be added there")
        return entrance

    def refusal(self, user: str, reason: str) -> UsageError:
        """Return what to raise where the model cannot serve `user`: a method, or an option."""
        return UsageError(f"{user}: not with {self.name}: {reason}")


@dataclass
class _Call:
    """A call of a module has when it began and ended, what it took and what it gave."""

    module: nn.Module
    begin: int
    taken: Tensor | None
    end: int = 0
    given: Tensor | None = None


def observe(model: Any, backbone: str = "") -> Architecture:
    """Find out what a Hugging Face model is made of, without a random number drawn or a hook left behind."""
    base: nn.Module = model.base_model
    kind = type(model).__name__
    name = f"backbone {backbone} ({kind})" if backbone else kind
    try:
        with torch.no_grad(), at_rest(base):
            inputs = example(model)
            with _watched(base) as calls:
                output = base(**inputs)
    except Exception as error:  # whatever an architecture raises that takes no word embeddings
        return Architecture(name, unknown=f"it cannot run on word embeddings alone ({one_line(error)})")
    pooling = _pooling(base, calls, getattr(output, "pooler_output", None))
    found = _layers(base, calls)
    if tuple(output[0].shape[:2]) != (1, TOKENS):
        return Architecture(name, unknown="its last hidden states are not one for each token")
    if len(found) != 1:
        return Architecture(name, pooling=pooling, unknown=_several(list(found)))
    ((path, running),) = found.items()
    start = running[0].taken
    # Of the modules that hand one tensor on, one that holds another ends after it.
    entering = [call for call in calls if call.end < running[0].begin and call.given is start]
    entrance = max(entering, key=lambda call: call.end).module if entering else None
    return Architecture(
        name,
        layers=tuple(call.module for call in running),
        stack=base.get_submodule(path.rpartition(".")[0]),
        entrance=base if start is inputs["inputs_embeds"] else entrance,
        width=0 if start is None else start.shape[-1],
        pooling=pooling,
        where=_where(base, calls, running),
    )


def example(model: Any) -> dict[str, Tensor]:
    """Return one sentence of a few tokens, as word embeddings and their mask."""
    words = model.get_input_embeddings()
    device = next(words.parameters()).device
    ids = torch.arange(TOKENS, device=device).unsqueeze(0)
    return {"inputs_embeds": words(ids), "attention_mask": torch.ones_like(ids)}


@contextmanager
def at_rest(root: nn.Module) -> Iterator[None]:
    """Switch off dropout, compilation and the caller's random numbers; every part's mode is back afterwards."""
    modes = [(module, module.training) for module in root.modules()]
    root.eval()
    try:
        with torch.random.fork_rng(), torch.compiler.set_stance("force_eager"):
            yield
    finally:
        for module, mode in modes:
            module.training = mode


def is_random(model: Any) -> bool:
    """Return whether what is below a model's head draws random numbers in training."""
    with torch.no_grad(), at_rest(model):
        inputs, states = example(model), []
        model.train()
        for seed in range(2):
            torch.manual_seed(seed)
            states.append(model.base_model(**inputs)[0])
    return not torch.equal(*states)


@contextmanager
def _watched(base: nn.Module) -> Iterator[list[_Call]]:
    """Record the calls of every module, in the order in which they begin."""
    calls: list[_Call] = []
    running: list[_Call] = []
    clock = iter(range(10**9))

    def before(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        call = _Call(module, next(clock), _tensor((*args, *kwargs.values())))
        calls.append(call)
        running.append(call)

    def after(module: nn.Module, args: Any, output: Any) -> None:
        call = running.pop()
        call.end, call.given = next(clock), _tensor(output)

    handles = [module.register_forward_pre_hook(before, with_kwargs=True) for module in base.modules()]
    handles += [module.register_forward_hook(after) for module in base.modules()]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def _layers(base: nn.Module, calls: list[_Call]) -> dict[str, list[_Call]]:
    """Return, by its path, the calls of each outermost list whose members take and give [batch, tokens, width]."""
    found: dict[str, list[_Call]] = {}
    for path, module in base.named_modules():
        inside = any(path.startswith(f"{outer}.") for outer in found)
        if not isinstance(module, nn.ModuleList) or inside:
            continue
        members = {id(member) for member in module if any(True for _ in member.parameters())}
        running = [call for call in calls if id(call.module) in members]
        shapes = {None if x is None else tuple(x.shape) for call in running for x in (call.taken, call.given)}
        if len(shapes) == 1 and (shape := shapes.pop()) and len(shape) == 3 and shape[:2] == (1, TOKENS):
            found[path] = running
    return found


def _pooling(base: Any, calls: list[_Call], pooled: Any) -> Pooling | None:
    """Return what makes `pooled`: the module that is named for it, and those that follow."""
    pooler = getattr(base, "pooler", None)
    place = next((place for place, call in enumerate(calls) if call.module is pooler), None)
    if place is None or pooled is None or calls[place].taken is None:
        return None
    modules, out = [calls[place].module], calls[place].given
    for call in calls[place + 1 :]:
        if call.begin > calls[place].end and call.taken is out:
            modules.append(call.module)
            out = call.given
    taken = calls[place].taken
    return Pooling(taken is not None and taken.ndim == 2, tuple(modules)) if out is pooled else None


def _several(paths: list[str]) -> str:
    if paths:
        return f"it has {len(paths)} lists of layers side by side ({', '.join(paths)})"
    return "it has no list of layers that take and give [batch, tokens, width]"


def _where(base: nn.Module, calls: list[_Call], running: list[_Call]) -> dict[str, int]:
    """Return the layer that each module first runs in, or after; see `Architecture.where`."""
    first: dict[int, int] = {}
    for call in calls:
        first.setdefault(id(call.module), sum(layer.begin <= call.begin for layer in running) - 1)
    places = dict[str, int]()
    for path, module in base.named_modules():  # parents first
        # What is never called, such as a dictionary of parameters, is where its owner is.
        places[path] = first.get(id(module), places.get(path.rpartition(".")[0], -1))
    return {path: place for path, place in places.items() if place >= 0}


def _tensor(value: Any) -> Tensor | None:
    """Return the first tensor of real numbers in what a module took or gave."""
    if isinstance(value, Tensor):
        return value if value.is_floating_point() else None
    values = value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    return next((item for item in map(_tensor, values) if item is not None), None)


def one_line(error: Exception) -> str:
    """Return what an architecture complains of, short."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
