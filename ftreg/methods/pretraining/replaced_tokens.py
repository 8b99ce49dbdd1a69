"""ReplacedTokens tells which tokens a small generator has made up.

Clark, Luong, Le, Manning. *ELECTRA: Pre-training Text Encoders as Discriminators Rather Than Generators*. ICLR 2020,
arXiv 2003.10555.

    L = E_i [ L_G + λ L_D ] + w E_i [ ℓ(f(x̃_i), y_i) ],
    L_G = 1/|M_i| Σ_{t ∈ M_i} −log p_G(x_it | m_i),      L_D = 1/n_i Σ_t BCE(D(x̃_i)_t, x̃_it ≠ x_it)

for example i of n_i tokens x_i. In m_i, those at the places M_i are hidden from the generator G; x̃_i has a token
sampled from p_G in each of them, and the encoder with the head D tells which tokens are not x_i's. A token that the
generator gets right counts as the original. No gradient passes through the sampling.

ELECTRA trains a narrow generator from scratch. Here it is a copy of the encoder's lowest layers, for a stage of further
pre-training is too short for one to grow up in; the embedding tables are shared, as there.
"""

from collections.abc import Sequence
from copy import deepcopy
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn
from transformers import AutoModel
from transformers.activations import ACT2FN

from ftreg._base.checks import at_least, typed
from ftreg._base.errors import UsageError
from ftreg.core.step import Step
from ftreg.encoder.architecture import observe
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.noise import seeded, stream_seed
from ftreg.encoder.transformers_internals import attention_of
from ftreg.methods.pretraining.decoder import decoder
from ftreg.methods.pretraining.masking import MaskedBatch, Unit
from ftreg.methods.pretraining.token_objective import TokenObjective


class ReplacedTokens(TokenObjective):
    """ReplacedTokens is replaced-token detection, alone or beside the task.

    Args:
        rate: the share of a row's tokens that the generator fills in, at least one of them; 0 leaves all alone.
        weight: λ, of the detection. The paper: 50.
        generator_layers: how many of the encoder's lowest layers the generator has.
        unit: what is filled in together: `token`, `word`, or a `span` of words.
        span_p: p of the geometric distribution of a span's length.
        span_max: the longest span, in words.
        dynamic: choose other places at every step; otherwise a row's are the same in every epoch.
        task_weight: w, of the task's loss on the tokens with those that were made up; at 0 no labels are read.

    Raises:
        UsageError: an option is out of range, or the backbone lacks a tokenizer or what masking takes of it.
    """

    papers: ClassVar[tuple[str, ...]] = ("clark2020electra", "joshi2020spanbert", "gururangan2020dont")

    def __init__(
        self,
        rate: float = 0.15,
        weight: float = 50.0,
        generator_layers: int = 2,
        unit: Unit = "token",
        span_p: float = 0.2,
        span_max: int = 10,
        dynamic: bool = True,
        task_weight: float = 0.0,
    ) -> None:
        typed("ReplacedTokens", ReplacedTokens.__init__, locals())
        super().__init__(rate, unit, span_p, span_max, dynamic, task_weight)
        at_least("ReplacedTokens", 0, weight=weight)
        at_least("ReplacedTokens", 1, generator_layers=generator_layers)
        self.weight, self.generator_layers = weight, generator_layers

    def part(self, encoder: Encoder) -> nn.Module:
        depth = len(encoder.architecture.layered(self.name).layers)
        if self.generator_layers > depth:
            raise UsageError(
                f"ReplacedTokens.generator_layers is {self.generator_layers}; backbone {encoder.backbone} has "
                f"{depth} layers"
            )
        with seeded(stream_seed(encoder.seed, self.name, "detector")):
            detector = Detector(encoder.model.config)
        return nn.ModuleDict(
            {
                "generator": generator(encoder, self.generator_layers),
                "decoder": decoder(encoder, self.name),
                "detector": detector,
            }
        )

    def losses(self, step: Step, found: MaskedBatch) -> tuple[Float[Tensor, "batch"], Float[Tensor, "batch classes"]]:
        parts: Any = self._part
        made = step.read_by(parts["generator"], found.ids).last_hidden_state
        guesses, targets = parts["decoder"](found.pick(made)), found.pick(step.input_ids)
        draws = step.generators("sample")
        uniform = [torch.rand(k, generator=g, dtype=torch.float64) for k, g in zip(found.counts, draws, strict=True)]
        ids = found.place(step.input_ids, sample(guesses.detach(), torch.cat(uniform)))

        hidden, logits = step.read(ids)
        replaced, real = ids != step.input_ids, step.mask.bool()
        scores = parts["detector"](hidden)
        errors = F.binary_cross_entropy_with_logits(scores, replaced.to(scores.dtype), reduction="none")
        detection = torch.where(real, errors, 0).sum(1) / real.sum(1).clamp(min=1)
        if step.logs:
            counted, tokens = step.valid[found.rows], real & step.valid[:, None]
            step.record("accuracy", guesses.argmax(1) == targets, counted)
            step.record("corrupted", replaced, tokens)
            step.record("found", scores > 0, tokens & replaced)
            step.record("false_alarms", scores > 0, tokens & ~replaced)
        return found.means(F.cross_entropy(guesses, targets, reduction="none")) + self.weight * detection, logits


class Detector(nn.Module):
    """ELECTRA's head is a layer on each token, the encoder's activation (GELU if it names none), and one output.

    Args:
        config: of the encoder.
    """

    def __init__(self, config: Any) -> None:
        super().__init__()
        self.dense = nn.Linear(config.hidden_size, config.hidden_size)
        names = (getattr(config, name, None) for name in ("hidden_act", "hidden_activation", "activation"))
        self.activation = ACT2FN[next((name for name in names if name), "gelu")]
        self.out = nn.Linear(config.hidden_size, 1)
        for linear in (self.dense, self.out):
            nn.init.normal_(linear.weight, std=getattr(config, "initializer_range", 0.02))
            nn.init.zeros_(linear.bias)

    def forward(self, hidden: Float[Tensor, "batch tokens hidden"]) -> Float[Tensor, "batch tokens"]:
        """Compute each token's logit of having been replaced."""
        out: Tensor = self.out(self.activation(self.dense(hidden)))
        return out.squeeze(-1)


def generator(encoder: Encoder, layers: int) -> Any:
    """Copy the encoder up to that layer, in training mode; the copy shares its embedding tables.

    Raises:
        UsageError: the architecture cannot be built with the lowest of its layers alone.
    """
    base: Any = encoder.model.base_model
    config = deepcopy(encoder.model.config)
    config.num_hidden_layers = layers
    with seeded(stream_seed(encoder.seed, "ReplacedTokens", "generator")):
        copy: Any = AutoModel.from_config(
            config, dtype=torch.get_default_dtype(), attn_implementation=attention_of(base.config)
        )
    if getattr(copy, "pooler", None) is not None:
        copy.pooler = None  # nothing reads it
    own, values = paths(copy, observe(copy).layers), base.state_dict()
    # Layers that share weights may share them in another pattern, when there are fewer.
    if own != paths(base, encoder.architecture.layers)[:layers] or not values.keys() >= copy.state_dict().keys():
        raise encoder.architecture.refusal("ReplacedTokens", f"its lowest {layers} layers alone do not make an encoder")
    copy.load_state_dict({name: values[name] for name in copy.state_dict()})
    words = copy.get_input_embeddings()
    (name,) = (name for name, part in copy.named_children() if words in part.modules())
    for path, table in copy.get_submodule(name).named_modules():
        if isinstance(table, nn.Embedding):
            table.weight = base.get_submodule(name).get_submodule(path).weight
    return copy.train()


def paths(model: nn.Module, parts: Sequence[nn.Module]) -> list[str]:
    """Return where parts of a model are in it."""
    names = {id(module): path for path, module in model.named_modules()}
    return [names[id(part)] for part in parts]


def sample(logits: Float[Tensor, "k vocabulary"], uniform: Float[Tensor, "k"]) -> Int[Tensor, "k"]:
    """Draw a token of each row's softmax: the first whose cumulative probability exceeds `uniform` in [0, 1)."""
    # Not from the logits plus noise, which would take a draw on the CPU for every token of the vocabulary.
    cumulative = logits.softmax(1, dtype=torch.promote_types(logits.dtype, torch.float32)).cumsum(1)
    bound = uniform.to(cumulative.dtype).to(cumulative.device) * cumulative[:, -1]
    return torch.searchsorted(cumulative, bound.unsqueeze(1), right=True).squeeze(1).clamp(max=logits.shape[1] - 1)
