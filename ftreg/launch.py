"""The processes of one launch, before they have found one another."""

import os

from pytorch_lightning.utilities import rank_zero_only


def first() -> bool:
    """Whether this process is the first of all machines; each machine may have one that Lightning ranks 0."""
    return not getattr(rank_zero_only, "rank", 0) and not int(os.environ.get("NODE_RANK", 0))
