"""This fine-tunes a token classifier in a LightningModule of one's own, with Mixout, FreeLB and SMART.

    python experiments/examples/tag_with_lightning.py --model bert-base-cased --train train.jsonl --dev dev.jsonl

Each line of a file is `{"tokens": ["Ada", "codes"], "tags": ["B-PER", "O"]}`. What differs from a module without
methods is two lines: the engine, and the loss that it returns.
"""

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoModelForTokenClassification, AutoTokenizer

import ftreg


class Tagger(ftreg.EngineModule):
    """A token classifier.

    Args:
        name: a folder or a Hub id.
        tags: in id order.
        lr: learning rate of AdamW.
    """

    def __init__(self, name: str, tags: Sequence[str], lr: float) -> None:
        super().__init__()
        self.lr = lr
        model = AutoModelForTokenClassification.from_pretrained(name, num_labels=len(tags))
        self.engine = ftreg.Engine(model, [ftreg.Mixout(p=0.7), ftreg.FreeLB(), ftreg.SMART()], seed=0)

    def training_step(self, batch: dict[str, Tensor], index: int) -> Tensor:
        loss: Tensor = self.engine(batch)
        self.log("train/loss", loss, prog_bar=True)
        return loss

    def validation_step(self, batch: dict[str, Tensor], index: int) -> None:
        counted = batch["labels"] != -100
        found = self.engine.model(batch["input_ids"], batch["attention_mask"]).logits.argmax(-1)
        right = (found == batch["labels"])[counted].float()
        self.log("dev/accuracy", right.mean(), batch_size=len(right))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return ftreg.adamw(self.engine, lr=self.lr)


def rows(path: Path, tokenizer: Any, tags: Sequence[str]) -> list[dict[str, Any]]:
    """Read a file: a label on the first token of each word, and none on the others; the line's number names the row."""
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines()):
        row = json.loads(line)
        encoded = tokenizer(row["tokens"], is_split_into_words=True, truncation=True)
        words = encoded.word_ids()
        first = [word is not None and (place == 0 or words[place - 1] != word) for place, word in enumerate(words)]
        labels = [tags.index(row["tags"][word]) if new else -100 for word, new in zip(words, first, strict=True)]
        found.append({"input_ids": encoded["input_ids"], "labels": labels, "row_ids": number})
    return found


def collate(batch: Sequence[dict[str, Any]]) -> dict[str, Tensor]:
    """Pad rows to the longest of them."""
    length = max(len(row["input_ids"]) for row in batch)

    def padded(key: str, value: int) -> Tensor:
        return torch.tensor([row[key] + [value] * (length - len(row[key])) for row in batch])

    mask = torch.tensor([[1] * len(row["labels"]) + [0] * (length - len(row["labels"])) for row in batch])
    names = torch.tensor([row["row_ids"] for row in batch])
    return {
        "input_ids": padded("input_ids", 0),
        "attention_mask": mask,
        "labels": padded("labels", -100),
        "row_ids": names,
    }


def main(arguments: Sequence[str] | None = None) -> float:
    """Train and evaluate; return the accuracy over labelled tokens."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True)
    parser.add_argument("--train", type=Path, required=True)
    parser.add_argument("--dev", type=Path, required=True)
    parser.add_argument("--lr", type=float, default=2e-5)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--batch_size", type=int, default=16)
    options = parser.parse_args(arguments)
    lines = options.train.read_text(encoding="utf-8").splitlines()
    tags = sorted({tag for line in lines for tag in json.loads(line)["tags"]})
    tokenizer = AutoTokenizer.from_pretrained(options.model)
    train, dev = (rows(path, tokenizer, tags) for path in (options.train, options.dev))
    pl.seed_everything(0)
    tagger = Tagger(options.model, tags, options.lr)
    trainer = pl.Trainer(max_epochs=options.epochs, gradient_clip_val=1.0, logger=False, enable_checkpointing=False)
    trainer.fit(tagger, DataLoader(train, options.batch_size, shuffle=True, collate_fn=collate))  # type: ignore[arg-type]
    (scores,) = trainer.validate(tagger, DataLoader(dev, options.batch_size, collate_fn=collate))  # type: ignore[arg-type]
    return float(scores["dev/accuracy"])


if __name__ == "__main__":
    main()
