"""transformers' `run_glue.py` with methods: new in it are `MethodArguments`, `methods=` and the Trainer's import.

    python experiments/examples/run_glue_with_methods.py --model_name_or_path bert-base-cased \
      --train_file train.csv --validation_file dev.csv --do_train --do_eval --output_dir out --mixout 0.7 --freelb

Files are CSV or JSON lines with a column `label`; the others are the text, in their order: one sentence, or two.
"""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from datasets import load_dataset
from transformers import (
    AutoModelForSequenceClassification,
    AutoTokenizer,
    DataCollatorWithPadding,
    HfArgumentParser,
    TrainingArguments,
    set_seed,
)

from ftreg import SMART, FreeLB, Mixout, Regularizer, UsageError
from ftreg.huggingface import Trainer


@dataclass
class DataTrainingArguments:
    train_file: str = field(metadata={"help": "CSV or JSON lines"})
    validation_file: str = field(metadata={"help": "CSV or JSON lines"})
    max_seq_length: int = field(default=128, metadata={"help": "longer texts are cut"})


@dataclass
class ModelArguments:
    model_name_or_path: str = field(metadata={"help": "a folder or a Hub id"})


@dataclass
class MethodArguments:
    mixout: float | None = field(default=None, metadata={"help": "Mixout with this p"})
    freelb: bool = field(default=False, metadata={"help": "FreeLB"})
    smart: bool = field(default=False, metadata={"help": "SMART"})

    def methods(self) -> list[Regularizer]:
        mixout = [] if self.mixout is None else [Mixout(p=self.mixout)]
        return [*mixout, *([FreeLB()] if self.freelb else []), *([SMART()] if self.smart else [])]


def main(argv: Sequence[str] | None = None) -> dict[str, float]:
    parser = HfArgumentParser((ModelArguments, DataTrainingArguments, MethodArguments, TrainingArguments))  # type: ignore[arg-type]
    model_args, data_args, method_args, training_args = parser.parse_args_into_dataclasses(args=argv)
    set_seed(training_args.seed)

    files = {"train": data_args.train_file, "validation": data_args.validation_file}
    raw = load_dataset("csv" if data_args.train_file.endswith(".csv") else "json", data_files=files)
    labels = sorted(set(raw["train"]["label"]))
    texts = [name for name in raw["train"].column_names if name != "label"][:2]

    tokenizer = AutoTokenizer.from_pretrained(model_args.model_name_or_path)
    model = AutoModelForSequenceClassification.from_pretrained(
        model_args.model_name_or_path,
        num_labels=len(labels),
        id2label={number: str(label) for number, label in enumerate(labels)},
        label2id={str(label): number for number, label in enumerate(labels)},
    )

    def preprocess(examples: dict[str, list[Any]]) -> Any:
        result = tokenizer(*(examples[name] for name in texts), max_length=data_args.max_seq_length, truncation=True)
        return {**result, "labels": [labels.index(label) for label in examples["label"]]}

    tokenised = raw.map(preprocess, batched=True, remove_columns=raw["train"].column_names)
    # Named rows have the same noise however batches are made, and dealt out to processes.
    train = tokenised["train"].add_column("row_ids", range(len(tokenised["train"])))

    def compute_metrics(prediction: Any) -> dict[str, float]:
        return {"accuracy": float((np.argmax(prediction.predictions, axis=1) == prediction.label_ids).mean())}

    trainer = Trainer(
        model=model,
        args=training_args,
        train_dataset=train,
        eval_dataset=tokenised["validation"],
        processing_class=tokenizer,
        data_collator=DataCollatorWithPadding(tokenizer),
        compute_metrics=compute_metrics,
        methods=method_args.methods(),
    )
    if training_args.do_train:
        trainer.train(resume_from_checkpoint=training_args.resume_from_checkpoint)
        trainer.save_model()
        trainer.save_state()
    metrics: dict[str, float] = trainer.evaluate() if training_args.do_eval else {}
    trainer.save_metrics("eval", metrics)
    return metrics


if __name__ == "__main__":
    try:
        print(json.dumps(main()))
    except UsageError as error:
        sys.exit(f"error: {error}")
