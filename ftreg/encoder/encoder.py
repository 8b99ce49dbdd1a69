"""The Hugging Face model behind one interface: logits from embeddings.

Plain means the architecture's own sequence-classification model and head, unchanged. Only an owner of `Slot.POOLER`
puts a head of its own in `head`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from typing import Any, Literal

import torch
import torch._functorch.config as functorch_config
from jaxtyping import Float, Int
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from ftreg._base.errors import UsageError
from ftreg.encoder.architecture import at_rest, example, observe
from ftreg.encoder.heads import Policy
from ftreg.encoder.hooks import shifted, watched
from ftreg.encoder.loading import draw, pretrained
from ftreg.encoder.noise import seeded, stream_seed
from ftreg.encoder.packing import Packing, Plan, supported
from ftreg.encoder.reach import freeze_unreached, try_out
from ftreg.encoder.recomputing import recompute


class Encoder(nn.Module):
    """A sequence-classification model as the methods see it.

    Args:
        backbone: `demo`, `tiny`, a folder or a Hub id.
        labels: class names in id order; empty for regression.
        seed: of the weights that no checkpoint provides.
        attention: the attention implementation, `eager` or `sdpa`; of several, the first that the architecture has.
        packing: lay a batch's sentences end to end where that is exact for the architecture.
        gradient_checkpointing: recompute layers in the backward instead of keeping their activations.
        head: whether the head of a fine-tuned backbone is kept, its classes put into the order of `labels` by name.

    Raises:
        UsageError: the backbone cannot be had or used; see `pretrained`.
    """

    def __init__(
        self,
        backbone: str,
        labels: Sequence[str],
        seed: int = 0,
        attention: str | Sequence[str] = ("eager", "sdpa"),
        packing: bool = True,
        gradient_checkpointing: bool = False,
        head: Policy = "new",
    ) -> None:
        super().__init__()
        self.backbone = backbone
        self.labels = tuple(labels)
        self.seed, self.head_policy = seed, head
        self.head: nn.Module | None = None
        self.model, self.pretrained, self.notes = pretrained(backbone, labels, seed, attention, head)
        self.parts = nn.ModuleDict()
        """What methods have added, by their names: saved, trained and counted as the head is."""
        self.architecture = observe(self.model, backbone)
        stack = self.architecture.stack
        self.packing = Packing(self.model, stack) if packing and stack and supported(self.model) else None
        self.pristine = True
        self.redrawn: frozenset[str] = frozenset()
        """Parameters of the pre-trained model that a method has drawn afresh."""
        self.features: Callable[[Mapping[str, Any]], Tensor | None] | None = None
        """Makes a batch's logits in a clean pass of training, while all below the head is frozen; see `Step.logits`."""
        self._anchors: dict[str, Tensor] = {}
        self._loaded: dict[str, Tensor] = {}
        """What `load` has put in place of the backbone's values, as the start."""
        try_out(self, self.architecture)
        if gradient_checkpointing:
            if self.model.supports_gradient_checkpointing:
                self.model.gradient_checkpointing_enable({"use_reentrant": False})
            else:
                recompute(self.architecture.layered("model.gradient_checkpointing").layers)

    def begin(self) -> None:
        """Training starts; from the backbone's weights, what is not as its files have it is told."""
        for note in self.notes if self.pristine else ():
            rank_zero_warn(f"backbone {self.backbone}: {note}")
        self.pristine = False

    def embed(self, input_ids: Int[Tensor, "batch tokens"]) -> Float[Tensor, "batch tokens dim"]:
        """Word embeddings, before position, type and LayerNorm."""
        out: Tensor = self.model.get_input_embeddings()(input_ids)
        return out

    def forward(
        self,
        embeds: Float[Tensor, "batch tokens dim"],
        mask: Int[Tensor, "batch tokens"],
        token_types: Int[Tensor, "batch tokens"] | None = None,
        lengths: Sequence[int] | None = None,
        offset: Float[Tensor, "batch tokens hidden"] | None = None,
    ) -> Float[Tensor, "batch classes"]:
        """Logits; one column for regression.

        Args:
            embeds: word embeddings, maybe perturbed.
            mask: 1 on real tokens, which stand first in each row.
            token_types: segment ids, for architectures that have them.
            lengths: the real tokens per example, known on the host; packing needs them.
            offset: added to what the first layer takes, in its own width: position, type, LayerNorm, dropout and any
                projection come before.
        """
        inputs = self._inputs(embeds, mask, token_types, lengths)
        with shifted(self.architecture.entered("a perturbation"), offset) if offset is not None else nullcontext():
            if self.head is None:
                logits: Tensor = self.model(**inputs).logits
            else:
                logits = self.head(self._hidden_states(inputs, tuple(mask.shape)), mask)
        return logits

    def read(
        self,
        embeds: Float[Tensor, "batch tokens dim"],
        mask: Int[Tensor, "batch tokens"],
        token_types: Int[Tensor, "batch tokens"] | None = None,
        lengths: Sequence[int] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens hidden"], Float[Tensor, "batch classes"]]:
        """The last hidden states and the head's logits, in one pass; arguments as of `forward`."""
        inputs = self._inputs(embeds, mask, token_types, lengths)
        if self.head is not None:
            states = self._hidden_states(inputs, tuple(mask.shape))
            return states[-1], self.head(states, mask)
        with watched(self.model.base_model) as seen:
            logits = self.model(**inputs).logits
        return seen[-1], logits

    def _inputs(
        self, embeds: Tensor, mask: Tensor, token_types: Tensor | None, lengths: Sequence[int] | None
    ) -> dict[str, Any]:
        """What the model is called with, once packing knows how this batch is laid out."""
        inputs: dict[str, Any] = {"inputs_embeds": embeds, "attention_mask": mask}
        if token_types is not None:
            inputs["token_type_ids"] = token_types
        plan = Plan(lengths, embeds.device) if self.packing and lengths else None
        if self.packing:
            self.packing.plan = plan if plan and plan.rows < len(embeds) else None
        return inputs

    @property
    def hidden_size(self) -> int:
        """Entries of a hidden state; word embeddings may have fewer."""
        return int(self.model.config.hidden_size)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Without dropout, whatever the mode; the mode of every part is back afterwards."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def compile_layers(self) -> None:
        """Compile every layer with `torch.compile`; names of parameters stay.

        Layer by layer, because one graph then serves them all, and because packing happens between them.
        """
        # A method may ask a pass for its gradients more than once.
        functorch_config.donated_buffer = False
        for layer in dict.fromkeys(self.architecture.layered("model.compile").layers):
            layer.compile(dynamic=True)

    def _hidden_states(self, inputs: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Tensor, ...]:
        output = self.model.base_model(**inputs, output_hidden_states=True)
        # What the plain head reads: some architectures normalise once more, after the last of their hidden states.
        below, last = (output.hidden_states or ())[:-1], output.last_hidden_state
        plan = self.packing.plan if self.packing else None
        return (*(below if plan is None else (plan.unpack(state, (shape[0], shape[1])) for state in below)), last)

    def replace_head(self, head: nn.Module, user: str = "another head") -> None:
        """Let `head` make the logits: of all hidden states, embeddings first, each [batch, tokens, dim], and the mask.

        What it does not reach stays in the model, frozen, for DDP must not wait for its gradients: the plain head, and
        maybe the pooler, or layers at the top.

        Args:
            head: the new one.
            user: whose it is, for complaints.

        Raises:
            UsageError: the architecture does not put out hidden states after each layer.
        """
        depth = len(self.architecture.layered(user).layers)
        with torch.enable_grad(), at_rest(self), at_rest(head):
            embeds, mask = example(self.model).values()
            states = self._hidden_states(self._inputs(embeds, mask, None, None), tuple(mask.shape))
            if len(states) != depth + 1 or any(state.shape != states[-1].shape for state in states):
                raise self.architecture.refusal(
                    user, f"it puts out {len(states)} hidden states of {depth} layers, or not of one size"
                )
            logits = head(states, mask)
        self.head = head
        freeze_unreached(logits, (p for name, p in self.named_parameters() if not name.startswith("parts.")))

    @property
    def pooler(self) -> nn.Module | None:
        """The pre-trained part that makes one vector of hidden states, if there is one; see `Architecture.pooling`."""
        pooling = self.architecture.pooling
        return None if pooling is None else pooling.modules[0]

    def linears(self) -> Iterator[tuple[str, nn.Linear]]:
        """Every Linear of the encoder and its head, by the name of its weight."""
        own = dict(self.named_parameters())
        for path, module in self.named_modules():
            # Not the output matrix of a decoder, which is the word embeddings.
            if isinstance(module, nn.Linear) and f"{path}.weight" in own:
                yield f"{path}.weight", module

    def in_head(self, path: str) -> bool:
        """Whether a parameter or module belongs to the head: what the pre-trained model does not have."""
        return not f"{path}.".startswith(f"model.{self.model.base_model_prefix}.")

    def anchored(self, name: str) -> bool:
        """Whether the parameter has a pre-trained value to stay near: not the head, not added or drawn afresh."""
        return name in self.pretrained and not self.in_head(name)

    def anchor(self, name: str, keep: bool = True) -> Tensor:
        """The value that the parameter starts from, for methods that pull towards it; see `load`.

        Args:
            name: of the parameter.
            keep: whether the encoder holds on to it; where it does not, it may be the parameter's own memory.
        """
        if name not in self._anchors:
            if self.pristine and not keep:
                return self.get_parameter(name).detach()
            if self.pristine:
                self._anchors[name] = self.get_parameter(name).detach().clone()
            else:
                backbone = Encoder(self.backbone, self.labels, self.seed, head=self.head_policy)
                start = {key: p.detach() for key, p in backbone.named_parameters()} | self._loaded
                # In the precision in which training started, so that it means the same as before a resumption.
                like = dict(self.named_parameters())
                self._anchors = {key: start[key].to(like[key].dtype) for key in start if key in like} | self._anchors
        return self._anchors[name]

    def load(self, values: Mapping[str, Tensor], anchor: Literal["pretrained", "intermediate"]) -> None:
        """Start from other weights than the backbone's.

        Does nothing once training has begun, so that `start` may call it again.

        Args:
            values: by parameter's name.
            anchor: whether `anchor` gives the backbone's values or these.
        """
        if not self.pristine:
            return
        for name, value in values.items():
            if anchor == "pretrained" and self.anchored(name):
                self.anchor(name)
            elif anchor == "intermediate":
                self._anchors.pop(name, None)  # asked for before this start was
                self._loaded[name] = value
            with torch.no_grad():
                self.get_parameter(name).copy_(value)

    def values_of(self, backbone: str, names: Sequence[str]) -> dict[str, Tensor]:
        """The named parameters' values in another backbone of the same architecture.

        Raises:
            UsageError: a parameter is missing there, or has another shape.
        """
        other = Encoder(backbone, self.labels, self.seed, head="keep" if any(map(self.in_head, names)) else "new")
        values = {name: parameter.detach() for name, parameter in other.named_parameters() if name in other.pretrained}
        for name in names:
            if name not in values or values[name].shape != self.get_parameter(name).shape:
                raise UsageError(f"backbone {backbone} has no {name} of shape {list(self.get_parameter(name).shape)}")
        return {name: values[name] for name in names}

    def reinitialise(self, module: nn.Module) -> None:
        """Draw a part's weights afresh, as the architecture initialises them, and forget their pre-trained values.

        Does nothing once training has begun, so that `attach` may call it again.
        """
        inside = {id(parameter) for parameter in module.parameters()}
        names = [name for name, parameter in self.named_parameters() if id(parameter) in inside]
        if self.pristine and not self.pretrained.isdisjoint(names):
            with seeded(stream_seed(self.seed, "reinitialise", *names)):
                draw(self.model, module)
        self.pretrained -= frozenset(names)
        self.redrawn |= frozenset(names)
