"""TwoStage fine-tunes from an intermediate stage's weights instead of the pre-trained ones.

Supervised stages: Phang, Févry, Bowman. *Sentence Encoders on STILTs*. 2018, arXiv 1811.01088 (the head is drawn
afresh); Garg, Vu, Moschitti. *TANDA*. AAAI 2020, arXiv 1911.04118 (the head is kept). Further pre-training on the
task's own text: Gururangan et al. *Don't Stop Pretraining*. ACL 2020, arXiv 2004.10964.

    θ₁ = stage one, started at the pre-trained θ₀        θ = fine-tuning on the target, started at θ₁

with a fresh optimizer, schedule and warm-up. A stage is an ordinary fit: `ftreg fit` runs it before the target's
(`ftreg.run.stages`), and this method only loads its weights.
"""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

from torch import Tensor

from ftreg._base.checks import typed
from ftreg._base.errors import UsageError
from ftreg.core import checkpoint_reader
from ftreg.core.roles import StartsFromFits
from ftreg.encoder.adapters import linears
from ftreg.encoder.encoder import Encoder
from ftreg.encoder.heads import Policy, class_order

PoolerPolicy = Literal["keep", "pretrained", "new"]
Anchor = Literal["pretrained", "intermediate"]
Which = Literal["best", "last"]


class TwoStage(StartsFromFits):
    """TwoStage is another start; with neither stages nor a checkpoint, it is plain fine-tuning.

    Args:
        stages: configurations of `ftreg fit`, as mappings or as the paths of YAML files; each starts from the one
            before. What they take from the target's is in `ftreg.run.stages`.
        checkpoint: of a run of the same architecture, in place of stages.
        weights: which of a stage's checkpoints; `last` where its fit evaluated nothing.
        head: drawn afresh, or the stage's, with its classes put into the target's order by name.
        pooler: the stage's, the pre-trained one, or drawn afresh.
        anchor: what counts as the start for everything that pulls towards one, such as Mixout.
        overlap: whether a stage may train on rows that the target is evaluated on.
        store: folder in which stages are kept under their identity, and found again by every later run.

    Raises:
        UsageError: an option is out of range; the checkpoint is of another architecture, or its head of other labels.
    """

    papers: ClassVar[tuple[str, ...]] = ("phang2018stilts", "garg2020tanda", "gururangan2020dont")

    def __init__(
        self,
        stages: list[dict[str, Any] | str] | None = None,
        checkpoint: str | None = None,
        weights: Which = "best",
        head: Policy = "new",
        pooler: PoolerPolicy = "keep",
        anchor: Anchor = "intermediate",
        overlap: Literal["refuse", "allow"] = "refuse",
        store: str = "runs/stages",
    ) -> None:
        typed("TwoStage", TwoStage.__init__, locals())
        if stages and checkpoint:
            raise UsageError("TwoStage has both stages and a checkpoint; give one of them")
        self.stages, self.checkpoint, self.weights = stages, checkpoint, weights
        self.head: Policy = head
        self.pooler: PoolerPolicy = pooler
        self.anchor: Anchor = anchor
        self.overlap, self.store = overlap, store
        self.source = checkpoint
        """The checkpoint to start from: that of a stage once it is trained."""

    @property
    def cites(self) -> tuple[str, ...]:
        return ()  # what is cited depends on what stage one learns: see `cites_start`

    def cites_start(self, supervised: bool | None) -> tuple[str, ...]:
        if supervised is False:
            return ("gururangan2020dont",)
        if supervised is None and not self.checkpoint:
            return ()
        # Of a checkpoint without a record, labels are taken for granted.
        return ("garg2020tanda",) if self.keeps_head else ("phang2018stilts",)

    @property
    def keeps_head(self) -> bool:
        return self.head == "keep"

    @property
    def allows_overlap(self) -> bool:
        return self.overlap == "allow"

    def within_stage(self, before: Sequence[dict[str, Any] | str]) -> Self:
        # Stages have tasks of their own: none keeps the head of the one before.
        return type(self)(**{**self.options(), "stages": [*before], "head": "new"})

    def start_from(self, checkpoint: str) -> None:
        self.source = checkpoint

    def start(self, encoder: Encoder) -> None:
        # Not for an evaluation, whose weights are its checkpoint's: the stage's may be on another machine.
        if self.stages and self.source is None:
            raise UsageError(
                "TwoStage.stages are run by `ftreg fit`; from Python, fit the stage first and give its checkpoint"
            )
        if self.source and not encoder.start.passed:
            encoder.start.load(self._values(encoder, Path(self.source).expanduser()), self.anchor)
            if self.pooler == "new":
                if encoder.pooler is None:
                    raise UsageError(f"TwoStage.pooler is new: {type(encoder.model).__name__} has no pre-trained one")
                encoder.reinitialise(encoder.pooler)

    def _values(self, encoder: Encoder, path: Path) -> dict[str, Tensor]:
        """Return what is loaded, by parameter: the encoder, and the head where it is kept."""
        saved = checkpoint_reader.load_checkpoint(str(path), "TwoStage.checkpoint", bare=True)
        record = saved.get("ftreg", {})
        values = _as_named(saved["state_dict"], {name for name, _ in encoder.named_parameters()})
        pooler = f"model.{encoder.model.base_model_prefix}.pooler."
        named = [(name, p) for name, p in encoder.named_parameters() if name not in encoder.start.redrawn]
        wanted = {
            name: parameter
            for name, parameter in named
            if not encoder.in_head(name) and (self.pooler == "keep" or not name.startswith(pooler))
        }
        if self.keeps_head:
            learnt = record.get("labels") if record.get("supervised", True) else None
            # Weights alone do not say what their classes mean; a run's checkpoint does.
            places = class_order(encoder.labels, learnt, "TwoStage.head", str(path)) if record else []
            # A plain head that another one has replaced is still there, frozen; `parts` are no head of this task.
            heads = [(name, p) for name, p in named if encoder.in_head(name) and not name.startswith("parts.")]
            kept = {name: p for name, p in heads if p.requires_grad}
            wanted |= kept
            classifier = [name for name, _ in linears(encoder) if name in kept][-1].removesuffix("weight")
            for name in (f"{classifier}weight", f"{classifier}bias"):
                if places and len(values.get(name, ())) == len(places):
                    values[name] = values[name][places]
        for name, parameter in wanted.items():
            if name not in values or values[name].shape != parameter.shape:
                kind = f"a stage has the target's architecture{', and its kind of head' if self.keeps_head else ''}"
                if name.startswith(pooler):
                    kind = "give TwoStage.pooler=pretrained"
                elif hasattr(encoder.model, "peft_config"):
                    kind = "load the stage's weights before get_peft_model, or give a stage with the same adapters"
                raise encoder.architecture.refusal(
                    self.name, f"{path} has no {name} of shape {list(parameter.shape)}; {kind}"
                )
        return {name: values[name] for name in wanted}


def _as_named(state: Mapping[str, Tensor], names: Collection[str]) -> dict[str, Tensor]:
    """Return the values by an encoder's names of them, whether a FineTuner, an engine or a model has saved them."""
    ways = {"encoder.": "", "engine.encoder.": "", "": "model.", "base_model.model.": "model."}
    found = [
        {put + key.removeprefix(take): value for key, value in state.items() if key.startswith(take)}
        for take, put in ways.items()
    ]
    return max(found, key=lambda values: len(values.keys() & set(names)))
