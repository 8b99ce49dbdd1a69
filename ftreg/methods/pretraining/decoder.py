"""A decoder turns hidden states into tokens: it is an architecture's own masked-language-model head."""

from typing import Any

import torch
from jaxtyping import Float
from pytorch_lightning.utilities import rank_zero_warn
from torch import Tensor, nn
from transformers import MODEL_FOR_MASKED_LM_MAPPING, AutoModelForMaskedLM
from transformers.modeling_outputs import BaseModelOutput

from ftreg.encoder.architecture import at_rest, example, one_line
from ftreg.encoder.backbone import resolve
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.loading import configuration, drawn, load_model, quietly, telling
from ftreg.encoder.noise import seeded, stream_seed


class Decoder(nn.Module):
    """A decoder is a masked-language-model head, whose output matrix is the word embeddings where those are tied.

    Args:
        model: an architecture's own masked language model, whose encoder is taken out.
        words: the word embeddings to tie to.
    """

    def __init__(self, model: Any, words: nn.Module) -> None:
        super().__init__()
        base = _Passed()
        output = model.get_output_embeddings()
        if output is not None and output.weight.shape == words.weight.shape:
            if getattr(model.config, "tie_word_embeddings", True):
                output.weight = words.weight
        else:
            # DeBERTa-v3's head multiplies by what it finds there.
            holder = nn.Module()
            holder.word_embeddings = words
            base.embeddings = holder
        setattr(model, model.base_model_prefix, base)
        self.model = model

    def forward(self, hidden: Float[Tensor, "k hidden"]) -> Float[Tensor, "k vocabulary"]:
        """Compute the logits of the hidden states at the places to predict."""
        out: Tensor = self.model(inputs_embeds=hidden.unsqueeze(0)).logits
        return out.squeeze(0)


class _Passed(nn.Module):
    """This module stands where the encoder was, and hands on what it is given."""

    def forward(self, *args: Any, inputs_embeds: Tensor, **kwargs: Any) -> BaseModelOutput:
        return BaseModelOutput(last_hidden_state=inputs_embeds)


def decoder(encoder: Encoder, name: str) -> Decoder:
    """Load the backbone's own head, in training mode; a fresh one, with a warning, where the backbone has none.

    Args:
        encoder: whose word embeddings it is tied to.
        name: of the method, for its stream and in the warning.

    Raises:
        UsageError: the architecture has no masked language model, or one that does not stand on hidden states.
    """
    if type(encoder.model.config) not in MODEL_FOR_MASKED_LM_MAPPING:
        raise encoder.architecture.refusal(name, "there is no masked language model of that architecture")
    with telling(encoder.backbone, f"{name}: no masked language model can be made of it"):
        backbone = resolve(encoder.backbone)
        _, config = configuration(backbone)
        with seeded(stream_seed(encoder.seed, name)), quietly():
            if backbone.pretrained:
                loaded = load_model(AutoModelForMaskedLM, backbone, config)
            else:
                loaded = drawn(AutoModelForMaskedLM, config)
    model = loaded.model
    for key, parameter in model.named_parameters():
        # transformers leaves the one of some architectures (FNet, data2vec) undrawn: whatever the memory held.
        if key in loaded.fresh and key.endswith("bias"):
            nn.init.zeros_(parameter)
    # The one that a checkpoint holds is loaded later, over this one.
    if not encoder.start.passed and any(not key.startswith(f"{model.base_model_prefix}.") for key in loaded.fresh):
        rank_zero_warn(
            f"{name}: backbone {encoder.backbone} has no head for masked tokens; it starts from a fresh one, "
            f"tied to its word embeddings"
        )
    words = encoder.model.get_input_embeddings()
    made = Decoder(model, words).train()
    try:
        with torch.no_grad(), at_rest(encoder), at_rest(made):
            embeds, mask = example(encoder.model).values()
            hidden, _ = encoder.read_states(embeds, mask)
            shapes = tuple(hidden.shape[:2]), tuple(made(hidden[0]).shape)
    except Exception as error:  # whatever an architecture raises that is put together in another way
        raise encoder.architecture.refusal(
            name, f"its head for masked tokens cannot be had alone ({one_line(error)})"
        ) from error
    if shapes != (tuple(mask.shape), (mask.shape[1], len(words.weight))):
        raise encoder.architecture.refusal(
            name, "it has no hidden state for each token, or its head does not guess its tokens"
        )
    return made


def freeze_unread(encoder: Encoder) -> None:
    """Freeze what nothing reaches that reads hidden states alone: DDP must not wait for its gradients.

    These are the task's head and the pooler; not what methods have added.
    """
    pooler = f"model.{encoder.model.base_model_prefix}.pooler."
    for name, parameter in encoder.named_parameters():
        if (encoder.in_head(name) and not name.startswith("parts.")) or name.startswith(pooler):
            parameter.requires_grad_(False)
