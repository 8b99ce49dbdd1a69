"""Right inputs in plain values, to be altered."""

import inspect
from typing import Any

from ftreg.testing.cases import exported

BASE = [
    "--data.source=sample",
    "--data.train_subset=32",
    "--model.backbone=tiny",
    "--data.max_length=32",
    "--trainer.accelerator=cpu",
    "--trainer.max_epochs=1",
]
METHODS: dict[str, dict[str, Any]] = {
    name: {
        option: parameter.default if parameter.default is not parameter.empty else None
        for option, parameter in inspect.signature(cls).parameters.items()
    }
    for name, cls in exported().items()
}
CONFIGURATION: dict[str, Any] = {
    "model": {"lr": 2e-5, "weight_decay": 0.01, "warmup": 0.1, "attention": "eager", "packing": True},
    "data": {
        "task": "rte",
        "protocol": "holdout",
        "train_subset": 16,
        "max_length": 64,
        "batch_size": 8,
        "evaluate": True,
        "also": [{"task": "mrpc", "train_subset": 16}],
        "sampling": "temperature",
        "temperature": 2.0,
    },
    "trainer": {
        "max_steps": 4,
        "max_time": "00:00:10:00",
        "val_check_interval": 2,
        "accumulate_grad_batches": 1,
        "gradient_clip_val": 1.0,
        "devices": 1,
        "precision": "32-true",
        "log_every_n_steps": 5,
        "logger": [{"class_path": "ftreg.loggers.CSVLogger"}],
        "callbacks": [{"class_path": "Mixout", "init_args": {"p": 0.7}}, "FreeLB"],
    },
    "seeds": {"init": 0, "order": 1, "split": 2},
}
OPTIONS = [
    *(f"{group}.{name}" for group, options in CONFIGURATION.items() for name in options),
    *(
        "config",
        "ckpt_path",
        "trainer.callbacks",
        "trainer.callbacks+",
        "trainer.callbacks.p",
        "model",
        "data",
        "seeds",
    ),
    *("trainer.strategy", "trainer.plugins", "trainer.default_root_dir", "trainer.num_nodes", "model.backbone", "x"),
    *("data.path", "data.source", "data.train_split", "seed_everything", "weights_only", "trainer.min_epochs"),
    *("trainer.check_val_every_n_epoch", "trainer.num_sanity_val_steps", "trainer.callbacks.init_args", "model.lrr"),
]
GRID: dict[str, Any] = {
    "base": [*BASE, "--trainer.max_steps=2"],
    "tasks": ["rte"],
    "methods": {"plain": [], "mixout": ["--trainer.callbacks+=Mixout", "--trainer.callbacks.p=0.5"]},
    "seeds": {"init+order": [0], "split": 7},
    "protocol": "holdout",
    "train_subset": 16,
    "stage_one": [],
    "match_compute": {"mixout": 2},
    "tune": {"seeds": [8], "settings": {"plain": [["--model.lr=1e-5"]], "mixout": [["--model.lr=2e-5"]]}},
    "primary": [["mixout", "plain"]],
    "slurm": {"partition": "gpu", "time": "4:00:00"},
}
TASK: dict[str, Any] = {
    "name": "mine",
    "columns": ["premise", "claim"],
    "labels": ["no", "yes"],
    "metrics": ["accuracy", "f1"],
    "label": "label",
    "train": "train",
    "dev": ["dev"],
    "test": ["test"],
}
_ROWS = [
    (f"the {noun} of number {n}", f"it is \"{n}\", not '{n + 1}'", ("no", "yes")[n % 2])
    for n, noun in enumerate(("cat", "house", "río", "été", "dog", "sea", "tree", "car") * 4)
]
TEXTS = {
    "csv": "premise,claim,label\n" + "".join(f'{p},"{c.replace(chr(34), chr(34) * 2)}",{y}\n' for p, c, y in _ROWS),
    "tsv": "premise\tclaim\tlabel\n" + "".join(f"{p}\t{c.replace(chr(34), '')}\t{y}\n" for p, c, y in _ROWS),
    "jsonl": "".join(
        f'{{"premise": "{p}", "claim": "{c.replace(chr(34), "")}", "label": "{y}", "id": {n}}}\n'
        for n, (p, c, y) in enumerate(_ROWS)
    ),
    "txt": "".join(f"{p}\n{c}\n" + "\n" * (n % 5 == 0) for n, (p, c, _) in enumerate(_ROWS)),
}
"""Files of one's own, by suffix."""
