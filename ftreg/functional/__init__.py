"""The methods' arithmetic as pure functions of tensors, for training loops of one's own. Needs torch, not Lightning."""

from ftreg.functional.mixout import draw_mask as draw_mask
from ftreg.functional.mixout import mixout as mixout
