"""Each method is one file, which names its paper; `_`-modules are what several of them share."""

from ftreg.methods import multi_task as _multi_task  # noqa: F401  no method to list: `data.also` adds it
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
