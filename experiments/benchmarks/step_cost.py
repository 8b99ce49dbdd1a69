"""What one training step costs, relative to plain fine-tuning, measured in one process. Prints a Markdown table.

    python experiments/benchmarks/step_cost.py --backbone demo --rounds 5
    python experiments/benchmarks/step_cost.py --methods "FreeLB(steps=5)" "VAT(), Mixout(p=0.9)" --precision bf16

Every row is the real `FineTuner`, with a model and an optimizer of its own, on the same batch of RTE-like lengths.

time: of forward, backward, clipping and update. The rows take turns, round by round; the figure is the median over
  rounds, and the range, of CPU seconds (all threads; on a GPU: of synchronised wall seconds) relative to the first
  row's in the same round.
FLOPs: of matrix products, counted in one step, relative to the first row's; and in forward passes of the first row.
memory: the most that tensors of this row take at once, weights, gradients, AdamW's and the method's own state
  included, relative to the first row's.
"""

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from functools import partial
from typing import Any, cast

import pytorch_lightning as pl
import torch
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

import ftreg.methods
from ftreg import FineTuner, Regularizer
from ftreg._base.quiet import quiet

LENGTHS = [157, 120, 30, 40, 50, 60, 70, 45, 55, 65, 35, 38, 90, 100, 42, 58]
"""Tokens of 16 examples: the mean and the longest of a typical RTE batch."""
PLAIN, PADDED = "plain", "plain, padded"
METHODS = (
    PADDED,
    "Mixout()",
    "Mixout(granularity='weight')",
    "FreeLB(steps=2)",
    "FreeLB(steps=3)",
    "PGD(steps=3)",
    "FGM()",
    "SMART(mu=0)",
    "SMART()",
    "VAT()",
    "FreeLB(steps=3), SMART(), Mixout()",
)


class Row:
    """One way to take a step."""

    def __init__(self, name: str, backbone: str, precision: str, compiled: bool) -> None:
        methods: list[Regularizer] = []
        if name not in (PLAIN, PADDED):
            methods = eval(f"[{name}]", dict(vars(ftreg.methods)))
        self.trainer = pl.Trainer(
            devices=1,
            max_epochs=-1,
            max_steps=1_000_000,
            precision=cast(Any, precision),
            callbacks=cast(Any, methods),
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        self.model = FineTuner(backbone, compile=compiled, packing=name != PADDED, warmup=0.0)
        self.model.trainer = self.trainer
        self.model.setup("fit")
        self.model.configure_model()
        self.model.to(self.trainer.strategy.root_device)
        self.optimizer = self.model.configure_optimizers()["optimizer"]
        for method in methods:
            method.on_train_start(self.trainer, self.model)

    def step(self, batch: dict[str, Any]) -> None:
        """As Lightning takes it: the optimizer calls forward, backward and clipping."""

        def closure() -> torch.Tensor:
            with self.trainer.precision_plugin.train_step_context():
                loss = self.model.training_step(batch, 0)
            self.optimizer.zero_grad()
            loss.backward()
            self.model.on_after_backward()
            self.model.configure_gradient_clipping(self.optimizer)
            return loss

        self.model.optimizer_step(0, 0, self.optimizer, closure)


def clock(device: torch.device) -> Callable[[], float]:
    """Seconds so far: of CPU, or of the wall once the GPU is done."""
    if device.type == "cpu":
        return time.process_time

    def synchronised() -> float:
        torch.cuda.synchronize()
        return time.perf_counter()

    return synchronised


def build(batch: dict[str, Any], *settings: Any) -> tuple[Row, int]:
    """A row after two steps, and the most bytes that it took at once. On the CPU, the profiler sees each allocation."""
    if batch["labels"].is_cuda:
        before = torch.cuda.memory_allocated()
        torch.cuda.reset_peak_memory_stats()
        row = Row(*settings)
        for _ in range(2):
            row.step(batch)
        return row, torch.cuda.max_memory_allocated() - before
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        row = Row(*settings)
        for _ in range(2):
            row.step(batch)
    assert profiler.profiler is not None
    events = cast(Any, profiler.profiler.kineto_results).events()
    allocations = sorted((e.start_ns(), e.nbytes()) for e in events if e.name() == "[memory]")
    now = peak = 0
    for _, size in allocations:
        now += size
        peak = max(peak, now)
    return row, peak


def flops(work: Callable[[], Any]) -> int:
    """Of matrix products; compiled layers are run as they are written, where they can be counted."""
    with torch.compiler.set_stance("force_eager"), FlopCounterMode(display=False) as counter:
        work()
    return int(counter.get_total_flops())


def rte_like(device: torch.device) -> dict[str, Any]:
    """One batch of random tokens."""
    mask = (torch.arange(max(LENGTHS)) < torch.tensor(LENGTHS)[:, None]).long()
    ids = torch.randint(200, 1000, mask.shape, generator=torch.Generator().manual_seed(0)) * mask
    rows = torch.arange(len(LENGTHS))
    tensors = {"input_ids": ids, "attention_mask": mask, "labels": rows % 2, "row_ids": rows}
    return {name: tensor.to(device) for name, tensor in tensors.items()} | {"lengths": LENGTHS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--methods", nargs="+", default=METHODS, help="rows, each one or more methods as in Python")
    parser.add_argument("--backbone", default="demo")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=2, help="steps a round")
    parser.add_argument("--precision", choices=["fp32", "bf16"], default="fp32", help="bf16 is mixed")
    parser.add_argument("--compile", action="store_true")
    options = parser.parse_args()
    quiet()
    precision = {"fp32": "32-true", "bf16": "bf16-mixed"}[options.precision]
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch, now = rte_like(device), clock(device)
    rows, memory, products = {}, {}, {}
    for name in dict.fromkeys([PLAIN, *options.methods]):
        rows[name], memory[name] = build(batch, name, options.backbone, precision, options.compile)
        products[name] = flops(partial(rows[name].step, batch))
    forward = flops(partial(rows[PLAIN].model, batch))
    seconds: dict[str, list[float]] = {name: [] for name in rows}
    for _ in range(options.rounds):
        for name, row in rows.items():
            start = now()
            for _ in range(options.steps):
                row.step(batch)
            seconds[name].append((now() - start) / options.steps)

    where = f"CPU ({platform.machine()}), {torch.get_num_threads()} thread(s)"
    if device.type == "cuda":
        where = torch.cuda.get_device_name()
    print(
        f"{options.backbone}, {len(LENGTHS)} sentences of {sum(LENGTHS):,} tokens, the longest of {max(LENGTHS)}; "
        f"{where}; {options.precision}{', compiled' if options.compile else ''}; "
        f"n = {options.rounds} rounds of {options.steps} steps\n"
    )
    print("| methods | ms a step | time | FLOPs | in forwards | memory |")
    print("|---|---:|---:|---:|---:|---:|")
    for name, found in seconds.items():
        ratios = [a / b for a, b in zip(found, seconds[PLAIN], strict=True)]
        cells = [
            name,
            f"{1000 * statistics.median(found):.0f}",
            f"{statistics.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]",
            f"{products[name] / products[PLAIN]:.2f}",
            f"{products[name] / forward:.2f}",
            f"{memory[name] / memory[PLAIN]:.2f} ({memory[name] / 2**20:,.0f} MiB)",
        ]
        print(f"| {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
