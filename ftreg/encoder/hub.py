"""A model of the Hugging Face Hub becomes a folder in its cache, by one question to the Hub of a few seconds."""

import threading
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import TypeVar

from huggingface_hub import HfApi, constants, is_offline_mode, snapshot_download
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    HFValidationError,
    LocalEntryNotFoundError,
    RepositoryNotFoundError,
)

from ftreg._base.errors import UsageError
from ftreg.encoder.weight_files import FILES, INDEX, cause_of
from glue_tasks.shown import nearest

SECONDS = 5.0
"""That the Hub has to answer in."""
BESIDE = (".json", ".txt", ".model", ".codes")
"""Ends of the names of configurations and vocabularies."""

T = TypeVar("T")


@cache
def snapshot(name: str) -> str:
    """Return the folder of a model's newest version, downloaded unless it is in the cache; offline, of the cached one.

    Raises:
        UsageError: it is neither there nor to be had; one line that says why.
    """
    there = None if is_offline_mode() else _files(name)
    try:
        return str(snapshot_download(name, allow_patterns=there, local_files_only=there is None, etag_timeout=SECONDS))
    except HFValidationError as error:
        raise _refusal(name, f"no folder of that name, and no id of the Hub ({cause_of(error)})") from error
    except LocalEntryNotFoundError as error:
        why = "HF_HUB_OFFLINE is set" if is_offline_mode() else f"{constants.ENDPOINT} cannot be reached"
        raise _refusal(name, f"it is not in the cache of the Hub, and {why}") from error
    except Exception as error:  # whatever the network and the disk come to
        raise _refusal(name, f"it cannot be downloaded ({cause_of(error)})") from error


def _files(name: str) -> list[str] | None:
    """Return what a backbone takes of a model on the Hub; None where the Hub does not answer."""
    try:
        found = _within(SECONDS + 1, lambda: HfApi().model_info(name, timeout=SECONDS))
    except GatedRepoError as error:
        raise _refusal(name, "its owners ask for consent; give it on its page, then run `hf auth login`") from error
    except RepositoryNotFoundError as error:
        raise _refusal(name, "the Hub has no such model, or it is private (run `hf auth login`)") from error
    except HfHubHTTPError as error:
        if error.response is not None and error.response.status_code < 500:
            raise _refusal(name, f"the Hub refuses it ({cause_of(error)})") from error
        return None
    except Exception:  # no network, in any of the ways in which there may be none
        return None
    names = [file.rfilename for file in found.siblings or () if "/" not in file.rfilename]
    weights = next((file for file in FILES if file in names or f"{file}{INDEX}" in names), "")
    shards = f"{Path(weights).stem}-"
    return [
        file
        for file in names
        if file.endswith(BESIDE) or file == weights or (weights not in names and weights and file.startswith(shards))
    ]


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """Return or raise what a function does; a TimeoutError where that takes longer: a name may take minutes."""
    answer: list[T] = []
    failure: list[BaseException] = []

    def run() -> None:
        try:
            answer.append(ask())
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if failure:
        raise failure[0]
    if not answer:
        raise TimeoutError(f"no answer within {seconds:.0f} seconds")
    return answer[0]


def _refusal(name: str, why: str) -> UsageError:
    meant = nearest(name, ["demo", "tiny", *_cached()])
    return UsageError(f"backbone {name[:100]}: {why}; {meant}Give demo, tiny, a folder or a Hub id")


def _cached() -> list[str]:
    """Return the ids of the models in the cache."""
    folders = Path(constants.HF_HUB_CACHE).glob("models--*")
    return [folder.name.removeprefix("models--").replace("--", "/") for folder in folders]
