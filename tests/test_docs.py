"""What the README and the cards show works as shown."""

import doctest
import re
import subprocess
import sys
from pathlib import Path

import pytest
import pytorch_lightning as pl
import torch

from ftreg import backbone_path
from tests.pipeline import fit, quiet

ROOT = Path(__file__).parent.parent
BLOCKS = re.findall(r"```python\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)


CARDS = [path for path in sorted((ROOT / "experiments").glob("*/README.md")) if path.parent.name != "results"]


@pytest.mark.parametrize("card", CARDS, ids=lambda path: path.parent.name)
def test_cards(card: Path):
    found = doctest.testfile(str(card), module_relative=False)
    assert found.failed == 0
    assert found.attempted > 0


def test_readme_use_from_python(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    """The ten lines, with the tiny encoder and a few steps."""
    quiet()
    monkeypatch.chdir(tmp_path)
    trainer = pl.Trainer
    monkeypatch.setattr(pl, "Trainer", lambda **options: trainer(**options, max_steps=2, accelerator="cpu"))
    names: dict[str, object] = {}
    exec(BLOCKS[0].replace('"demo"', '"tiny"'), names)
    assert names["trainer"].callback_metrics["selection/accuracy"] >= 0  # type: ignore[attr-defined]


def test_readme_method_of_ones_own():
    names: dict[str, object] = {"torch": torch}
    exec(BLOCKS[1], names)
    method = names["EmbeddingNoise"](weight=1.0)  # type: ignore[operator]
    fit(backbone_path("tiny"), [method], precision="32-true", max_steps=1)
    assert method.options() == {"weight": 1.0, "scale": 0.01}


@pytest.mark.parametrize(
    "records", sorted((ROOT / "experiments" / "results").glob("*.jsonl")), ids=lambda path: path.stem
)
def test_tables_of_results_are_of_their_records(records: Path):
    script = ROOT / "experiments" / "results" / "table.py"
    shown = subprocess.run([sys.executable, script, "show", records], check=True, capture_output=True, text=True).stdout
    assert shown.strip() in (ROOT / "experiments" / "results" / "README.md").read_text()


def shown(text: str) -> list[str]:
    """The commands that a text shows to be copied, each in one line."""
    return re.findall(
        r"^(?: {2,}|# +)((?:ftreg (?:fit|bench)|sbatch .*fit\.sbatch) .*)$", re.sub(r"\\\n[# ]*", "", text), re.M
    )


TEXTS = [ROOT / "README.md", *sorted((ROOT / "experiments").rglob("README.md")), ROOT / "ftreg" / "__main__.py"]
TEXTS += sorted((ROOT / "experiments" / "slurm").glob("*.sbatch"))
COMMANDS = [(path.relative_to(ROOT).as_posix(), line) for path in TEXTS for line in shown(path.read_text())]


def test_commands_are_found():
    assert {where for where, _ in COMMANDS} >= {card.relative_to(ROOT).as_posix() for card in CARDS} | {"README.md"}


@pytest.mark.parametrize(("where", "line"), COMMANDS, ids=[where for where, _ in COMMANDS])
def test_every_command_says_which_data_it_runs_on(where: str, line: str):
    """Itself, or a file that it names: nobody should take the built-in sample's score for GLUE's."""
    files = [ROOT / name for name in re.findall(r"\S+\.yaml", line)]
    assert all(path.is_file() for path in files)
    named = [(path, path.read_text()) for path in files]
    bases = [
        (path.parent / name).read_text() for path, text in named for name in re.findall(r"- (\S+\.yaml)$", text, re.M)
    ]
    assert any(
        re.search(r"data\.source[ =]|^\s+source: (?!text)", text, re.M)
        for text in [line, *(text for _, text in named), *bases]
    )
