"""The first of several ranks to fail says why they end, and the exit code of all is its own.

A rank that fails tells the others by its sign (`ftreg.run.rank_watch`), prints its line, and closes its connections:
the others' collectives then fail, which is no news. Lightning's launcher kills the first process when a rank that it
has started ends with an error: so such a rank waits until that process has ended by itself.
"""

import os
import re
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch.distributed

from ftreg._base.errors import LOST, DivergedError
from ftreg._base.launch import launch
from ftreg._base.messages import TRACEBACK, known, shortened, told
from ftreg.lightning.internals import started_processes
from ftreg.run.rank_watch import Sign, Watch, Where, clear, kill, limit

FOLLOWS = re.compile(
    r"gloo|nccl|connection (closed|reset)|broken pipe|timed out waiting|socket|tcpstore|store->", re.IGNORECASE
)
"""What a collective says when another rank has gone."""
PATIENCE = 60.0
"""Seconds that a rank waits for the process that has started it to end."""

_started: list[Any] = []
"""The processes that this one has started: for a stage's fit, whose ranks then go on to the target's."""


@contextmanager
def watched(trainer: pl.Trainer, where: Where, begun: Callable[[], bool]) -> Iterator[None]:
    """Watch over the ranks of what is run in here; with one process, do nothing.

    Args:
        trainer: with its strategy, whose processes are not started yet.
        where: what this rank does.
        begun: whether an error is no longer one of the input.

    Raises:
        SystemExit: this rank or another one has failed; the line is printed.
    """
    folder, world = Path(trainer.default_root_dir) / ".ranks", trainer.world_size
    environment = getattr(trainer.strategy, "cluster_environment", None)
    starts = environment is not None and not environment.creates_processes_externally
    first, rank = trainer.local_rank == 0, trainer.global_rank
    if (starts and rank == 0) or world == 1:
        clear(folder)
    if world == 1:
        yield
        return

    def processes() -> list[Any]:
        _started[:] = started_processes(trainer) or _started
        return _started

    def end(code: int) -> None:
        kill(processes())
        if starts and first:
            clear(folder)
        os._exit(code)

    watch = Watch(folder, launch(), rank, world, where, lambda: _codes(processes(), rank), limit(), end)
    watch.start()
    parent, code = os.getppid(), 0
    try:
        yield
    except Exception as error:
        code = blame(error, watch, begun())
        raise SystemExit(code) from None
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else 1
        raise
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        if starts and not first and code:
            _close()
            until = time.monotonic() + PATIENCE
            while os.getppid() == parent and time.monotonic() < until:
                time.sleep(0.1)
        watch.stop()
        if code and starts and first:
            kill(processes())
            clear(folder)


def blame(error: Exception, watch: Watch, begun: bool) -> int:
    """Print why this rank ends, unless another one has said it; returns the exit code of all."""
    if follows(error):
        cause = watch.cause()
        if isinstance(cause, Sign):
            assert cause.failure is not None
            if cause.host != watch.own.host and watch.rank == 0:
                _print(cause.failure.line)  # where this rank's terminal does not show it
            return cause.failure.code
        what = cause or shortened(str(error), 200)
        _print(f"rank {watch.rank}: another rank is gone: {what}")
        return LOST
    found = known(error)
    code = 1 if found is None and begun else 2
    text = shortened(f"{type(error).__name__}: {error}" if code == 1 else told(error))
    together = isinstance(found, DivergedError)  # which all ranks raise, with the same words
    line = text if together else f"rank {watch.rank}: {text}"
    earlier = watch.first_failure()
    watch.fail(line, code)
    if (together and watch.rank) or (earlier and earlier.failure and earlier.failure.line.endswith(f": {text}")):
        return code
    if code == 1 or os.environ.get(TRACEBACK):
        traceback.print_exception(error)
    _print(line)
    return code


def follows(error: BaseException) -> bool:
    """Return whether a collective has failed, as it does when another rank has gone."""
    return isinstance(error, torch.distributed.DistError) or (
        isinstance(error, RuntimeError) and FOLLOWS.search(str(error)) is not None
    )


def _print(line: str) -> None:
    print(f"ftreg: error: {line}", file=sys.stderr, flush=True)


def _codes(processes: list[Any], rank: int) -> dict[int, int | None]:
    """Return the exit codes of the ranks that this process has started, by rank."""
    return {rank + number: process.poll() for number, process in enumerate(processes, 1)}


def _close() -> None:
    """Let the others' collectives fail. Not NCCL's, which may wait itself: the others' watch ends those."""
    if torch.distributed.is_initialized() and torch.distributed.get_backend() == "gloo":
        torch.distributed.destroy_process_group()
