"""What one training step costs, as a ratio to plain fine-tuning, measured in one process.

    python experiments/benchmarks/step_cost.py --backbone demo --rounds 5

The variants take turns, round by round, on the same batch of RTE-like lengths; the figure is the median over rounds
of CPU seconds (all threads) relative to the plain, packed step of the same round. On a GPU, synchronised wall seconds.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
import torch.nn.functional as F

from ftreg import Mixout, Noise
from ftreg.encoder import Encoder
from ftreg.optim import AdamW
from ftreg.weights import Weights

LENGTHS = [157, 120, 30, 40, 50, 60, 70, 45, 55, 65, 35, 38, 90, 100, 42, 58]
"""Tokens of 16 examples: the mean and the longest of a typical RTE batch."""


class Variant:
    """One way to take a step, with a model and an optimizer of its own."""

    def __init__(self, backbone: str, method: Mixout | None, packing: bool, device: torch.device) -> None:
        attention: Any = "eager" if device.type == "cpu" else "sdpa"
        self.encoder = Encoder(backbone, ("0", "1"), attention=attention, packing=packing).to(device)
        self.optimizer = AdamW(dict(self.encoder.named_parameters()), {}, lr=2e-5, weight_decay=0.01)
        self.method = method
        if method is not None:
            method.remember(self.encoder)
        self.weights = Weights(self.encoder)
        self.number = 0

    def step(self, ids: torch.Tensor, mask: torch.Tensor, labels: torch.Tensor) -> None:
        if self.method is not None:
            self.weights.put(self.method.mix(self.weights.real, Noise(0, "Mixout", self.number)))
        loss = F.cross_entropy(self.encoder(self.encoder.embed(ids), mask, None, LENGTHS), labels)
        self.optimizer.zero_grad()
        loss.backward()
        self.weights.restore()
        torch.nn.utils.clip_grad_norm_(self.encoder.parameters(), 1.0)
        self.optimizer.step()
        self.number += 1


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds so far: of CPU, or of the wall once the GPU is done."""
    if device.type == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps a round")
    options = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    now = clock(device)
    generator = torch.Generator().manual_seed(0)
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(200, 1000, mask.shape, generator=generator) * mask
    batch = [t.to(device) for t in (ids, mask, torch.arange(len(LENGTHS)) % 2)]
    variants = {
        "plain, packed": Variant(options.backbone, None, True, device),
        "plain, padded": Variant(options.backbone, None, False, device),
        "Mixout(p=0.7), packed": Variant(options.backbone, Mixout(p=0.7), True, device),
        "Mixout(p=0.7, granularity=weight), packed": Variant(
            options.backbone, Mixout(p=0.7, granularity="weight"), True, device
        ),
    }
    seconds: dict[str, list[float]] = {name: [] for name in variants}
    for number in range(options.rounds + 1):
        for name, variant in variants.items():
            start = now()
            for _ in range(options.steps):
                variant.step(*batch)
            if number:  # the first round warms up
                seconds[name].append((now() - start) / options.steps)
    base = seconds["plain, packed"]
    print(f"{options.backbone}, 16 × {max(LENGTHS)} tokens, {sum(LENGTHS)} real, {device}, n = {options.rounds} rounds")
    for name, found in seconds.items():
        ratios = sorted(a / b for a, b in zip(found, base, strict=True))
        spread = f"{statistics.median(ratios):.2f} [{ratios[0]:.2f}, {ratios[-1]:.2f}]"
        print(f"{name:<42} {1000 * statistics.median(found):8.0f} ms   ratio {spread}")


if __name__ == "__main__":
    main()
