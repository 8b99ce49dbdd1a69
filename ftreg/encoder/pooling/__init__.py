"""A head on several layers is made of plain modules: one for a layer's tokens, and one for the layers."""

from ftreg.encoder.pooling.combine import Combine as Combine
from ftreg.encoder.pooling.gated import HIRE as HIRE
from ftreg.encoder.pooling.gated import SqueezeExcitation as SqueezeExcitation
from ftreg.encoder.pooling.head import Head as Head
from ftreg.encoder.pooling.learned import LSTM as LSTM
from ftreg.encoder.pooling.learned import LayerAttention as LayerAttention
from ftreg.encoder.pooling.learned import ScalarMix as ScalarMix
from ftreg.encoder.pooling.select import select_layers as select_layers
from ftreg.encoder.pooling.tokens import TokenPooling as TokenPooling
from ftreg.encoder.pooling.tokens import Tokens as Tokens
