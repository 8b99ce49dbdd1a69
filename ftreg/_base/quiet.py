"""Libraries print much that is wrong, known or of no use in a fine-tuning run; here they are told not to."""

import logging
import sys
import warnings

import datasets
import transformers

from ftreg._base.messages import shortened

# Lightning's, each answered by our code: checkpoints are replaced on purpose; short runs log at their
# evaluations; a fit's callbacks have no part in an evaluation; a best checkpoint in another folder is kept;
# the model keeps predictions; what it logs was gathered over all ranks; whoever wants srun writes it.
ANSWERED = (
    r"Checkpoint directory .* exists and is not empty",
    r"The number of training batches .* is smaller than the logging interval",
    r"Be aware that when using `ckpt_path`, callbacks used to create the checkpoint need to be provided",
    r"The dirpath has changed from",
    r"predict returned None if it was on purpose",
    r"It is recommended to use `self.log\(.*sync_dist=True",
    r"The `srun` command is available on your system but is not used",
    r"torch.distributed.nn.functional.all_gather is deprecated",
    r"`isinstance\(treespec, LeafSpec\)` is deprecated",
)


def quiet() -> None:
    """Silence advertisements, reports on a fresh head, and bars outside a terminal; warnings stay, in one line."""
    warnings.formatwarning = lambda message, *_, **__: f"ftreg: warning: {shortened(str(message))}\n"
    for message in ANSWERED:
        warnings.filterwarnings("ignore", message)
    for name in ("pytorch_lightning", "lightning_fabric", "huggingface_hub"):
        logging.getLogger(name).setLevel(logging.ERROR if name == "huggingface_hub" else logging.WARNING)
    transformers.logging.set_verbosity_error()
    if not sys.stderr.isatty():
        transformers.logging.disable_progress_bar()
        datasets.disable_progress_bars()
