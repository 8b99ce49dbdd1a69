"""One file a method."""

from ftreg.methods.mixout import Mixout as Mixout
