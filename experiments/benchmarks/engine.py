"""This measures what a loop of one's own costs beside `FineTuner`: the time of a step, one in turn with the other.

    python experiments/benchmarks/engine.py [--device cuda] [--backbone FOLDER] [--steps 40] [--rounds 5]

It prints one JSON line a method: median milliseconds of both and their ratio, with the spread over rounds. Without a
backbone it is BERT base's shape with random weights. Both run without packing, on the same rows.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
import transformers
from torch.utils.data import DataLoader

import ftreg
from ftreg.testing.encoders import checkpoint

METHODS: dict[str, Callable[[], list[Any]]] = {
    "plain": list,
    "Mixout": lambda: [ftreg.Mixout()],
    "FreeLB": lambda: [ftreg.FreeLB()],
    "SMART": lambda: [ftreg.SMART()],
    "Mixout + FreeLB + SMART": lambda: [ftreg.Mixout(), ftreg.FreeLB(), ftreg.SMART()],
}
WARM = 3


class Clock(pl.Callback):
    """Seconds of each step."""

    def __init__(self, device: str) -> None:
        self.device, self.times = device, []  # type: ignore[var-annotated]

    def on_train_batch_start(self, *args: Any) -> None:
        self.since = now(self.device)

    def on_train_batch_end(self, *args: Any) -> None:
        self.times.append(now(self.device) - self.since)


def now(device: str) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter()


def batches(count: int, device: str, rows: int, tokens: int) -> list[dict[str, Any]]:
    random = torch.Generator().manual_seed(0)
    ids = [torch.randint(5, 100, (rows, tokens), generator=random) for _ in range(count)]
    labels = torch.randint(0, 2, (rows,), generator=random)
    found = [{"input_ids": i, "attention_mask": torch.ones_like(i), "labels": labels} for i in ids]
    return [{k: v.to(device) for k, v in b.items()} | {"row_ids": torch.arange(rows, device=device)} for b in found]


def in_finetuner(backbone: str, methods: list[Any], data: list[Any], device: str) -> list[float]:
    clock = Clock(device)
    trainer = pl.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        callbacks=[*methods, clock],
    )
    trainer.fit(ftreg.FineTuner(backbone, packing=False, attention="sdpa"), DataLoader(data, batch_size=None))  # type: ignore[arg-type]
    return clock.times[WARM:]


def in_a_loop(backbone: str, methods: list[Any], data: list[Any], device: str) -> list[float]:
    model = transformers.AutoModelForSequenceClassification.from_pretrained(backbone, attn_implementation="sdpa")
    engine = ftreg.Engine(model.to(device).train(), methods, total_steps=len(data))
    optimizer = ftreg.AdamW(dict(engine.encoder.named_parameters()), {}, 2e-5, 0.01)
    times = []
    for batch in data:
        since = now(device)
        engine(batch).backward()
        engine.before_step()
        torch.nn.utils.clip_grad_norm_(engine.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        engine.after_step()
        times.append(now(device) - since)
    return times[WARM:]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--backbone", default="")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=16)
    parser.add_argument("--tokens", type=int, default=64)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        base = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12, "intermediate_size": 3072}
        backbone = options.backbone or checkpoint(Path(folder), "bert", **base, vocab_size=30522)
        data = batches(options.steps + WARM, options.device, options.rows, options.tokens)
        for name, methods in METHODS.items():
            pairs = []
            for number in range(options.rounds):
                both = (in_finetuner, in_a_loop) if number % 2 == 0 else (in_a_loop, in_finetuner)
                found = {run: statistics.median(run(backbone, methods(), data, options.device)) for run in both}
                pairs.append((found[in_finetuner], found[in_a_loop]))
            ratios = [loop / tuner for tuner, loop in pairs]
            record = {
                "methods": name,
                "device": torch.cuda.get_device_name() if options.device == "cuda" else "cpu",
                "finetuner_ms": round(1e3 * statistics.median(a for a, _ in pairs), 2),
                "loop_ms": round(1e3 * statistics.median(b for _, b in pairs), 2),
                "ratio": round(statistics.median(ratios), 3),
                "ratios": [round(ratio, 3) for ratio in ratios],
            }
            print(json.dumps(record), flush=True)


if __name__ == "__main__":
    main()
