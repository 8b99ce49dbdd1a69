"""Regularised fine-tuning of BERT-family encoders.

Names are imported when they are first used, so `import ftreg` is quick and does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ftreg._base.errors import ConflictError as ConflictError
    from ftreg._base.errors import DivergedError as DivergedError
    from ftreg._base.errors import UsageError as UsageError
    from ftreg.core.method import Regularizer as Regularizer
    from ftreg.core.method import Slot as Slot
    from ftreg.core.step import Step as Step
    from ftreg.encoder.backbone import backbone_path as backbone_path
    from ftreg.encoder.encoder import Encoder as Encoder
    from ftreg.encoder.noise import Noise as Noise
    from ftreg.functional.deposit import deposit as deposit
    from ftreg.functional.mixout import mixout as mixout
    from ftreg.lightning.finetuner import FineTuner as FineTuner
    from ftreg.methods.fgm import FGM as FGM
    from ftreg.methods.freelb import FreeLB as FreeLB
    from ftreg.methods.gradual_unfreezing import GradualUnfreezing as GradualUnfreezing
    from ftreg.methods.head_first import HeadFirst as HeadFirst
    from ftreg.methods.layer_pooling import LayerPooling as LayerPooling
    from ftreg.methods.mixout import Mixout as Mixout
    from ftreg.methods.pgd import PGD as PGD
    from ftreg.methods.pretraining.masked_lm import MaskedLM as MaskedLM
    from ftreg.methods.pretraining.replaced_tokens import ReplacedTokens as ReplacedTokens
    from ftreg.methods.smart import SMART as SMART
    from ftreg.methods.two_stage import TwoStage as TwoStage
    from ftreg.methods.vat import VAT as VAT

_HOMES = {
    "backbone_path": "ftreg.encoder.backbone",
    "Encoder": "ftreg.encoder.encoder",
    "ConflictError": "ftreg._base.errors",
    "DivergedError": "ftreg._base.errors",
    "UsageError": "ftreg._base.errors",
    "FineTuner": "ftreg.lightning.finetuner",
    "deposit": "ftreg.functional.deposit",
    "FGM": "ftreg.methods.fgm",
    "FreeLB": "ftreg.methods.freelb",
    "GradualUnfreezing": "ftreg.methods.gradual_unfreezing",
    "HeadFirst": "ftreg.methods.head_first",
    "LayerPooling": "ftreg.methods.layer_pooling",
    "Mixout": "ftreg.methods.mixout",
    "PGD": "ftreg.methods.pgd",
    "SMART": "ftreg.methods.smart",
    "TwoStage": "ftreg.methods.two_stage",
    "VAT": "ftreg.methods.vat",
    "MaskedLM": "ftreg.methods.pretraining.masked_lm",
    "mixout": "ftreg.functional.mixout",
    "ReplacedTokens": "ftreg.methods.pretraining.replaced_tokens",
    "Noise": "ftreg.encoder.noise",
    "Regularizer": "ftreg.core.method",
    "Slot": "ftreg.core.method",
    "Step": "ftreg.core.step",
}

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ftreg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
