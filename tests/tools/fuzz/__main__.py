"""Runs kinds of inputs in turn, until a number or a time is reached; see the package."""

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from random import Random

from tests.tools.fuzz.answer import Worker
from tests.tools.fuzz.kinds import KINDS, Material, Run


def main() -> int:
    """Returns 1 if an answer was at fault."""
    parser = argparse.ArgumentParser(prog="python -m tests.tools.fuzz")
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--number", type=int, default=10**9, help="inputs in all")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first input of a kind, to repeat one")
    parser.add_argument("--only", default=",".join(KINDS), help="kinds: %(default)s")
    parser.add_argument("--limit", type=float, default=60, help="seconds that an answer may take")
    parser.add_argument("--out", type=Path, default=Path("fuzzed"))
    options = parser.parse_args()
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # a forked process has no threads of its parent's
    options.out.mkdir(parents=True, exist_ok=True)
    shares = [kind for kind in options.only.split(",") for _ in range(KINDS[kind].share)]
    counts, faults, slowest = Counter[str](), Counter[str](), dict[str, float]()
    end, shown = time.monotonic() + 60 * options.minutes, time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        material = Material.made(Path(place))

        def prepare(what: tuple[str, int, Path]) -> Run:
            kind, number, folder = what
            return KINDS[kind].make(Random(f"{options.seed}/{kind}/{number}"), folder, material)

        worker = Worker(prepare)
        while time.monotonic() < end and sum(counts.values()) < options.number:
            kind = shares[sum(counts.values()) % len(shares)]
            number = options.first + counts[kind]
            folder = Path(place) / f"{kind}-{number}"
            folder.mkdir()
            found = worker.answer((kind, number, folder), folder, options.limit)
            counts[kind] += 1
            slowest[kind] = max(slowest.get(kind, 0), found.seconds)
            if found.fault:
                faults[f"{kind}: {found.fault}"] += 1
                kept = options.out / f"{found.fault.replace(' ', '_')}-{kind}-{options.seed}-{number}"
                shutil.rmtree(kept, ignore_errors=True)
                shutil.copytree(folder, kept, symlinks=True, ignore_dangling_symlinks=True)
                (kept / "answer.txt").write_text(f"{found.code} {found.changed}\n{found.out}\n{found.err}"[:100_000])
            shutil.rmtree(folder)
            if time.monotonic() - shown > 30:
                shown = time.monotonic()
                print(sum(counts.values()), dict(counts), dict(faults), flush=True)
    print(f"{sum(counts.values()):,} inputs: {dict(counts)}")
    print(f"slowest, in seconds: { {kind: round(seconds, 1) for kind, seconds in slowest.items()} }")
    print(f"at fault: {dict(faults) or 'none'}")
    return 1 if any(not name.endswith("vague") for name in faults) else 0


if __name__ == "__main__":
    sys.exit(main())
