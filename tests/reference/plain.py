"""Plain fine-tuning as a careful bare PyTorch loop: no Lightning, no packing, nothing of `ftreg`.

The rows are those that `glue_tasks` gives both; the loop tokenises, batches, pads, initialises the head, orders,
optimises and scores by itself. As a script, it prints one JSON line to hold beside a `result.json`:

    python -m tests.reference.plain --task rte --path GLUE --backbone FOLDER --seed 0 --epochs 3 --lr 5e-5
"""

import argparse
import json
import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from scipy import stats
from sklearn import metrics
from torch import Tensor, nn
from transformers import AutoModelForSequenceClassification, AutoTokenizer

Rows = Sequence[dict[str, Any]]


def chunks(rows: Rows, size: int = 4) -> list[Rows]:
    """A batch's rows by length, a few at a time: the same summed gradient with far less padding."""
    ordered = sorted(rows, key=lambda row: len(str(row)))
    return [ordered[start : start + size] for start in range(0, len(ordered), size)]


def batches(rows: Rows, columns: Sequence[str], tokenizer: Any, size: int, order: Sequence[int]) -> Iterator[Any]:
    """Batches of rows in that order, padded to their longest."""
    for start in range(0, len(order), size):
        part = [rows[i] for i in order[start : start + size]]
        texts = [[row[column] for row in part] for column in columns]
        inputs = tokenizer(*texts, truncation="longest_first", max_length=256, padding=True, return_tensors="pt")
        yield inputs, torch.tensor([row["label"] for row in part])


def loss_of(logits: Tensor, labels: Tensor) -> Tensor:
    """Mean cross-entropy, or mean squared error for one output."""
    if logits.shape[-1] == 1:
        return nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype))
    return nn.functional.cross_entropy(logits, labels)


def train(model: Any, steps: Sequence[Any], lr: float, decay: float = 0.01, warmup: float = 0.1) -> list[float]:
    """AdamW, warm-up, linear decay and clipping, written out; returns the losses."""
    plain = [p for name, p in model.named_parameters() if "bias" in name or "LayerNorm" in name]
    chosen = {id(p) for p in plain}
    rest = [p for p in model.parameters() if id(p) not in chosen]
    optimizer = torch.optim.AdamW([{"params": rest, "weight_decay": decay}, {"params": plain, "weight_decay": 0.0}])
    total, rise = len(steps), round(warmup * len(steps))
    losses = []
    for number, make in enumerate(steps):
        rate = number / rise if number < rise else (total - number) / max(1, total - rise)
        for group in optimizer.param_groups:
            group["lr"] = lr * rate
        parts = make()
        whole = sum(len(labels) for _, labels in parts)
        optimizer.zero_grad()
        total_loss = 0.0
        for inputs, labels in parts:
            loss = loss_of(model(**inputs).logits, labels) * len(labels) / whole
            loss.backward()
            total_loss += float(loss.detach())
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(total_loss)
    return losses


def score(task: str, logits: Any, labels: Any) -> dict[str, float]:
    """The task's metrics, from scikit-learn and scipy."""
    if logits.shape[-1] == 1:
        found = logits[:, 0]
        return {
            "pearson": float(stats.pearsonr(found, labels).statistic),
            "spearman": float(stats.spearmanr(found, labels).statistic),
        }
    found = logits.argmax(-1)
    if task == "cola":
        return {"matthews": float(metrics.matthews_corrcoef(labels, found))}
    scores = {"accuracy": float(metrics.accuracy_score(labels, found))}
    if task in ("mrpc", "qqp"):
        scores["f1"] = float(metrics.f1_score(labels, found))
    return scores


def run(task: str, path: str, backbone: str, seed: int, epochs: int, lr: float) -> dict[str, Any]:
    """One run on the holdout protocol's rows; scores of the last model."""
    from glue_tasks import GlueDataModule

    data = GlueDataModule(task, backbone, source="tsv", path=path, split_seed=0)
    columns, tokenizer = data.task.columns, AutoTokenizer.from_pretrained(backbone)
    rows = data.table("train").to_list()
    torch.manual_seed(seed)
    model = AutoModelForSequenceClassification.from_pretrained(
        backbone, num_labels=data.task.num_labels, dtype=torch.float32, attn_implementation="eager"
    )
    model.train()
    count = math.ceil(len(rows) / 16)
    feed = iter(
        [
            rows[i]
            for epoch in range(epochs)
            for i in np.random.default_rng([seed, epoch]).permutation(len(rows)).tolist()
        ]
    )
    left = [len(rows)] * epochs

    def step() -> Any:
        if not left[0]:
            left.pop(0)
        size = min(16, left[0])
        left[0] -= size
        batch = [next(feed) for _ in range(size)]
        parts = [batches(part, columns, tokenizer, len(part), range(len(part))) for part in chunks(batch)]
        return [next(part) for part in parts]

    train(model, [step] * (count * epochs), lr)
    model.eval()
    scores = {}
    for split in data.final_splits:
        held = data.table(split).to_list()
        with torch.no_grad():
            order = sorted(range(len(held)), key=lambda i: len(str(held[i])))
            parts = [model(**inputs).logits for inputs, _ in batches(held, columns, tokenizer, 32, order)]
        logits = torch.cat(parts).numpy()
        scores[split] = score(task, logits, np.array([held[i]["label"] for i in order]))
    return {
        "task": task,
        "seed": seed,
        "epochs": epochs,
        "lr": lr,
        "scores": {s: {"last": v} for s, v in scores.items()},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name, kind in (
        ("task", str),
        ("path", str),
        ("backbone", str),
        ("seed", int),
        ("epochs", int),
        ("lr", float),
    ):
        parser.add_argument(f"--{name}", type=kind, required=True)
    print(json.dumps(run(**vars(parser.parse_args()))))
