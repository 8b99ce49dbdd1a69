"""`ftreg` on the command line: what needs no torch is answered at once, the rest is imported when needed."""

import importlib
import io
import sys
from collections.abc import Sequence

from ftreg import __version__
from ftreg._base.errors import INTERRUPTED, UsageError
from ftreg._base.messages import answered
from ftreg._base.names import unknown

COMMANDS = {
    "fit": "fine-tune an encoder, evaluate it and record the run",
    "validate": "score a checkpoint on the splits that the protocol watches during training",
    "test": "score a checkpoint on the task's dev split",
    "predict": "write a checkpoint's predictions for the task's test split",
    "bench": "run every method of a grid on every task with every seed",
    "report": "compare methods over seeds: tables, figures and a page",
    "cite": "print the BibTeX of what configurations or runs use",
}
HOMES = {"bench": "ftreg.bench.command:main", "report": "ftreg.report.command:main", "cite": "ftreg.cli.citation:main"}
"""Where the commands are that are not Lightning's: functions of the arguments after the command, to an exit code."""
HELP = f"""usage: ftreg COMMAND [--config FILE ...] [--OPTION VALUE ...]

Regularised fine-tuning of pre-trained encoders on GLUE.

commands:
{chr(10).join(f"  {name:<10}{text}" for name, text in COMMANDS.items())}

options:
  -h, --help    this text; ftreg COMMAND --help lists the options of a command
  --version     the version

for example:
  ftreg fit --data.task rte --data.source sample --model.backbone demo --trainer.max_steps 20
  ftreg fit --config experiments/base.yaml --config experiments/tasks/rte.yaml \\
            --data.source tsv --data.path GLUE_DIR --trainer.callbacks+=Mixout --trainer.callbacks.p=0.7"""


@answered("ftreg")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code, 2 for a mistake in the input."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")  # a terminal without ε is no reason to end
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(HELP)
        return 0
    if arguments[0] in ("--version", "-V"):
        print(f"ftreg {__version__}")
        return 0
    if arguments[0] not in COMMANDS:
        what = "give the command before its options, found" if arguments[0].startswith("-") else "no command"
        raise UsageError(unknown(what, arguments[0], list(COMMANDS)))
    try:
        return _run(arguments)
    except KeyboardInterrupt:  # while modules are imported, or in a command that has nothing to save
        print("ftreg: stopped by Ctrl-C", file=sys.stderr)
        return INTERRUPTED


def _run(arguments: list[str]) -> int:
    if arguments[0] in HOMES:
        module, _, function = HOMES[arguments[0]].partition(":")
        try:
            home = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name != "scipy":
                raise
            raise UsageError(f"ftreg {arguments[0]} needs scipy; pip install 'ftreg[report]'") from error
        return int(getattr(home, function)(arguments[1:]))
    from ftreg.cli import command

    return command.main(arguments)


if __name__ == "__main__":
    sys.exit(main())
