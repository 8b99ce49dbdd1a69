"""The encoder is the Hugging Face model behind one interface: it makes logits from embeddings.

Plain means the architecture's own sequence-classification model and head, unchanged. Only an owner of `Slot.POOLER`
puts a head of its own in `head`.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

import torch
from jaxtyping import Float, Int
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn

from ftreg.encoder.agreement import try_given
from ftreg.encoder.architecture import at_rest, example, observe
from ftreg.encoder.given import NOWHERE, Replaced, classes, source, takes, unwrapped
from ftreg.encoder.heads import Policy
from ftreg.encoder.hooks import shifted, substituted, watched
from ftreg.encoder.loading import pretrained
from ftreg.encoder.noise import seeded, stream_seed
from ftreg.encoder.packing import Layout, Packing, supported
from ftreg.encoder.reach import freeze_unreached, try_out
from ftreg.encoder.recomputing import recompute
from ftreg.encoder.start import Start
from ftreg.encoder.transformers_internals import draw
from ftreg.encoder.weights import Weights
from glue_tasks.kinds import Kind


class Encoder(nn.Module):
    """A model with a head as the methods see it.

    Args:
        backbone: `demo`, `tiny`, a folder or a Hub id.
        labels: class names in id order; empty for regression.
        seed: of the weights that no checkpoint provides.
        attention: the attention implementation, `eager` or `sdpa`; of several, the first that the architecture has.
        packing: lay a batch's sentences end to end where that is exact for the architecture.
        gradient_checkpointing: recompute layers in the backward instead of keeping their activations.
        head: whether the head of a fine-tuned backbone is kept, its classes put into the order of `labels` by name.
        kind: of the task; None for a class, or a score where there are no labels.

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
        kind: Kind | None = None,
    ) -> None:
        super().__init__()
        model, names, notes = pretrained(backbone, labels, seed, attention, head, kind)
        self._hold(model, backbone, seed, packing)
        self.labels, self.notes = tuple(labels), notes
        again = partial(Encoder, backbone, labels, seed, head=head, kind=kind)
        self.start = Start(self, names, self.in_head, lambda: dict(again().named_parameters()))
        try_out(self, self.architecture)
        if gradient_checkpointing:
            if self.model.supports_gradient_checkpointing:
                self.model.gradient_checkpointing_enable({"use_reentrant": False})
            else:
                recompute(self.architecture.layered("model.gradient_checkpointing").layers)

    @classmethod
    def of(
        cls,
        model: Any,
        seed: int = 0,
        packing: bool = False,
        answer: Callable[[Any], Tensor] | None = None,
        choices: bool = False,
    ) -> "Encoder":
        """Return a model that somebody else has built as the methods see it; its weights are the start.

        Args:
            model: a transformers model with a head, or one that PEFT has wrapped.
            seed: of the weights that methods add.
            packing: as of the class.
            answer: reads what is judged off the model's output; its logits, if left out.
            choices: whether a row of tokens is [choices, tokens].

        Raises:
            UsageError: the model is of another kind, or cannot run on perturbed word embeddings.
        """
        self = cls.__new__(cls)
        nn.Module.__init__(self)
        inner = unwrapped(model)
        self._hold(inner, source(inner), seed, packing)
        self.labels, self.notes, self.by_ids = classes(inner.config), (), True
        self.answer = _logits if answer is None else answer
        self.takes, self.choices = takes(inner), choices
        self.start = Start(self, frozenset(name for name, _ in self.named_parameters()), self.in_head)
        self.one_answer = try_given(self, model, (2, 2) if choices else (2,)).ndim == 2 and not choices
        return self

    def _hold(self, model: Any, backbone: str, seed: int, packing: bool) -> None:
        self.backbone, self.seed = backbone, seed
        self.head: nn.Module | None = None
        self.model = model
        self.parts = nn.ModuleDict()
        """What methods have added, by their names: saved, trained and counted as the head is."""
        self.by_ids = False
        """Whether the model is given token ids, and its word embeddings put in place of those that it looks up: it then
        does with them all that it does without us."""
        self.takes: frozenset[str] = frozenset()
        """What else a model that is run by its tokens takes."""
        self.choices, self.one_answer = False, True
        """Whether a row is [choices, tokens], and whether its answer is one for all of its tokens together."""
        self.answer: Callable[[Any], Tensor] = _logits
        """Reads what is judged off the model's output; see `Criterion.answer`."""
        self.architecture = observe(self.model, "" if backbone == NOWHERE else backbone)
        stack = self.architecture.stack
        self.packing = Packing(self.model, stack) if packing and stack and supported(self.model) else None
        self.features: Callable[[Mapping[str, Any]], Tensor | None] | None = None
        """Makes a batch's logits in a clean pass of training, while all below the head is frozen; see `Step.logits`."""

    @property
    def weights(self) -> Weights:
        """The weights that the forward uses, found once the structure is final."""
        if self._weights is None:
            self._weights = Weights(self)
        return self._weights

    def forget_weights(self) -> None:
        """Look for the network's parameters again, when they are next used: its structure has changed."""
        self._weights = None

    _weights: Weights | None = None

    def begin(self) -> None:
        """Hear that training starts; say what is not as the backbone's files have it, where it starts from those."""
        for note in self.notes if not self.start.passed else ():
            rank_zero_warn(f"backbone {self.backbone}: {note}")
        self.start.passed = True

    def embed(self, input_ids: Int[Tensor, "batch *choices tokens"]) -> Float[Tensor, "batch *choices tokens dim"]:
        """Look up word embeddings, before position, type and LayerNorm."""
        out: Tensor = self.model.get_input_embeddings()(input_ids)
        return out

    def forward(
        self,
        embeds: Float[Tensor, "batch *choices tokens dim"],
        mask: Int[Tensor, "batch *choices tokens"],
        token_types: Int[Tensor, "batch *choices tokens"] | None = None,
        lengths: Sequence[int] | None = None,
        offset: Float[Tensor, "batch *choices tokens hidden"] | None = None,
        ids: Int[Tensor, "batch *choices tokens"] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> Float[Tensor, "batch *answer"]:
        """Return what the criterion judges: logits [batch, classes], one column for regression, or as the head is.

        Args:
            embeds: word embeddings, maybe perturbed.
            mask: 1 on real tokens, which stand first in each row.
            token_types: segment ids, for architectures that have them.
            lengths: the real tokens per example, known on the host; packing needs them.
            offset: added to what the first layer takes, in its own width: position, type, LayerNorm, dropout and any
                projection come before.
            ids: the tokens, for a model that is run by them; see `by_ids`.
            more: what else the model takes.
        """
        inputs = self._inputs(embeds, mask, token_types, lengths, ids) | dict(more or {})
        with ExitStack() as hooks:
            if ids is not None:
                hooks.enter_context(substituted(self.model.get_input_embeddings(), embeds))
            if offset is not None:
                hooks.enter_context(shifted(self.architecture.entered("a perturbation"), offset))
            if self.head is None:
                return self.answer(self.model(**inputs))
            logits: Tensor = self.head(self._hidden_states(inputs, tuple(mask.shape)), mask)
            return logits

    def read_states(
        self,
        embeds: Float[Tensor, "batch tokens dim"],
        mask: Int[Tensor, "batch tokens"],
        token_types: Int[Tensor, "batch tokens"] | None = None,
        lengths: Sequence[int] | None = None,
        ids: Int[Tensor, "batch tokens"] | None = None,
        more: Mapping[str, Any] | None = None,
    ) -> tuple[Float[Tensor, "batch tokens hidden"], Float[Tensor, "batch *answer"]]:
        """Return the last hidden states and the answer, in one pass; arguments as of `forward`."""
        if self.head is not None:
            inputs = self._inputs(embeds, mask, token_types, lengths, ids) | dict(more or {})
            states = self._hidden_states(inputs, tuple(mask.shape))
            return states[-1], self.head(states, mask)
        with watched(self.model.base_model) as seen:
            answer: Tensor = self(embeds, mask, token_types, lengths, None, ids, more)
        return seen[-1], answer

    def _inputs(
        self,
        embeds: Tensor,
        mask: Tensor,
        token_types: Tensor | None,
        lengths: Sequence[int] | None,
        ids: Tensor | None = None,
    ) -> dict[str, Any]:
        """Return what the model is called with, once packing knows how this batch is laid out."""
        inputs: dict[str, Any] = {"inputs_embeds": embeds} if ids is None else {"input_ids": ids}
        inputs["attention_mask"] = mask
        if token_types is not None:
            inputs["token_type_ids"] = token_types
        layout = Layout(lengths, embeds.device) if self.packing and lengths else None
        if self.packing:
            self.packing.layout = layout if layout and layout.rows < len(embeds) else None
        return inputs

    @property
    def hidden_size(self) -> int:
        """Entries of a hidden state; word embeddings may have fewer."""
        return int(self.model.config.hidden_size)

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Switch dropout off, whatever the mode; the mode of every part is back afterwards."""
        training = [module for module in self.modules() if module.training]
        self.eval()
        try:
            yield
        finally:
            for module in training:
                module.training = True

    def _hidden_states(self, inputs: Mapping[str, Any], shape: tuple[int, ...]) -> tuple[Tensor, ...]:
        output = self.model.base_model(**inputs, output_hidden_states=True)
        # What the plain head reads: some architectures normalise once more, after the last of their hidden states.
        below, last = (output.hidden_states or ())[:-1], output.last_hidden_state
        layout = self.packing.layout if self.packing else None
        return (*(below if layout is None else (layout.unpack(state, (shape[0], shape[1])) for state in below)), last)

    def replace_head(self, head: nn.Module, user: str = "another head") -> None:
        """Let `head` make the logits: of all hidden states, embeddings first, each [batch, tokens, dim], and the mask.

        What it does not reach stays in the model, frozen, for DDP must not wait for its gradients: the plain head, and
        maybe the pooler, or layers at the top.

        Args:
            head: the new one.
            user: whose it is, for messages.

        Raises:
            UsageError: the architecture does not put out hidden states after each layer.
        """
        depth = len(self.architecture.layered(user).layers)
        if not self.one_answer:
            raise self.architecture.refusal(user, "its answer is one for each token or choice, not one for a text")
        with torch.enable_grad(), at_rest(self), at_rest(head.to(next(self.model.parameters()).dtype)):
            embeds, mask = example(self.model).values()
            states = self._hidden_states(self._inputs(embeds, mask, None, None), tuple(mask.shape))
            if len(states) != depth + 1 or any(state.shape != states[-1].shape for state in states):
                raise self.architecture.refusal(
                    user, f"it puts out {len(states)} hidden states of {depth} layers, or not of one size"
                )
            logits = head(states, mask)
        self.head = head
        if self.by_ids:
            self.model.forward = Replaced(self.model, user)
        freeze_unreached(logits, (p for name, p in self.named_parameters() if not name.startswith("parts.")))

    @property
    def pooler(self) -> nn.Module | None:
        """The pre-trained part that makes one vector of hidden states, if there is one; see `Architecture.pooling`."""
        pooling = self.architecture.pooling
        return None if pooling is None else pooling.modules[0]

    def in_head(self, path: str) -> bool:
        """Return whether a parameter or module belongs to the head: what the pre-trained model does not have."""
        return not f"{path}.".startswith(f"model.{self.model.base_model_prefix}.")

    def anchored(self, name: str) -> bool:
        """Return whether a parameter has a pre-trained value to stay near: not the head, not added or drawn afresh."""
        return self.start.anchored(name)

    def reinitialise(self, module: nn.Module) -> None:
        """Draw a part's weights afresh, as the architecture initialises them, and forget their pre-trained values.

        Does nothing once training has begun, so that `attach` may call it again.
        """
        inside = {id(parameter) for parameter in module.parameters()}
        names = [name for name, parameter in self.named_parameters() if id(parameter) in inside]
        if not self.start.passed and not self.start.pretrained.isdisjoint(names):
            with seeded(stream_seed(self.seed, "reinitialise", *names)):
                draw(self.model, module)
        self.start.redraw(frozenset(names))


def _logits(output: Any) -> Tensor:
    return output.logits  # type: ignore[no-any-return]
