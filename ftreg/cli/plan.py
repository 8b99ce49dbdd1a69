"""A run's command line is parsed and checked, with its data, its identity and the stage that it starts from.

Parsed ─┬─ FitPlan  a fit that is not run: a stage that another starts from, a cell of a grid
        └─ Cli   runs its subcommand (`ftreg.cli.command`)
"""

import os
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pytorch_lightning.cli import LightningArgumentParser

import ftreg.methods as _methods  # noqa: F401  an imported method is found by its bare name
from ftreg._base.checks import at_least, typed
from ftreg._base.errors import UsageError
from ftreg._base.messages import reading
from ftreg._base.seeds import Seeds
from ftreg.cli import evaluating, trainer_options
from ftreg.cli.config import SaveConfig
from ftreg.cli.declared import check_tasks, with_metrics
from ftreg.cli.lightning_cli import CommandLine
from ftreg.cli.option_names import CONSOLE, Names
from ftreg.cli.parser import Parser, dumped, instantiated
from ftreg.core.checkpoint_reader import load_checkpoint
from ftreg.core.method import check_claims
from ftreg.core.method_registry import subclasses
from ftreg.core.roles import StartsFromFits
from ftreg.encoder.backbone import NAMED, backbone_path
from ftreg.encoder.loading import try_loading
from ftreg.encoder.matching import limits_of, longest, paired
from ftreg.lightning.callbacks import known_callbacks, method_names, methods_of
from ftreg.lightning.compatibility import check_callbacks, check_command
from ftreg.lightning.finetuner import FineTuner
from ftreg.run import resume, stages
from ftreg.run.identity import folder_content, identity
from glue_tasks.data import GlueDataModule
from glue_tasks.overlap import check_overlap
from glue_tasks.tokens import read_tokenizer

DEFAULTS = {
    "max_epochs": 20,
    "num_sanity_val_steps": 0,
    "check_val_every_n_epoch": None,
    "log_every_n_steps": 10,
    "enable_model_summary": False,
    "logger": {"class_path": "ftreg.loggers.CSVLogger"},
}


def check_options(options: Any) -> None:
    """Check types and ranges of what has been parsed, of which null and NaN are left to us.

    Raises:
        UsageError: which option, its value, and what it may be.
    """
    for group, function in (
        ("seeds", Seeds.__init__),
        ("model", FineTuner.__init__),
        ("data", GlueDataModule.__init__),
    ):
        typed(group, function, vars(options[group]))
    for name, seed in vars(options.seeds).items():
        at_least("seeds", 0, **{name: seed})
    trainer_options.check_trainer_options(vars(options.trainer))


UNTRAINED = "evaluate the backbone with a head that nobody has trained, in place of a checkpoint"
WORDS: dict[str, dict[str, str]] = {
    "fit": {
        "overwrite": "begin anew in a folder that has a run, which is moved aside",
        "reshard": "go on with a run on other devices or another accumulation, where dropout draws other masks",
    },
    **{name: {"untrained": UNTRAINED} for name in ("validate", "test", "predict")},
}
"""Words that are said on the command line alone, by subcommand, with what each does."""


class Parsed(CommandLine):
    """One subcommand, of fit, validate, test and predict."""

    def add_arguments_to_parser(self, parser: LightningArgumentParser) -> None:
        """Add the seeds, and link what follows from other options."""
        parser.add_class_arguments(Seeds, "seeds")
        parser.link_arguments("seeds.init", "model.init_seed")
        parser.link_arguments("seeds.order", "data.order_seed")
        parser.link_arguments("seeds.split", "data.split_seed")
        parser.link_arguments("model.backbone", "data.tokenizer", compute_fn=_tokenizer)
        parser.link_arguments("data.labels", "model.labels", apply_on="instantiate")
        parser.link_arguments("data.kind", "model.kind", apply_on="instantiate")

    words = WORDS
    said: Mapping[str, bool]
    """Which of the words were said. They are not options of a run: `config.yaml` has none of them."""

    def parse_arguments(self, parser: LightningArgumentParser, args: Any) -> None:
        """Check names first, then types and values, then what a checkpoint has to say about them."""
        self.arguments = arguments = list(args)
        names = Names(self.option_names(arguments[0]), known_callbacks(), [cls.__name__ for cls in subclasses()])
        names.check(arguments[1:])
        check_callbacks(names.listed)
        check_tasks(arguments[1:])
        self.config = parser.parse_args(arguments)
        options = self.config[arguments[0]]
        check_options(options)
        _cut(options, names.given)
        check_command(arguments[0], vars(options.trainer))
        self.said = {name: bool(options.pop(name)) for name in WORDS[arguments[0]]}
        for name in self.said:
            if names.given.get(name, CONSOLE) != CONSOLE:
                raise UsageError(f"{names.given[name]}: {name} is for one command; give it there, as --{name}")
        if arguments[0] == "fit":
            # Before a stage is trained for them.
            methods = methods_of(options.trainer.callbacks)
            check_claims(methods)
            for method in methods:
                method.check(methods)
            options.data.evaluate &= all(method.supervised for method in methods)
        if options.ckpt_path in ("best", "last"):
            root = options.trainer.default_root_dir
            if root is None and arguments[0] != "fit":
                raise UsageError(f"ckpt_path {options.ckpt_path}: of which run? Give trainer.default_root_dir")
            folder = Path(root or self.default_root(arguments[0])).expanduser() / "checkpoints"
            options.ckpt_path = str(folder / f"{options.ckpt_path}.ckpt")
        path = options.ckpt_path
        if path == "hpc":
            raise UsageError("ckpt_path hpc: no fit of ftreg leaves such a checkpoint; give last, best or a path")
        if path:
            checkpoint = load_checkpoint(path, "ckpt_path")
            self._earlier = (path, dict(checkpoint.get(resume.KEY, {})))
            self.steps_before = int(checkpoint.get("global_step", 0))
            if arguments[0] != "fit":
                own = evaluating.adopted(checkpoint, self._plain(arguments[0]), names.given)
                own = [arguments[0], *own, *arguments[1:]]
                own += evaluating.restructured(checkpoint, options.trainer.callbacks)
                self.config = parser.parse_args([*own, f"--ckpt_path={path}"])
                options = self.config[arguments[0]]
                check_options(options)
                _cut(options, names.given)
        if arguments[0] != "fit":
            evaluating.check_evaluation(arguments[0], options, self.said["untrained"], names.given)
            for name in self.said:
                options.pop(name, None)

    def default_root(self, subcommand: str) -> str:
        """Return the run's folder where none is given: a fit with the same options has the same."""
        options = self.config[subcommand]
        task = options.data.task if isinstance(options.data.task, str) else options.data.task.name
        methods = "+".join(method_names(options.trainer.callbacks)) or "plain"
        seeds = "-".join(str(value) for value in options.seeds.as_dict().values())
        return f"runs/{task}/{methods}/{seeds}-{identity(self._plain(subcommand), {})[:8]}"

    _earlier: tuple[str, dict[str, Any]] | None = None
    steps_before = 0
    """Optimizer steps of the checkpoint that is gone on from."""

    @cached_property
    def stage(self) -> "FitPlan | None":
        """The stage that this fit starts from, if a method has any."""
        if self.staged is None:
            return None
        try:
            return build(["fit", *stages.stage_arguments(self.staged, self._plain())], FitPlan)
        except UsageError as error:
            raise UsageError(f"{self.staged.name}.stages: {error}") from error

    @cached_property
    def staged(self) -> StartsFromFits | None:
        """The method whose stages are run before this fit."""
        return stages.staged(self._plain()) if self.subcommand == "fit" else None

    @property
    def stage_folder(self) -> Path | None:
        """The folder of the stage that this fit starts from, which may not be there yet."""
        if self.staged is None or self.stage is None:
            return None
        return stages.stage_folder(self.staged, self.stage.datamodule.task.name, self.stage.identity())

    def refuse_overlap(self, data: GlueDataModule) -> None:
        """Refuse stages that train on rows which `data`, the run's own, are evaluated on, unless that is allowed."""
        stage = self.stage
        while self.staged is not None and not self.staged.allows_overlap and stage is not None:
            found = check_overlap(data, stage.datamodule)
            if found is not None:
                raise UsageError(
                    f"{self.staged.name}: stage {stage.datamodule.task.name} has {found}; "
                    "give the stage other rows, or set overlap=allow and say so where you report"
                )
            stage = stage.stage

    def refuse(self, data: GlueDataModule) -> None:
        """Refuse what would make the record of a fit wrong, before a stage is trained for it."""
        FineTuner(**self._plain()["model"], labels=data.labels, kind=data.kind)
        model = self.config.fit.model
        limits_of(model.backbone).check_tokenizer(
            read_tokenizer(backbone_path(model.backbone)), model.backbone, paired(data)
        )
        try_loading(model.backbone, data.labels, model.attention, model.head, data.kind)
        options = self.config.fit.trainer
        if options.max_epochs == -1 and options.max_steps == -1:
            raise UsageError("training has no end; set trainer.max_epochs or trainer.max_steps")
        if self._earlier is not None:
            resume.check_same_run(*self._earlier, data.task.name, self._plain())

    def identity(self) -> str:
        """Return the identity of the run, with what paths and stages stand for."""
        config = self._plain()
        contents = {"data": ",".join(self.datamodule.fingerprints.values())}
        backbone = config["model"]["backbone"]
        # What else lies in the cache beside a Hub id's files is not the run's.
        if backbone in NAMED or os.path.isdir(os.path.expanduser(backbone)):
            contents["backbone"] = folder_content(backbone_path(backbone))
        if self.stage is not None:
            contents["stages"] = self.stage.identity()
        return identity(config, contents)

    def data(self) -> GlueDataModule:
        """Return the run's data, apart from the trainer."""
        return data_of(data_options(self._plain()))

    def _plain(self, subcommand: str | None = None) -> dict[str, Any]:
        """Return the resolved configuration as plain values, without what is linked."""
        name = subcommand or str(self.subcommand)
        text = dumped(self.parser_of(name), self.config[name])
        return with_metrics(yaml.safe_load(text))


class FitPlan(Parsed):
    """A fit that is not run."""

    def instantiate_classes(self) -> None:
        """Build the data alone."""
        self.datamodule = self.data()

    def run_subcommand(self, subcommand: str) -> None:
        """Run nothing."""


def data_options(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return all that the rows of a resolved configuration depend on, linked options with them."""
    linked = {"tokenizer": backbone_path(config["model"]["backbone"]), "split_seed": config["seeds"]["split"]}
    return {**config["data"], **linked}


def data_of(options: Mapping[str, Any]) -> GlueDataModule:
    """Return the data with these options, typed as on the command line."""
    parser = Parser()
    parser.add_class_arguments(GlueDataModule, "data")
    made: GlueDataModule = instantiated(parser, {"data": options}).data
    return made


def _cut(options: Any, given: Collection[str]) -> None:
    """Make `data.max_length` what the backbone takes, where the user has not chosen it."""
    options.data.max_length = longest(options.model.backbone, options.data.max_length, "data.max_length" in given)


def _tokenizer(backbone: Any) -> str:
    typed("model", FineTuner.__init__, {"backbone": backbone})  # links come before types
    return backbone_path(backbone)


T = TypeVar("T", bound=Parsed)


def build(arguments: Sequence[str], kind: type[T]) -> T:
    """Read a command line as one of the kinds here, or as `ftreg.cli.command.Cli`, which runs it."""
    with reading():
        return kind(
            FineTuner,
            GlueDataModule,
            save_config_callback=SaveConfig,
            trainer_defaults=DEFAULTS,
            seed_everything_default=False,
            parser_class=Parser,
            args=list(arguments),
            auto_configure_optimizers=False,
            load_from_checkpoint_support=False,
        )
