"""The methods' arithmetic is pure functions of tensors, for loops of one's own. It needs torch, not Lightning."""

from ftreg.functional.divergences import kl as kl
from ftreg.functional.divergences import symmetric_kl as symmetric_kl
from ftreg.functional.losses import task_losses as task_losses
from ftreg.functional.mixout import draw_mask as draw_mask
from ftreg.functional.mixout import mixout as mixout
from ftreg.functional.perturbation import ascend as ascend
from ftreg.functional.perturbation import project as project
from ftreg.functional.perturbation import start as start
from ftreg.functional.smart import momentum as momentum
