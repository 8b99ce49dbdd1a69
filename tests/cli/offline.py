"""The offline files of Weights & Biases, read back: what `wandb sync` would send."""

import json
from pathlib import Path
from typing import Any

from wandb.proto.wandb_internal_pb2 import Record

BLOCK = 2**15
"""Bytes; a record may go on in the next block."""
LAST = {1, 4}
"""Kinds of pieces: a whole record is 1; the first, middle and last piece of one are 2, 3, 4."""


def offline(root: Path) -> list[Path]:
    """The folder's runs."""
    return [*(root / "wandb").glob("offline-run-*")]


def records(run: Path) -> list[Record]:
    """All of a run: a log in LevelDB's format, after seven bytes of its own."""
    (file,) = run.glob("*.wandb")
    content, at, whole, found = file.read_bytes(), 7, b"", []
    while at + 7 <= len(content):
        if BLOCK - at % BLOCK < 7:
            at += BLOCK - at % BLOCK  # too short for a head
            continue
        size, kind = int.from_bytes(content[at + 4 : at + 6], "little"), content[at + 6]
        whole += content[at + 7 : at + 7 + size]
        at += 7 + size
        if kind in LAST:
            found.append(Record.FromString(whole))
            whole = b""
    return found


def config(run: Path) -> dict[str, Any]:
    """Its configuration, as it was last updated."""
    found = {}
    for record in records(run):
        for entry in [*record.config.update, *record.run.config.update]:
            found[entry.key or "/".join(entry.nested_key)] = json.loads(entry.value_json)
    return found


def history(run: Path) -> list[dict[str, Any]]:
    """Each row that was logged."""
    return [
        {item.key or "/".join(item.nested_key): json.loads(item.value_json) for item in record.history.item}
        for record in records(run)
        if record.HasField("history")
    ]


def described(run: Path) -> Any:
    (record,) = (record.run for record in records(run) if record.HasField("run"))
    return record
