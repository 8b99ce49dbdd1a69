"""Parts of a head that reads several layers: what becomes of a layer's tokens, and of the layers. Plain modules."""

from ftreg.pooling.combine import Combine as Combine
from ftreg.pooling.gated import HIRE as HIRE
from ftreg.pooling.gated import SqueezeExcitation as SqueezeExcitation
from ftreg.pooling.head import Head as Head
from ftreg.pooling.learned import LSTM as LSTM
from ftreg.pooling.learned import LayerAttention as LayerAttention
from ftreg.pooling.learned import ScalarMix as ScalarMix
from ftreg.pooling.select import select as select
from ftreg.pooling.tokens import TokenPooling as TokenPooling
from ftreg.pooling.tokens import Tokens as Tokens
