"""Fetching a split from the Hugging Face Hub, failing soon where it cannot be reached."""

from datasets import Dataset, load_dataset
from huggingface_hub import HfApi, constants
from huggingface_hub.errors import RepositoryNotFoundError, RevisionNotFoundError

from glue_tasks.errors import DataError
from glue_tasks.tasks import Task

TIMEOUT = 5.0
"""Seconds to wait for the Hub's first answer."""

_ELSEWHERE = "use data.source=tsv (or files) with data.path, or data.source=sample"


def fetch(task: Task, split: str) -> tuple[Dataset, str]:
    """The split as the Hub has it, and its name for messages; from the local cache if HF_HUB_OFFLINE is set.

    Raises `DataError` where there is no such data set, split or connection. No other source is tried.
    """
    hub = task.hub
    if hub is None:
        raise DataError(f"task {task.name!r} declares no hub; {_ELSEWHERE}")
    theirs = hub.splits.get(split, split)
    place = "/".join(part for part in (hub.path, hub.config, theirs) if part)
    if not constants.HF_HUB_OFFLINE:
        _reach(hub.path, hub.revision, place)
    try:
        return load_dataset(hub.path, hub.config, split=theirs, revision=hub.revision), place
    except Exception as error:  # datasets raises a dozen unrelated types for "cannot be had"
        offline = " (offline, and not in the local cache)" if constants.HF_HUB_OFFLINE else ""
        raise DataError(
            f"{place}: cannot be loaded from the Hub{offline}: {_first_line(error)}; {_ELSEWHERE}"
        ) from error


def _reach(path: str, revision: str | None, place: str) -> None:
    """One short request: without it `load_dataset` retries an unreachable Hub for minutes."""
    try:
        HfApi().dataset_info(path, revision=revision, timeout=TIMEOUT)
    except (RepositoryNotFoundError, RevisionNotFoundError) as error:
        raise DataError(f"{place}: the Hub has no such data set (or it is private); check the task's hub") from error
    except Exception as error:  # the client's errors changed family between its versions
        raise DataError(
            f"{place}: the Hugging Face Hub cannot be reached ({_first_line(error)}); set HF_HUB_OFFLINE=1 "
            f"to read a copy cached earlier, or {_ELSEWHERE}"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
