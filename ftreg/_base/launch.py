"""The processes of one launch recognise one another before they are connected."""

import os
import uuid

from pytorch_lightning.utilities import rank_zero_only

LAUNCH = "FTREG_LAUNCH"
"""Environment variable that the processes of one launch share."""
LAUNCHERS = (
    "SLURM_JOB_ID",
    "SLURM_STEP_ID",
    "SLURM_RESTART_COUNT",
    "TORCHELASTIC_RUN_ID",
    "TORCHELASTIC_RESTART_COUNT",
    "MASTER_ADDR",
    "MASTER_PORT",
)
"""What launchers that start all processes themselves tell each of them."""


def first() -> bool:
    """Return whether this process is the first of all machines; each machine may have one that Lightning ranks 0."""
    return not getattr(rank_zero_only, "rank", 0) and not int(os.environ.get("NODE_RANK", 0))


def launch() -> str:
    """Return a name that all processes of this launch know and no other launch has."""
    if LAUNCH not in os.environ:
        found = [f"{name}={os.environ[name]}" for name in LAUNCHERS if name in os.environ]
        # Lightning's own launcher starts the others later, with this environment.
        os.environ[LAUNCH] = " ".join(found) or uuid.uuid4().hex
    return os.environ[LAUNCH]
