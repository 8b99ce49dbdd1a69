"""`ftreg report PATH...` runs from here. Nothing here imports torch before the options are read.

Exit codes: 0; 2 for a mistake in the input.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ftreg._base.errors import UsageError
from ftreg._base.messages import answered, reading
from ftreg._base.names import unknown
from ftreg.report.loaded_runs import CHECKPOINTS, Choice
from ftreg.report.model import Comparison, Report

COLUMNS = ("task", "method", "seed", "score", "metric", "checkpoint", "majority", "step")


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"report: {message}; see ftreg report --help")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of `ftreg report`."""
    made = _Arguments(
        prog="ftreg report",
        allow_abbrev=False,
        description="Compare methods over seeds: tables, figures and a page from the records of runs.",
        epilog="for example: ftreg report runs/bench --out report",
    )
    made.add_argument(
        "paths",
        nargs="+",
        type=Path,
        metavar="PATH",
        help="a folder with runs below it, or a CSV file with the columns task, method, seed and score, and metric, "
        "checkpoint and majority if it has them; with the column step it has learning curves",
    )
    made.add_argument("--out", type=Path, default=Path("report"), help="folder of the report (%(default)s)")
    made.add_argument("--baseline", metavar="METHOD", help="what every method is compared with (plain)")
    made.add_argument(
        "--primary", default="", metavar="METHOD[,METHOD]", help="the primary family, in place of what a grid declares"
    )
    made.add_argument("--alpha", type=float, default=0.05, help="level of each family of comparisons (%(default)s)")
    made.add_argument(
        "--effect",
        type=float,
        default=1.0,
        metavar="POINTS",
        help="difference for which the verdicts say how many pairs would show it (%(default)s)",
    )
    made.add_argument(
        "--checkpoint",
        choices=CHECKPOINTS,
        help="whose scores are compared; by default what a run reports, and of a CSV file with both the last",
    )
    made.add_argument(
        "--metric", default="", metavar="NAME[,NAME]", help="in place of a task's first metric, the first that it has"
    )
    made.add_argument(
        "--columns", default="", metavar="task=NAME[,score=NAME]", help="what the columns of CSV files are called"
    )
    made.add_argument("--title", default="", help="of the report")
    return made


@answered("ftreg")
def main(arguments: Sequence[str]) -> int:
    """Run the command; returns the exit code.

    Args:
        arguments: those after the command.
    """
    options = parser().parse_args(list(arguments))
    with reading():
        report = _report(options)
    from ftreg._base.atomic import together
    from ftreg.report import table_files
    from ftreg.report.figures import draw
    from ftreg.report.page import write

    out = options.out.expanduser()
    with together(out) as folder:
        drawn = draw(report, folder)
        files = table_files.write(report, folder)
        shown = write(report, folder, drawn)
    print(_text(report))
    figures = [path for png in drawn.values() for path in (png, png.with_suffix(".pdf"))]
    print(f"\n{out / shown.name}\n{out}: {', '.join(str(path.relative_to(folder)) for path in [*files, *figures])}")
    return 0


def _report(options: argparse.Namespace) -> Report:
    choice = Choice(options.checkpoint, tuple(_split(options.metric)), _columns(options.columns))
    from ftreg.report.analysis import analyse
    from ftreg.report.reading import read_runs

    found = read_runs([path.expanduser() for path in options.paths], choice)
    return analyse(
        found,
        options.baseline,
        _split(options.primary),
        options.alpha,
        options.effect / 100,
        options.title,
        list(map(str, options.paths)),
    )


def _text(report: Report) -> str:
    """Return tables, verdicts, warnings and notes."""
    from ftreg.report import tables

    parts = [report.title, tables.terminal(tables.summary(report))]
    if report.comparisons:
        parts += [
            tables.terminal(tables.comparisons(report)),
            "\n".join([*(_verdict(one) for one in report.comparisons), *(f"! {text}" for text in report.warnings)]),
        ]
    parts.append("\n".join(f"note  {text}" for text in report.notes))
    return "\n\n".join(part for part in parts if part)


def _verdict(one: Comparison) -> str:
    return "\n  ! ".join([one.verdict, *one.warnings])


def _split(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def _columns(text: str) -> dict[str, str]:
    found = {}
    for pair in _split(text):
        name, equals, column = pair.partition("=")
        if not equals or not column:
            raise UsageError(f"--columns: found {pair!r}; write task=NAME, and so on")
        if name not in COLUMNS:
            raise UsageError(unknown("--columns: no", name, COLUMNS))
        found[name] = column
    return found
