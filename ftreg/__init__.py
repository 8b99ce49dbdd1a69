"""Regularised fine-tuning of BERT-family encoders.

Public are the names here and those of `ftreg.criteria`, `ftreg.functional`, `ftreg.huggingface`, `ftreg.loggers` and
`ftreg.testing`; all other modules may change from one version to the next. Names are imported when they are first used,
so `import ftreg` is quick and does not import torch.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

if TYPE_CHECKING:
    from ftreg._base.checks import at_least as at_least
    from ftreg._base.checks import typed as typed
    from ftreg._base.checks import within as within
    from ftreg._base.errors import ConflictError as ConflictError
    from ftreg._base.errors import DivergedError as DivergedError
    from ftreg._base.errors import UsageError as UsageError
    from ftreg.core.criteria import Criterion as Criterion
    from ftreg.core.engine import Engine as Engine
    from ftreg.core.method import Regularizer as Regularizer
    from ftreg.core.method import Slot as Slot
    from ftreg.core.optimizer import AdamW as AdamW
    from ftreg.core.optimizer import adamw as adamw
    from ftreg.core.roles import StartsFromFits as StartsFromFits
    from ftreg.core.roles import TaskHeads as TaskHeads
    from ftreg.core.step import Prediction as Prediction
    from ftreg.core.step import Scalar as Scalar
    from ftreg.core.step import Step as Step
    from ftreg.encoder.backbone import backbone_path as backbone_path
    from ftreg.encoder.encoder import Encoder as Encoder
    from ftreg.encoder.noise import Noise as Noise
    from ftreg.encoder.noise import StreamKey as StreamKey
    from ftreg.functional.deposit import deposit as deposit
    from ftreg.functional.losses import task_losses as task_losses
    from ftreg.functional.mixout import mixout as mixout
    from ftreg.lightning.finetuner import FineTuner as FineTuner
    from ftreg.lightning.module import EngineModule as EngineModule
    from ftreg.methods.fgm import FGM as FGM
    from ftreg.methods.freelb import FreeLB as FreeLB
    from ftreg.methods.gradual_unfreezing import GradualUnfreezing as GradualUnfreezing
    from ftreg.methods.head_first import HeadFirst as HeadFirst
    from ftreg.methods.layer_pooling import LayerPooling as LayerPooling
    from ftreg.methods.mixout import Mixout as Mixout
    from ftreg.methods.multi_task import MultiTask as MultiTask
    from ftreg.methods.pgd import PGD as PGD
    from ftreg.methods.pretraining.masked_lm import MaskedLM as MaskedLM
    from ftreg.methods.pretraining.replaced_tokens import ReplacedTokens as ReplacedTokens
    from ftreg.methods.smart import SMART as SMART
    from ftreg.methods.two_stage import TwoStage as TwoStage
    from ftreg.methods.vat import VAT as VAT

_HOMES = {
    "AdamW": "ftreg.core.optimizer",
    "adamw": "ftreg.core.optimizer",
    "at_least": "ftreg._base.checks",
    "backbone_path": "ftreg.encoder.backbone",
    "ConflictError": "ftreg._base.errors",
    "Criterion": "ftreg.core.criteria",
    "deposit": "ftreg.functional.deposit",
    "DivergedError": "ftreg._base.errors",
    "Encoder": "ftreg.encoder.encoder",
    "Engine": "ftreg.core.engine",
    "EngineModule": "ftreg.lightning.module",
    "FGM": "ftreg.methods.fgm",
    "FineTuner": "ftreg.lightning.finetuner",
    "FreeLB": "ftreg.methods.freelb",
    "GradualUnfreezing": "ftreg.methods.gradual_unfreezing",
    "HeadFirst": "ftreg.methods.head_first",
    "LayerPooling": "ftreg.methods.layer_pooling",
    "MaskedLM": "ftreg.methods.pretraining.masked_lm",
    "Mixout": "ftreg.methods.mixout",
    "mixout": "ftreg.functional.mixout",
    "MultiTask": "ftreg.methods.multi_task",
    "Noise": "ftreg.encoder.noise",
    "PGD": "ftreg.methods.pgd",
    "Prediction": "ftreg.core.step",
    "Regularizer": "ftreg.core.method",
    "ReplacedTokens": "ftreg.methods.pretraining.replaced_tokens",
    "Scalar": "ftreg.core.step",
    "Slot": "ftreg.core.method",
    "SMART": "ftreg.methods.smart",
    "StartsFromFits": "ftreg.core.roles",
    "Step": "ftreg.core.step",
    "StreamKey": "ftreg.encoder.noise",
    "task_losses": "ftreg.functional.losses",
    "TaskHeads": "ftreg.core.roles",
    "TwoStage": "ftreg.methods.two_stage",
    "typed": "ftreg._base.checks",
    "UsageError": "ftreg._base.errors",
    "VAT": "ftreg.methods.vat",
    "within": "ftreg._base.checks",
}

_MODULES = ("criteria", "huggingface")

__all__ = ["__version__", *_HOMES]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return importlib.import_module(f"ftreg.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'ftreg' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
