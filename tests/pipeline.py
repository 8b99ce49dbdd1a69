"""The small fit of `ftreg.testing`, under a short address."""

from ftreg.testing.fits import RandomRows as RandomRows
from ftreg.testing.fits import difference as difference
from ftreg.testing.fits import every_step as every_step
from ftreg.testing.fits import fit as fit
from ftreg.testing.fits import quiet as quiet
from ftreg.testing.fits import state as state
