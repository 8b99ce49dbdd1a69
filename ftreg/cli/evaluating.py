"""`ftreg validate|test|predict` scores a checkpoint as its run would have scored it, and says what is scored.

The run's options come from the checkpoint, and those that are given here win. Nothing is written into the record of the
training: no logger hears of it, and predictions have names of their own.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from ftreg._base.errors import UsageError
from ftreg._base.names import listed
from ftreg.cli.console import SAMPLE
from ftreg.cli.option_names import CONSOLE
from ftreg.core.method import Regularizer
from ftreg.core.method_registry import rebuild, structural
from ftreg.lightning.printing import say
from ftreg.run.folder import check_foreign, check_writable, held
from ftreg.run.identity import same
from ftreg.run.resume import KEY, MAY_DIFFER, argument, as_yaml
from glue_tasks import fingerprint

GROUPS = ("model", "data", "seeds")


def adopted(checkpoint: Mapping[str, Any], config: Mapping[str, Any], given: Collection[str]) -> list[str]:
    """Return arguments that say what the checkpoint's run had: to be read before those that are given here.

    Args:
        checkpoint: what it holds.
        config: the resolved configuration without it.
        given: dotted names of the options that were given.
    """
    run = checkpoint.get(KEY, {}).get("config", {})
    found = [(group, name, value) for group in GROUPS for name, value in run.get(group, {}).items()]
    found += [("trainer", "precision", value) for value in [run.get("trainer", {}).get("precision")] if value]
    return [
        argument(f"{group}.{name}", value)
        for group, name, value in found
        # A path belongs to its source.
        if name in config[group] and not ((group, name) == ("data", "path") and "data.source" in given)
    ]


def restructured(checkpoint: Mapping[str, Any], callbacks: Any) -> list[str]:
    """Return arguments for the methods that changed the checkpoint's network, to be read after those given here.

    Raises:
        UsageError: one of them is unknown here; a checkpoint does not say what code is imported.
    """
    listed_here = {str(entry.class_path).rpartition(".")[2] for entry in listed(callbacks)}
    record = [entry for entry in checkpoint.get("ftreg", {}).get("methods", []) if entry["class"] not in listed_here]
    return [
        "--trainer.callbacks+=" + as_yaml({"class_path": f"{type(m).__module__}.{m.name}", "init_args": m.options()})
        for m in rebuild(record)
    ]


def evaluated(callbacks: Sequence[pl.Callback]) -> list[pl.Callback]:
    """Return the callbacks without the methods that only train: some would look for what they started from."""
    return [c for c in callbacks if not isinstance(c, Regularizer) or structural(c)]


def check_evaluation(command: str, options: Any, untrained: bool, given: Mapping[str, str]) -> None:
    """Refuse an evaluation of nothing, and what would mix it with a run.

    Args:
        command: validate, test or predict.
        options: parsed.
        untrained: whether that was said.
        given: where each option was given, by its dotted name.

    Raises:
        UsageError: what is wrong, and what to do.
    """
    if bool(options.ckpt_path) == untrained:
        raise UsageError(
            f"--untrained is for {command} without a checkpoint: leave it or --ckpt_path out"
            if untrained
            else f"{command} needs --ckpt_path RUN/checkpoints/best.ckpt, or --untrained for a head without training"
        )
    if options.trainer.logger and any(n.startswith("trainer.logger") and w == CONSOLE for n, w in given.items()):
        raise UsageError(f"trainer.logger: {command} logs nothing, what it finds is printed; leave it out")
    options.trainer.logger = False


class Place:
    """The place where the predictions of a checkpoint go.

    Args:
        root: the folder, below which they have one of their own.
        checkpoint: its path; empty for none.

    Raises:
        UsageError: they cannot be written there, or another run is there.
    """

    def __init__(self, root: Path, checkpoint: str) -> None:
        check_foreign(root)
        self.root, self.path = root, Path(checkpoint)
        self.own = bool(checkpoint) and self.path.resolve().parent == (root / "checkpoints").resolve()
        self.trained = bool(checkpoint)

    def check(self, splits: Collection[str], recorded: Collection[str]) -> None:
        """Refuse to put predictions where others are.

        Args:
            splits: that are predicted.
            recorded: that a fit writes predictions of itself.
        """
        check_writable(self.root)
        if held(self.root) and (not self.own or set(splits) & set(recorded)):
            raise UsageError(
                f"{self.root} has the record of a run, which these predictions are not of; "
                "give another trainer.default_root_dir"
            )

    def file(self, split: str) -> Path:
        """Return a split's file: of the best one `SPLIT.parquet`, as a fit has it; of others, with its name."""
        which = "untrained" if not self.trained else self.path.stem if self.own else "best"
        return self.root / "predictions" / (f"{split}.parquet" if which == "best" else f"{split}.{which}.parquet")


class Banner(pl.Callback):
    """Says in one line what is scored, before it is.

    Args:
        data: a GlueDataModule.
        config: the resolved configuration.
        checkpoint: its path; empty for none.
        run: what it says of its run.
        step: optimizer steps at it.
    """

    def __init__(
        self, data: Any, config: Mapping[str, Any], checkpoint: str, run: Mapping[str, Any], step: int
    ) -> None:
        self.data, self.config, self.checkpoint, self.run, self.step = data, config, checkpoint, run, step

    def setup(self, trainer: pl.Trainer, pl_module: pl.LightningModule, stage: str) -> None:
        """Say the line, now that the rows are there."""
        splits = {"validate": self.data.evaluation_splits, "predict": self.data.task.test}.get(
            stage, self.data.dev_splits
        )
        say(" · ".join(self._line(stage, splits)))

    def _line(self, stage: str, splits: Sequence[str]) -> Iterator[str]:
        yield f"{'predicts' if stage == 'predict' else 'scores'} {self.data.task.title}"
        yield ", ".join(f"{split} {len(self.data.table(split)):,} rows" for split in splits)
        where = f" {self.data.path}" if self.data.path else ""
        yield f"source {SAMPLE if self.data.source == 'sample' else f'{self.data.source}{where}'}"
        yield f"backbone {self.config['model']['backbone']}"
        yield f"{self.checkpoint}, step {self.step:,}" if self.checkpoint else "no checkpoint: the head is untrained"
        before = self.run.get("config", {})
        changed = [
            f"{group}.{name}"
            for group in GROUPS
            for name, value in before.get(group, {}).items()
            if name in self.config[group] and not same(value, self.config[group][name])
        ]
        if changed:
            yield f"other than in its run: {', '.join(changed)}"
        rows = self.run.get("rows", {}) if {*changed} <= MAY_DIFFER else {}
        moved = [split for split in splits if split in rows and rows[split] != fingerprint(self.data.table(split))]
        if moved:
            yield f"not the rows of its run, and maybe some that it was trained on: {', '.join(moved)}"
