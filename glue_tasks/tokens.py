"""Text becomes tokens: a fast tokenizer is checked when loaded, and a split is tokenised into memory."""

from pathlib import Path

import torch
from datasets import Dataset
from pytorch_lightning.utilities import rank_zero_warn
from tqdm import tqdm  # type: ignore[import-untyped]
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from glue_tasks.errors import DataError
from glue_tasks.loader import Rows
from glue_tasks.shown import shown
from glue_tasks.tables import label_sets, labels_of
from glue_tasks.tasks import Task
from glue_tasks.words import Words, first_tokens, of_words

CHUNK = 1000
"""Rows tokenised at a time."""
LARGE = 20_000
"""Rows above which tokenising shows a progress bar, on a terminal."""


def load_tokenizer(name: str, max_length: int, pairs: bool) -> PreTrainedTokenizerBase:
    """Load the fast tokenizer of a folder or Hub id, which pads and takes `max_length` tokens; or `DataError`."""
    tokenizer = read_tokenizer(name)
    shortest = tokenizer.num_special_tokens_to_add(pair=pairs) + 1 + pairs
    longest = tokenizer.model_max_length
    if not shortest <= max_length <= longest:
        raise DataError(f"data.max_length={max_length}: {name} takes {shortest} to {longest} tokens")
    return tokenizer


def read_tokenizer(name: str) -> PreTrainedTokenizerBase:
    """Read the fast tokenizer of a folder or Hub id, which pads; or `DataError`."""
    if not name:
        raise DataError("no tokenizer is named; give a folder or Hub id with a fast tokenizer")
    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(name, trust_remote_code=False)
    except Exception as error:  # damaged tokenizer files raise bare Exception
        reason = _pointer(Path(name)) or " ".join(str(error).split())[:200]
        raise DataError(f"tokenizer of {name}: no tokenizer can be loaded from there ({reason})") from error
    # from a folder that has only config.json, transformers makes a tokenizer of nothing but special tokens
    if len(tokenizer) <= len(tokenizer.all_special_ids):
        raise DataError(f"tokenizer of {name}: no vocabulary; the folder needs tokenizer.json or vocab.txt")
    longest = tokenizer.model_max_length
    if not isinstance(longest, int | float) or not longest >= 1:
        raise DataError(
            f"tokenizer of {name}: model_max_length is {shown(longest)} in its tokenizer_config.json; "
            "give a number of tokens, or leave it out"
        )
    if not tokenizer.is_fast:
        raise DataError(f"tokenizer of {name}: no fast tokenizer; save one there as tokenizer.json")
    if tokenizer.pad_token_id is None:
        raise DataError(f"tokenizer of {name}: no padding token; set pad_token in its tokenizer_config.json")
    return tokenizer


def _pointer(folder: Path) -> str:
    """Return what to say of a folder with a file that Git LFS has not fetched; empty for any other."""
    for path in sorted(folder.glob("*.*")):
        if path.suffix in (".json", ".txt", ".model") and path.is_file():
            with path.open("rb") as file:
                if file.read(64).startswith(b"version https://git-lfs"):
                    return (
                        f"{path.name} is a Git LFS pointer in place of the file; run `git lfs pull` and copy it again"
                    )
    return ""


def tokenise(split: str, table: Dataset, task: Task, tokenizer: PreTrainedTokenizerBase, max_length: int) -> Rows:
    """Encode one or two text columns, the longer text of a pair cut first; or a column of tokens, as words.

    Warns of words without a token of theirs.
    """
    # The Rust tokenizer gives the same tokens as a call of `tokenizer`, in two thirds of the time.
    by_word = task.kind == "tokens"
    backend = of_words(tokenizer.backend_tokenizer) if by_word else tokenizer.backend_tokenizer
    backend.enable_truncation(max_length, strategy="longest_first", direction=tokenizer.truncation_side)
    backend.no_padding()
    texts = [table[name][:] for name in task.columns]
    inputs = list(zip(*texts, strict=True)) if len(texts) == 2 else texts[0]
    tokens: list[list[int]] = []
    types: list[list[int]] | None = [] if "token_type_ids" in tokenizer.model_input_names else None
    positions: list[list[int]] = []
    truncated, cut_left = 0, tokenizer.truncation_side == "left"
    disable = None if len(inputs) > LARGE else True  # None: shown only on a terminal
    with tqdm(total=len(inputs), desc=f"tokenising {split}", unit="row", disable=disable, leave=False) as bar:
        for start in range(0, len(inputs), CHUNK):
            chunk = inputs[start : start + CHUNK]
            # the fast one does not say which word a token is of
            encodings = (
                backend.encode_batch(chunk, is_pretokenized=True) if by_word else backend.encode_batch_fast(chunk)
            )
            tokens += [encoding.ids for encoding in encodings]
            if types is not None:
                types += [encoding.type_ids for encoding in encodings]
            if by_word:
                found = zip(encodings, chunk, strict=True)
                positions += [first_tokens(encoding, len(words), cut_left) for encoding, words in found]
            truncated += sum(
                len(encoding.ids) == max_length and len(encoding.overflowing) > 0 for encoding in encodings
            )
            bar.update(len(encodings))
    _check_known(split, tokens, tokenizer)
    row_ids = torch.tensor(table["idx"][:])
    assert isinstance(tokenizer.pad_token_id, int)
    words = Words.from_lists(table["label"][:], positions) if by_word else None
    if words is not None and words.unseen:
        rank_zero_warn(
            f"{words.unseen:,} of the {len(words.labels):,} words of {split!r} of task {task.name!r} have no token, as "
            f"{truncated:,} rows are cut to data.max_length={max_length} or as the tokenizer makes nothing of them: "
            "nothing is learnt of them, and they count as predicted O"
        )
    return Rows.from_lists(
        split, tokens, types, _labels(task, table), row_ids, tokenizer.pad_token_id, truncated, words
    )


def _labels(task: Task, table: Dataset) -> torch.Tensor:
    if task.kind == "tokens":
        return torch.empty(len(table), 0)  # its words have them
    return torch.from_numpy(label_sets(table, task.num_labels) if task.kind == "multi_label" else labels_of(table))


def _check_known(split: str, tokens: list[list[int]], tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse rows of nothing but unknown tokens: they are all alike to a model."""
    unknown, special = tokenizer.unk_token_id, set(tokenizer.all_special_ids)
    if unknown is None or any(token not in special for row in tokens for token in row):
        return
    if any(token == unknown for row in tokens for token in row):
        raise DataError(
            f"split {split!r}: to the tokenizer of {tokenizer.name_or_path} every word is {tokenizer.unk_token}; "
            "its vocabulary is of another language, of another case, or empty: save the one of the model there"
        )
