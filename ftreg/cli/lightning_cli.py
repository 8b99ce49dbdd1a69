"""Private members of Lightning's command line and of its parser are used here alone; tried with Lightning 2.6."""

from collections.abc import Mapping
from typing import Any

from pytorch_lightning.cli import LightningArgumentParser, LightningCLI


class CommandLine(LightningCLI):
    """Lightning's command line calls these hooks under names of their own, and takes no option from a checkpoint."""

    words: Mapping[str, Mapping[str, str]]
    """Flags that are said on the command line alone, by subcommand, with what each does."""

    def run_subcommand(self, subcommand: str) -> None:
        """Run the subcommand, once everything is built."""
        super()._run_subcommand(subcommand)

    def parser_of(self, subcommand: str) -> LightningArgumentParser:
        """Return the parser of a subcommand's options."""
        return self._parser(subcommand)

    def option_names(self, subcommand: str) -> list[str]:
        """Return the names of a subcommand's options, without their dashes."""
        return [name[2:] for name in self.parser_of(subcommand)._option_string_actions if name.startswith("--")]

    def _run_subcommand(self, subcommand: str) -> None:
        self.run_subcommand(subcommand)

    def _prepare_subcommand_parser(self, klass: type, subcommand: str, **kwargs: Any) -> LightningArgumentParser:
        parser = super()._prepare_subcommand_parser(klass, subcommand, **kwargs)
        for name, text in self.words[subcommand].items():
            parser.add_argument(f"--{name}", action="store_true", help=text)
        return parser

    def _parse_ckpt_path(self) -> None:
        # The stock one overrides what the command line says by what a checkpoint does.
        pass
