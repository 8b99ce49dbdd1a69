"""One file a method."""

from ftreg.methods.fgm import FGM as FGM
from ftreg.methods.freelb import FreeLB as FreeLB
from ftreg.methods.mixout import Mixout as Mixout
from ftreg.methods.pgd import PGD as PGD
from ftreg.methods.smart import SMART as SMART
from ftreg.methods.vat import VAT as VAT
