"""`ftreg bench GRID` runs from here. Nothing here imports torch before the options are read.

Exit codes: 0 all done (or, with --only or slurm, left to those who run it); 1 some failed or are not done; 2 a mistake
in the input; 130 stopped by Ctrl-C.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ftreg._base.errors import UsageError
from ftreg._base.messages import answered, reading
from ftreg.bench.grid import read_grid


class _Arguments(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message)


def parser() -> argparse.ArgumentParser:
    """Return the parser of the options of `ftreg bench`."""
    made = _Arguments(prog="ftreg bench", description="Run every method of a grid on every task with every seed.")
    made.add_argument("grid", type=Path, help="a grid file, such as experiments/grids/quick.yaml")
    made.add_argument("--runs", type=Path, default=Path("runs/bench"), help="folder of the runs (%(default)s)")
    made.add_argument("--dry-run", action="store_true", help="print the runs, what is done, and the time that is left")
    made.add_argument("--only", action="append", default=[], metavar="RUN", help="this run alone; may be repeated")
    made.add_argument("--retry", action="store_true", help="run failed runs again")
    made.add_argument("--launcher", choices=("local", "slurm"), default="local")
    made.add_argument("--workers", type=int, help="runs at a time; by default one per GPU, else per core")
    made.add_argument(
        "--slurm", action="append", default=[], metavar="NAME=VALUE", help="an option of sbatch, such as partition=gpu"
    )
    return made


@answered("ftreg bench")
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    arguments = sys.argv[1:] if arguments is None else list(arguments)
    try:
        options = parser().parse_args(arguments)
        if options.workers is not None and options.workers < 1:
            raise UsageError(f"--workers is {options.workers}; give 1 or more")
        if sys.platform == "win32":
            raise UsageError("ftreg bench needs the locks of Linux or macOS; run its cells with ftreg fit")
        with reading():
            grid = read_grid(options.grid)
        from ftreg._base.quiet import quiet
        from ftreg.bench.bench import Bench

        quiet()
        return Bench(grid, options, arguments).run()
    except KeyboardInterrupt:
        print("stopped; nothing was running", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(main())
