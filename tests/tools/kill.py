"""Kills fits, two-stage fits and benches with SIGKILL, goes on with them, and compares with those that were left alone.

    python -m tests.tools.kill --kills 60        # minutes; each takes a second or two
    python -m tests.tools.kill --minutes 60      # as many as there is time for

A kind of run is first done once, uninterrupted. Then it is begun in another folder, killed, gone on with, killed again
and so on until it comes to its end: half of the kills at a moment of the clock, half right before or after one of the
calls that write (there a kill by the clock nearly never comes). Its weights, its rows and scores and the names of its
files must be those of the first. It ends with 1 at the first that are not; the folder stays, and its path is printed.

Processes are forked from this one, which has imported torch already; the fits of a bench are processes of its own.
"""

import argparse
import csv
import json
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ftreg.__main__ import main as ftreg
from ftreg.bench import command
from ftreg.cli import command as _fit  # noqa: F401  imported once, before the forks
from ftreg.run import history
from ftreg.run.places import resumable
from tests.cli.runs import MIXOUT, TINY

COMMON = ["--data.task=rte", "--data.source=sample", "--data.train_subset=96", *TINY, "--trainer.accelerator=cpu"]
STAGE = {"data": {"task": "qnli", "max_length": 64, "train_subset": 64}, "trainer": {"max_steps": 4}}
CALLS: list[tuple[Any, str]] = [
    (os, "replace"),
    (os, "fsync"),
    (os, "truncate"),
    (torch, "save"),
    (history.History, "_append"),
]
"""What a fit writes with."""
WITHOUT = {"log.txt", "attempts.txt", ".bench.lock", ".run.lock", ".lock"}
"""Files of any number or age."""


def options(kind: str, root: Path, step: int) -> list[str]:
    """Of a fit; with a length and an evaluation rhythm that differ from trial to trial."""
    methods = MIXOUT
    if kind == "two_stage":
        entry = {"class_path": "TwoStage", "init_args": {"stages": [STAGE], "store": str(root / "stages")}}
        methods = [f"--trainer.callbacks={json.dumps([entry])}"]
    length = [f"--trainer.max_steps={6 + step % 3}", f"--trainer.log_every_n_steps={1 + step % 2}"]
    return ["fit", *COMMON, *methods, *length, f"--trainer.default_root_dir={root / 'run'}"]


def fit(kind: str, root: Path, step: int) -> int:
    checkpoint = resumable(root / "run")  # the best, where a kill came before there was a last
    return ftreg([*options(kind, root, step), *([f"--ckpt_path={checkpoint.stem}"] if checkpoint else [])])


def bench(kind: str, root: Path, step: int) -> int:
    grid = {
        "base": [*COMMON, "--trainer.max_steps=6"],
        "tasks": ["rte"],
        "methods": {"plain": [], "mixout": MIXOUT},
        "seeds": [1],
    }
    root.mkdir(parents=True, exist_ok=True)
    (root / "grid.yaml").write_text(json.dumps(grid))
    return command.main([str(root / "grid.yaml"), f"--runs={root / 'runs'}", "--workers=1", "--retry"])


KINDS: dict[str, Callable[[str, Path, int], int]] = {"fit": fit, "two_stage": fit, "bench": bench}


def begin(kind: str, root: Path, step: int, call: int | None, chosen: random.Random) -> int:
    """Fork the run; its process number. It kills itself around the `call`th of the calls that write, if given."""
    child = os.fork()
    if child:
        return child
    os.setsid()
    with open(root / "attempts.txt", "ab") as log:
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
    if call is not None:
        count, after = iter(range(10**9)), chosen.random() < 0.5
        for place, name in CALLS:
            setattr(place, name, deadly(getattr(place, name), count, call, after))
    code = 1
    try:
        code = KINDS[kind](kind, root, step)
    finally:
        sys.stdout.flush()
        os._exit(code)


def deadly(function: Callable[..., Any], count: Any, call: int, after: bool) -> Callable[..., Any]:
    def until(*args: Any, **kwargs: Any) -> Any:
        last = next(count) == call
        if last and not after:
            os.kill(os.getpid(), signal.SIGKILL)
        found = function(*args, **kwargs)
        if last:
            os.kill(os.getpid(), signal.SIGKILL)
        return found

    return until


def below(process: int) -> list[int]:
    """The processes that a process has started, and theirs."""
    parents: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        try:
            parents.setdefault(int(entry.read_text().rpartition(")")[2].split()[1]), []).append(int(entry.parent.name))
        except OSError:
            continue
    found = list(parents.get(process, []))
    for child in found:
        found += parents.get(child, [])
    return found


def wait(process: int, until: float) -> int | None:
    """The exit status, None if it is still there at that time."""
    while time.monotonic() < until:
        found, status = os.waitpid(process, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def attempt(kind: str, root: Path, step: int, seconds: float, chosen: random.Random) -> str:
    """Run once, and kill it if it is not faster; how that ended."""
    by_clock = kind == "bench" or chosen.random() < 0.5
    process = begin(kind, root, step, None if by_clock else chosen.randrange(60), chosen)
    moment = time.monotonic() + chosen.uniform(0, seconds)
    code = wait(process, moment if by_clock else time.monotonic() + 600)
    if code is None:
        started = below(process)
        # Of a bench: itself, one of its runs, or both.
        victims = {"bench": [[process], started[:1] or [process], [process, *started]]}.get(kind, [[process, *started]])
        for victim in chosen.choice(victims):
            os.kill(victim, signal.SIGKILL)
        code = wait(process, time.monotonic() + 600)
    if code == -signal.SIGKILL or (kind == "bench" and code == 1):
        return "killed"
    if code != 0:
        raise SystemExit(f"{root}: ended with {code}\n{(root / 'attempts.txt').read_text()[-2000:]}")
    return "ended"


def files(root: Path) -> set[str]:
    found = (path.relative_to(root) for path in root.rglob("*") if path.is_file() and path.name not in WITHOUT)
    return {str(path) for path in found}


def difference(ours: Path, theirs: Path) -> str:
    """What the records of two runs differ in; empty if in nothing."""
    if files(ours) != files(theirs):
        return f"files: {sorted(files(ours) ^ files(theirs))}"
    for path in sorted(theirs.rglob("result.json")):
        folder, other = ours / path.parent.relative_to(theirs), path.parent
        records = [json.loads((each / "result.json").read_text()) for each in (folder, other)]
        for name in ("scores", "status", "reported", "seeds"):
            if records[0][name] != records[1][name]:
                return f"{folder}: {name}"
        if records[0]["cost"]["tokens"] != records[1]["cost"]["tokens"]:
            return f"{folder}: tokens"
        rows = [[*csv.reader((each / "metrics.csv").open(newline=""))] for each in (folder, other)]
        if rows[0] != rows[1]:
            return f"{folder}: metrics.csv has {len(rows[0])} lines for {len(rows[1])}"
        for name in ("last", "best"):
            states = [
                torch.load(each / "checkpoints" / f"{name}.ckpt", weights_only=True)["state_dict"]
                for each in (folder, other)
            ]
            if not all(torch.equal(states[0][key], value) for key, value in states[1].items()):
                return f"{folder}: weights of {name}.ckpt"
    return ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=60, help="of all kinds together, at least (%(default)s)")
    parser.add_argument("--minutes", type=float, default=0.0, help="go on at least as long")
    parser.add_argument("--kinds", default="fit,two_stage,bench", help="(%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    chosen, kinds = random.Random(given.seed), given.kinds.split(",")
    place = Path(tempfile.mkdtemp(prefix="kill."))
    kills: Counter[str] = Counter()
    ended: Counter[str] = Counter()
    whole: dict[tuple[str, int], tuple[Path, float]] = {}
    until, trial = time.monotonic() + 60 * given.minutes, 0
    while sum(kills.values()) < given.kills or time.monotonic() < until or min(ended[kind] for kind in kinds) < 1:
        kind = min(kinds, key=lambda kind: kills[kind] * (4 if kind == "bench" else 1))
        step, trial = trial % 3 if kind != "bench" else 0, trial + 1
        if (kind, step) not in whole:
            root, since = place / f"{kind}.{step}", time.monotonic()
            root.mkdir()
            if wait(begin(kind, root, step, None, chosen), time.monotonic() + 600) != 0:
                raise SystemExit(f"{root}: {(root / 'attempts.txt').read_text()[-2000:]}")
            whole[kind, step] = root, time.monotonic() - since
        reference, seconds = whole[kind, step]
        root = place / f"{kind}.trial{trial}"
        root.mkdir()
        for _ in range(40):
            if attempt(kind, root, step, 0.9 * seconds, chosen) == "ended":
                break
            kills[kind] += 1
        wrong = difference(root, reference)
        if wrong:
            print(f"{kind}: {wrong}; see {root} and {reference}")
            return 1
        ended[kind] += 1
        shutil.rmtree(root)
        told = ", ".join(f"{number} of {name} in {ended[name]} runs" for name, number in kills.items())
        print(f"killed {told}: all as if not", flush=True)
    shutil.rmtree(place)
    return 0


if __name__ == "__main__":
    sys.exit(main())
