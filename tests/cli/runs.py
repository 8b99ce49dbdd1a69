"""Short runs in this process, and what they leave."""

import csv
import json
from pathlib import Path
from typing import Any

import torch

from ftreg.__main__ import main

ROOT = Path(__file__).parents[2]
BASE = ["--config", str(ROOT / "experiments" / "base.yaml")]
RTE = ["--data.task=rte", "--data.source=tsv"]
TINY = ["--model.backbone=tiny", "--data.max_length=64"]
SHORT = [*RTE, *TINY, "--trainer.max_steps=5", "--trainer.accelerator=cpu"]
MIXOUT = ["--trainer.callbacks+=Mixout", "--trainer.callbacks.p=0.7"]

Weights = dict[str, torch.Tensor]


def fit(root: Path, *arguments: str) -> dict[str, Any]:
    assert main(["fit", *SHORT, "--trainer.default_root_dir", str(root), *arguments]) == 0
    return result(root)


def result(root: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((root / "result.json").read_text())
    return content


def weights(root: Path, name: str = "last") -> Weights:
    checkpoint = torch.load(root / "checkpoints" / f"{name}.ckpt", weights_only=True)
    state: Weights = checkpoint["state_dict"]
    return state


def same(a: Weights, b: Weights) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def metrics(root: Path) -> list[dict[str, str]]:
    with open(root / "metrics.csv", newline="") as file:
        return list(csv.DictReader(file))
