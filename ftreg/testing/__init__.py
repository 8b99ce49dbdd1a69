"""A fine-tuning method's contracts are tested here, for the methods of this package and for one's own.

A test file for the README's `EmbeddingNoise`, in a `mine.py` beside it:

    import functools, mine, pytest
    from ftreg.testing import CONTRACTS, Case

    @pytest.mark.parametrize("contract", CONTRACTS)
    def test_my_noise(contract, tmp_path):
        contract(Case(mine.EmbeddingNoise, null=functools.partial(mine.EmbeddingNoise, weight=0.0)), tmp_path)

It takes a quarter of a minute on a CPU, most of it for two ranks to start and to fit. Nothing is downloaded.
A method that puts another head on the network has no null settings: leave them out.
"""

from ftreg.testing.cases import CASES as CASES
from ftreg.testing.cases import Case as Case
from ftreg.testing.cases import Method as Method
from ftreg.testing.cases import exported as exported
from ftreg.testing.contracts import clean as clean
from ftreg.testing.contracts import command_line as command_line
from ftreg.testing.contracts import gradient as gradient
from ftreg.testing.contracts import null as null
from ftreg.testing.contracts import permutation as permutation
from ftreg.testing.contracts import reloading as reloading
from ftreg.testing.ranks import sharding_and_resuming as sharding_and_resuming

ALONE = (null, gradient, clean, permutation, reloading, command_line)
"""The contracts that one process is enough for."""
CONTRACTS = (*ALONE, sharding_and_resuming)
"""Each is called with a `Case` and an empty folder, and raises AssertionError if the promise is broken."""
