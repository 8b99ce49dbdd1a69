"""Self-supervised objectives train an encoder further on the task's or the domain's text, before the task itself.

Gururangan, Marasović, Swayamdipta, Lo, Beltagy, Downey, Smith. *Don't Stop Pretraining: Adapt Language Models to
Domains and Tasks*. ACL 2020, arXiv 2004.10964. Sun, Qiu, Xu, Huang. *How to Fine-Tune BERT for Text Classification?*
CCL 2019, arXiv 1905.05583.
"""

from ftreg.methods.pretraining.masked_lm import MaskedLM as MaskedLM
from ftreg.methods.pretraining.replaced_tokens import ReplacedTokens as ReplacedTokens
