"""Ranks that watch one another, and who is to blame."""

import json
import multiprocessing
import os
import signal
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch.distributed

from ftreg._base.errors import LOST, DivergedError, UsageError
from ftreg.bench.local import _last_line
from ftreg.run.rank_errors import blame, follows, watched
from ftreg.run.rank_watch import DEFAULT, LIMIT, Sign, Watch, Where, limit

LIMITED = 30.0


class Clock:
    """Time as a test tells it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


class Ranks:
    """The watches of some ranks, without threads."""

    def __init__(self, folder: Path, world: int = 3) -> None:
        self.clock, self.ended = Clock(), dict[int, int]()
        self.watches = [
            Watch(folder, "a launch", rank, world, Where(), limit=LIMITED, clock=self.clock) for rank in range(world)
        ]
        for watch in self.watches:
            watch._leave()

    def pass_by(self, seconds: float, *running: int) -> list[Any]:
        """What the ranks that run find at last, looking each second."""
        found: list[Any] = []
        for _ in range(int(seconds)):
            self.clock.now += 1
            found = [self.watches[rank].look() for rank in running]
        return found


@pytest.fixture
def ranks(tmp_path: Path) -> Ranks:
    return Ranks(tmp_path)


def test_a_rank_that_is_stopped_is_named_with_where_it_was(ranks: Ranks) -> None:
    ranks.watches[1].where.step, ranks.watches[1].where.phase = 12, "evaluation"
    assert ranks.pass_by(LIMITED, 0, 1, 2) == [None] * 3
    assert ranks.pass_by(LIMITED - 1, 0, 2) == [None] * 2
    said, other = ranks.pass_by(3, 0, 2)
    for line in (said, other):
        assert line.startswith("rank 1 was last seen at step 12 in evaluation, 3")
        assert " s ago: it is stopped, dead or cut off, and the others wait for it" in line
    assert f"{LIMIT} is 30;" in said
    assert [ranks.watches[rank].lowest() for rank in (0, 2)] == [True, False]


def test_the_next_one_speaks_where_the_first_is_stopped(ranks: Ranks) -> None:
    ranks.pass_by(2, 0, 1, 2)
    ranks.pass_by(LIMITED + 2, 1, 2)
    assert [ranks.watches[rank].lowest() for rank in (1, 2)] == [True, False]


def test_a_long_wait_accuses_nobody(ranks: Ranks) -> None:
    """All ranks are in some collective, for hours: their signs go on."""
    assert ranks.pass_by(3 * LIMITED, 0, 1, 2) == [None] * 3


def test_a_rank_that_slept_itself_accuses_nobody(ranks: Ranks) -> None:
    """The whole job was suspended, and the others are a moment later to wake up."""
    ranks.pass_by(5, 0, 1, 2)
    ranks.clock.now += 1000 * LIMITED
    assert ranks.pass_by(3, 0) == [None]


def test_who_has_not_come_or_is_done_is_not_missed(tmp_path: Path) -> None:
    ranks = Ranks(tmp_path)
    (tmp_path / "1.json").unlink()
    ranks.pass_by(3, 0, 2)
    (tmp_path / "2.json").unlink()
    assert ranks.pass_by(3 * LIMITED, 0) == [None]


@pytest.mark.parametrize("content", ["", "{", "null", "[]", '{"rank": 1}', '{"launch": "another", "failure": null}'])
def test_a_sign_that_is_torn_or_foreign_is_none(ranks: Ranks, tmp_path: Path, content: str) -> None:
    (tmp_path / "1.json").write_text(content)
    assert ranks.pass_by(3, 0) == [None]


def test_signs_of_another_launch_or_of_long_ago_accuse_nobody(ranks: Ranks, tmp_path: Path) -> None:
    ranks.watches[1].fail("rank 1: no", 2)
    content = json.loads((tmp_path / "1.json").read_text())
    content["failure"]["when"] -= 100
    (tmp_path / "1.json").write_text(json.dumps(content))
    assert ranks.pass_by(3, 0) == [None]
    ranks.watches[1].own = replace(ranks.watches[1].own, launch="another")
    ranks.watches[1].fail("rank 1: no", 2)
    assert ranks.pass_by(3, 0) == [None]


GLOO = RuntimeError("[../third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]:26774")


def said(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [line for line in capsys.readouterr().err.splitlines() if line.startswith("ftreg: error: ")]


def test_the_first_cause_is_told_and_the_others_only_follow(ranks: Ranks, capsys: pytest.CaptureFixture[str]) -> None:
    zero, one, two = ranks.watches
    assert blame(ZeroDivisionError("division by zero"), one, begun=True) == 1
    assert said(capsys) == ["ftreg: error: rank 1: ZeroDivisionError: division by zero"]
    assert [blame(GLOO, watch, begun=True) for watch in (zero, two)] == [1, 1]
    assert blame(torch.distributed.DistBackendError("NCCL error: remote process exited"), zero, begun=True) == 1
    assert said(capsys) == []
    (found,) = ranks.pass_by(1, 0)
    assert isinstance(found, Sign)
    assert (found.rank, found.failure.code if found.failure else 0) == (1, 1)


def test_a_mistake_of_one_rank_is_one_line(ranks: Ranks, capsys: pytest.CaptureFixture[str]) -> None:
    assert blame(UsageError("no such file"), ranks.watches[2], begun=True) == 2
    assert capsys.readouterr().err == "ftreg: error: rank 2: no such file\n"


def test_what_all_ranks_find_is_told_once(ranks: Ranks, capsys: pytest.CaptureFixture[str]) -> None:
    assert [blame(UsageError("no such file"), watch, begun=False) for watch in ranks.watches] == [2, 2, 2]
    assert said(capsys) == ["ftreg: error: rank 0: no such file"]
    agreed = DivergedError("training diverged at optimizer step 2: on rank 1, the task loss is nan")
    assert [blame(agreed, watch, begun=True) for watch in ranks.watches] == [2, 2, 2]
    assert said(capsys) == [f"ftreg: error: {agreed}"]  # which bench knows by its beginning


def test_a_failure_on_another_machine_is_told_here_too(ranks: Ranks, capsys: pytest.CaptureFixture[str]) -> None:
    ranks.watches[1].own = replace(ranks.watches[1].own, host="elsewhere")
    ranks.watches[1].fail("rank 1: no such file", 2)
    assert blame(GLOO, ranks.watches[0], begun=True) == 2
    assert said(capsys) == ["ftreg: error: rank 1: no such file"]


def test_a_rank_that_was_killed_is_named(ranks: Ranks, capsys: pytest.CaptureFixture[str]) -> None:
    ranks.watches[1].where.step, ranks.watches[1].where.phase = 3, "training"
    ranks.pass_by(1, 1, 0)
    ranks.watches[0].children = lambda: {1: -9, 2: None}
    assert blame(GLOO, ranks.watches[0], begun=True) == LOST
    assert said(capsys) == [
        "ftreg: error: rank 0: another rank is gone: rank 1 was ended by SIGKILL; rank 1 was last seen at step 3 in "
        "training, 1 s ago"
    ]


@pytest.mark.parametrize("error", [ValueError("Connection closed"), RuntimeError("shape mismatch"), UsageError("gloo")])
def test_a_failure_of_ones_own_is_no_follower(error: Exception) -> None:
    assert not follows(error)
    assert follows(GLOO)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf"])
def test_the_limit_is_checked(monkeypatch: pytest.MonkeyPatch, value: str) -> None:
    monkeypatch.setenv(LIMIT, value)
    with pytest.raises(UsageError, match=f"{LIMIT} is '{value}'; give seconds, or 0 to wait for ever"):
        limit()


def test_the_limit(monkeypatch: pytest.MonkeyPatch, ranks: Ranks) -> None:
    monkeypatch.delenv(LIMIT, raising=False)
    assert limit() == DEFAULT
    monkeypatch.setenv(LIMIT, "0")
    assert limit() == 0
    ranks.watches[0].limit = 0
    assert ranks.pass_by(2 * LIMITED, 0) == [None]


def _rank(rank: int, folder: Path, does: str) -> None:
    """One of two processes as an outer launcher starts them, in `watched`, which meet in a collective."""
    strategy = SimpleNamespace(launcher=None, cluster_environment=None)
    trainer: Any = SimpleNamespace(
        default_root_dir=folder, world_size=2, local_rank=rank, global_rank=rank, strategy=strategy
    )
    where = Where()
    torch.distributed.init_process_group("gloo", f"file://{folder / 'store'}", rank=rank, world_size=2)
    try:
        with watched(trainer, where, lambda: True):
            torch.distributed.barrier()
            where.step, where.phase = 7, "training"
            time.sleep(1)
            if rank == 1 and does == "raises":
                raise ZeroDivisionError("division by zero")
            if rank == 1:
                os.kill(os.getpid(), signal.SIGSTOP)
            torch.distributed.barrier()
    except SystemExit as left:
        os._exit(left.code if isinstance(left.code, int) else -1)
    os._exit(0)


@pytest.mark.parametrize(
    ("does", "code", "line"),
    [
        ("raises", 1, "rank 1: ZeroDivisionError: division by zero"),
        ("stops", LOST, "rank 1 was last seen at step 7 in training, 2 s ago: it is stopped, dead or cut off"),
    ],
)
def test_two_real_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], does: str, code: int, line: str
) -> None:
    """The one that waits in a collective ends soon, with the other one's line and exit code."""
    monkeypatch.setenv(LIMIT, "2")
    monkeypatch.setenv("FTREG_LAUNCH", "this one")
    context = multiprocessing.get_context("fork")
    pair = [context.Process(target=_rank, args=(rank, tmp_path, does), daemon=True) for rank in range(2)]
    for process in pair:
        process.start()
    try:
        pair[0].join(60)
        assert pair[0].exitcode == code
    finally:
        for process in pair:
            process.kill()
    errors = said(capfd)
    assert len(errors) == 1
    assert errors[0].startswith(f"ftreg: error: {line}")
    log = tmp_path / "log.txt"
    log.write_text(f"Traceback\n{errors[0]}\n{GLOO}\n")
    assert _last_line(log, 0).startswith(line)
