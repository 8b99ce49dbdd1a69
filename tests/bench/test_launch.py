"""What is run, what is not, and what stays of it; with fits that are pretended."""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ftreg._base.durations import in_words
from ftreg._base.json_files import write_json
from ftreg._base.seeds import Seeds
from ftreg.bench.cells import Cell
from ftreg.bench.command import main
from ftreg.bench.local import Job, next_job, places
from ftreg.bench.progress import estimate
from ftreg.bench.state import Lock, State, Status
from tests.bench.conftest import Bench, Write

pytestmark = pytest.mark.usefixtures("pretend")

CELLS = ["rte/plain/0", "rte/plain/1", "rte/mixout/0", "rte/mixout/1"]


def attempts(runs: Path) -> dict[str, int]:
    """How often each cell was started."""
    return {str(p.parent.relative_to(runs)): len(p.read_text().splitlines()) for p in sorted(runs.rglob("attempts"))}


def test_a_dry_run_starts_and_writes_nothing(bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--dry-run") == 0
    said = capsys.readouterr().out
    assert [line.split() for line in said.splitlines()[:4]] == [["waiting", cell] for cell in CELLS]
    assert "4 runs: 4 waiting" in said
    assert "time left with 2 at a time: not known before a run is done" in said
    assert not runs.exists()


def test_what_is_done_is_not_run_again(bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench("--only=rte/plain/1") == 0
    assert attempts(runs) == {"rte/plain/1": 1}
    assert bench("--dry-run") == 0
    said = capsys.readouterr().out
    assert "done     rte/plain/1  dev accuracy 50.0" in said
    assert "4 runs: 1 done, 3 waiting" in said
    assert " s\n" in said.partition("time left with 2 at a time: ")[2]
    assert bench() == 0
    said = capsys.readouterr().out
    assert [line.split()[1:4] for line in said.splitlines() if "done " in line][-1][0] == "4/4"
    before = {path: path.stat().st_mtime_ns for path in runs.rglob("*.json")}
    assert bench() == 0
    assert attempts(runs) == dict.fromkeys(sorted(CELLS), 1)
    assert before == {path: path.stat().st_mtime_ns for path in runs.rglob("*.json")}


def test_a_failed_run_keeps_its_error_until_it_is_retried(
    bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FAIL", json.dumps({"mixout": "no room"}))
    assert bench(seeds=[0]) == 1
    said = capsys.readouterr().out
    assert f"failed   rte/mixout/0: no room (see {runs}/rte/mixout/0/log.txt)" in said
    assert "--retry" in said
    error = json.loads((runs / "rte/mixout/0/error.json").read_text())
    assert (error["exit_code"], error["line"]) == (2, "no room")
    assert bench(seeds=[0]) == 1
    assert attempts(runs)["rte/mixout/0"] == 1
    assert bench("--retry", seeds=[0]) == 1
    assert attempts(runs) == {"rte/mixout/0": 2, "rte/plain/0": 1}
    monkeypatch.delenv("FAIL")
    assert bench("--retry", seeds=[0]) == 0
    assert attempts(runs)["rte/mixout/0"] == 3
    assert not (runs / "rte/mixout/0/error.json").exists()


def test_an_error_of_another_configuration_is_not_this_runs(
    bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FAIL", json.dumps({"m": "too much"}))
    assert bench(methods={"m": ["--model.lr=1"]}, seeds=[0]) == 1
    monkeypatch.delenv("FAIL")
    assert bench(methods={"m": ["--model.lr=1e-5"]}, seeds=[0]) == 0


def test_it_is_its_own_once_it_has_failed_again(
    bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The checkpoint of the other options is not gone on from either."""
    monkeypatch.setenv("FAIL", json.dumps({"m": "too much"}))
    assert bench(methods={"m": ["--model.lr=1"]}, seeds=[0]) == 1
    (runs / "rte/m/0/checkpoints").mkdir()
    (runs / "rte/m/0/checkpoints/last.ckpt").touch()
    assert bench(methods={"m": ["--model.lr=1e-5"]}, seeds=[0]) == 1
    assert "failed   rte/m/0: too much" in capsys.readouterr().out
    assert attempts(runs) == {"rte/m/0": 2}
    assert "--ckpt_path" not in (runs / "rte/m/0/attempts").read_text()


def test_a_run_that_another_bench_left_under_other_options(
    bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Found only when the lock is free: the folder was fine when the jobs were listed."""
    folder = runs / "rte/plain/0"
    lock = Lock(folder)
    assert lock.take()

    def leave() -> None:
        while "running" not in capsys.readouterr().out:
            time.sleep(0.05)
        write_json(folder / "cell.json", {"identity": "another"})
        (folder / "checkpoints").mkdir()
        (folder / "checkpoints/last.ckpt").touch()
        lock.release()

    thread = threading.Thread(target=leave)
    thread.start()
    assert bench(methods={"plain": []}, seeds=[0]) == 2
    thread.join()
    assert "rte/plain/0 holds a cut-off run of another configuration" in capsys.readouterr().err
    assert json.loads((folder / "cell.json").read_text()) == {"identity": "another"}
    assert attempts(runs) == {}


def test_a_look_does_not_keep_a_run_from_being_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks has the lock for a moment."""
    looking, lock = Lock(tmp_path), Lock(tmp_path)
    assert looking.take()
    assert not lock.take()
    monkeypatch.setattr("ftreg._base.locks.time", SimpleNamespace(sleep=lambda _: looking.release()))
    assert lock.take()
    lock.release()


def test_a_run_that_somebody_else_stops_goes_on(bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STOP", json.dumps(["plain"]))
    assert bench(seeds=[0]) == 0
    assert attempts(runs) == {"rte/mixout/0": 1, "rte/plain/0": 2}


def test_ranks_do_not_outlive_their_run(bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LEAVE", json.dumps(["plain"]))
    assert bench("--only=rte/plain/0") == 0
    stat = Path("/proc", (runs / "rte/plain/0/left").read_text(), "stat")
    assert not stat.exists() or stat.read_text().split()[2] == "Z"


def test_srun_gets_the_signal_that_it_hands_on(
    bench: Bench, runs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Told to terminate, it would kill its tasks."""
    srun = tmp_path / "srun"
    srun.write_text(
        f"#!/bin/bash\ntrap 'echo USR1 > {tmp_path}/heard; exit 75' USR1\ntouch {tmp_path}/up\nsleep 100 & wait\n"
    )
    srun.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.setenv("SLURM_NTASKS", "2")

    def stop() -> None:
        while not (tmp_path / "up").exists():
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGTERM)

    thread = threading.Thread(target=stop)
    thread.start()
    assert bench("--only=rte/plain/0") == 128 + signal.SIGTERM
    thread.join()
    assert (tmp_path / "heard").read_text() == "USR1\n"


def test_a_broken_record_is_named(bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (runs / "rte/plain/0").mkdir(parents=True)
    (runs / "rte/plain/0/result.json").touch()
    assert bench() == 2
    assert f"{runs}/rte/plain/0/result.json: not the JSON that ftreg writes" in capsys.readouterr().err


def test_a_run_of_another_configuration_is_not_overwritten(
    bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    methods = {"plain": [], "m": ["--model.lr=1e-5"]}
    assert bench("--only=rte/m/0", methods=methods) == 0
    before = (runs / "rte/m/0/result.json").read_bytes()
    # What `ftreg fit` would have left.
    (runs / "rte/m/0/config.yaml").write_text("model: {lr: 1e-5}\ndata: {}\nseeds: {}\ntrainer: {}\n")
    assert bench(methods={**methods, "m": ["--model.lr=3e-5"]}) == 2
    said = capsys.readouterr().err
    assert f"rte/m/0: {runs}/rte/m/0 holds a finished run of another configuration (model.lr" in said
    assert "give another --runs" in said
    assert (runs / "rte/m/0/result.json").read_bytes() == before
    assert attempts(runs) == {"rte/m/0": 1}


def test_the_primary_family_is_fixed_beforehand(bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(primary="plain") == 0
    record = json.loads((runs / "grid.json").read_text())
    assert record["comparisons"] == [{"task": "rte", "method": "mixout", "baseline": "plain"}]
    assert bench(primary="mixout") == 2
    assert "primary was fixed as [['mixout', 'plain']] before the first run" in capsys.readouterr().err
    assert json.loads((runs / "grid.json").read_text()) == record


def test_no_family_is_fixed_too(bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bench(seeds=[0]) == 0
    assert bench(seeds=[0], primary="plain") == 2
    assert "primary was fixed as no family before the first run" in capsys.readouterr().err


def test_two_benches_at_once_run_everything_once(
    bench: Bench, write: Write, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SLEEP", "0.5")
    arguments = [str(write()), f"--runs={runs}", "--workers=2"]
    other = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
    other.start()
    assert bench() == 0
    assert len(list(runs.rglob("result.json"))) == 4  # each waits for what the other has
    other.join(timeout=60)
    assert other.exitcode == 0
    assert attempts(runs) == dict.fromkeys(sorted(CELLS), 1)


def test_a_run_that_is_going_on_elsewhere_is_left_alone(
    bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lock = Lock(runs / "rte/plain/0")
    assert lock.take()
    assert bench("--dry-run") == 0
    assert bench("--only=rte/plain/0") == 0
    lock.release()
    said = capsys.readouterr().out
    assert "running  rte/plain/0" in said
    assert attempts(runs) == {}
    assert bench("--only=rte/plain/0") == 0
    assert attempts(runs) == {"rte/plain/0": 1}


@pytest.mark.parametrize("what", [signal.SIGINT, signal.SIGTERM])
def test_stopping(
    bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], what: int
) -> None:
    def stop() -> None:
        while len(attempts(runs)) < 2:
            time.sleep(0.01)
        os.kill(os.getpid(), what)

    monkeypatch.setenv("SLEEP", "100")
    before = signal.getsignal(what)
    thread = threading.Thread(target=stop)
    thread.start()
    assert bench() == 128 + what
    thread.join()
    assert signal.getsignal(what) is before
    assert "goes on from its last checkpoint: ftreg bench " in capsys.readouterr().out
    assert not list(runs.rglob("error.json"))
    monkeypatch.delenv("SLEEP")
    assert bench() == 0
    assert attempts(runs) == {"rte/mixout/0": 2, "rte/mixout/1": 1, "rte/plain/0": 2, "rte/plain/1": 1}


def test_a_run_that_is_killed_has_failed(bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def kill() -> None:
        while not (runs / "rte/plain/0/attempts").exists():
            time.sleep(0.01)
        for entry in Path("/proc").glob("[0-9]*"):
            try:
                command = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(runs).encode() in command and b"pretend.py" in command:
                os.kill(int(entry.name), signal.SIGKILL)

    monkeypatch.setenv("SLEEP", "100")
    thread = threading.Thread(target=kill)
    thread.start()
    assert bench("--only=rte/plain/0") == 1
    thread.join()
    assert "killed by SIGKILL" in json.loads((runs / "rte/plain/0/error.json").read_text())["line"]


class TestTuning:
    TUNE: dict[str, Any] = {  # noqa: RUF012
        "seeds": [8, 9],
        "settings": {
            "plain": [["--model.lr=1e-5"], ["--model.lr=2e-5"]],
            "mixout": [["--model.lr=3e-5"], ["--model.lr=4e-5"]],
        },
    }

    def test_the_winner_on_the_selection_split_runs_on_fresh_seeds(
        self, bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        scores = {"plain.0": [0.8, 0.6], "plain.1": [0.9, 0.4], "mixout.0": 0.5, "mixout.1": 0.6}
        monkeypatch.setenv("SCORE", json.dumps(scores))
        assert bench(tune=self.TUNE) == 0
        assert len(attempts(runs)) == 8 + 4
        record = json.loads((runs / "tuned.json").read_text())
        assert (record["rte"]["plain"]["chosen"], record["rte"]["mixout"]["chosen"]) == (0, 1)
        first, second = record["rte"]["plain"]["settings"]
        assert first == {"arguments": ["--model.lr=1e-5"], "mean": 0.7, "scores": {"8": 0.8, "9": 0.6}}
        assert second["mean"] == 0.65
        for method, lr in (("plain", "1e-5"), ("mixout", "4e-5")):
            for seed in (0, 1):
                cell = json.loads((runs / "rte" / method / str(seed) / "cell.json").read_text())
                assert f"--model.lr={lr}" in cell["arguments"]
        assert bench(tune=self.TUNE) == 0
        assert set(attempts(runs).values()) == {1}

    def test_a_setting_that_diverges_is_out_and_other_failures_are_waited_for(
        self, bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setenv("SCORE", json.dumps({"plain.0": 0.9}))
        monkeypatch.setenv("FAIL", json.dumps({"plain.0": "training diverged at step 3", "mixout.0": "no room"}))
        assert bench(tune=self.TUNE) == 1
        assert "1 tuned or matched arms wait" in capsys.readouterr().out
        record = json.loads((runs / "tuned.json").read_text())["rte"]
        assert list(record) == ["plain"]
        assert record["plain"]["chosen"] == 1
        assert record["plain"]["settings"][0]["mean"] is None
        assert "rte/mixout/0" not in attempts(runs)

    def test_the_error_of_a_setting_that_was_mended_is_over(
        self, bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("SCORE", json.dumps({"plain.0": 0.9}))
        monkeypatch.setenv("FAIL", json.dumps({"plain.0": "training diverged at step 3"}))
        assert bench("--only=tune/rte/plain.0/8", "--only=tune/rte/plain.0/9", tune=self.TUNE) == 1
        monkeypatch.delenv("FAIL")
        settings = {**self.TUNE["settings"], "plain": [["--model.lr=7e-6"], ["--model.lr=2e-5"]]}
        assert bench(tune={**self.TUNE, "settings": settings}) == 0
        assert json.loads((runs / "tuned.json").read_text())["rte"]["plain"]["chosen"] == 0
        assert "--model.lr=7e-6" in json.loads((runs / "rte/plain/0/cell.json").read_text())["arguments"]


class TestMatching:
    def test_a_method_that_trains_longer(self, bench: Bench, runs: Path) -> None:
        methods = {"plain": [], "long": ["--trainer.max_steps=12"], "short": ["--trainer.max_steps=12"]}
        assert bench(match_compute={"long": 2, "short": 0.5}, methods=methods, seeds=[0], primary="matched") == 0
        for method, steps in (("long", 24), ("short", 6)):
            assert f"--trainer.max_steps={steps}'" in (runs / f"rte/plain@{method}/0/attempts").read_text()
        record = json.loads((runs / "grid.json").read_text())
        assert [c["baseline"] for c in record["comparisons"]] == ["plain@long", "plain@short"]

    def test_a_diverged_run_is_not_waited_for(self, bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        assert bench("--only=rte/mixout/0", match_compute=True) == 0
        monkeypatch.setenv("FAIL", json.dumps({"mixout": "training diverged at step 3"}))
        monkeypatch.setenv("SECONDS", json.dumps({"plain": 0.5}))
        assert bench(match_compute=True) == 1
        assert attempts(runs)["rte/plain@mixout/1"] == 1

    def test_more_evaluations_are_told(self, bench: Bench, capsys: pytest.CaptureFixture[str]) -> None:
        methods = {"plain": [], "m": ["--model.lr=1e-5"]}
        given = {"match_compute": {"m": 2}, "methods": methods, "seeds": [0]}
        assert bench("--dry-run", **given) == 0
        assert capsys.readouterr().err == ""
        assert bench("--dry-run", tasks={"rte": ["--data.task=rte", "--trainer.val_check_interval=2"]}, **given) == 0
        assert "plain@m is evaluated more often than m" in capsys.readouterr().err

    def test_measured_once(self, bench: Bench, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECONDS", json.dumps({"plain": 2.0, "mixout": 5.02}))
        assert bench(match_compute=True, primary="matched") == 0
        assert attempts(runs) == dict.fromkeys(sorted([*CELLS, "rte/plain@mixout/0", "rte/plain@mixout/1"]), 1)
        assert "--trainer.max_steps=10" in (runs / "rte/plain@mixout/0/attempts").read_text()
        assert json.loads((runs / "matched.json").read_text())["rte"]["mixout"]["cost"] == 2.5
        # Later runs change no budget.
        monkeypatch.setenv("SECONDS", json.dumps({"plain": 2.0, "mixout": 50.0}))
        assert bench(match_compute=True, primary="matched", seeds=[0, 1, 2, 3]) == 0
        assert "--trainer.max_steps=10" in (runs / "rte/plain@mixout/3/attempts").read_text()

    def test_a_method_that_costs_no_more_is_matched_by_plain(self, bench: Bench, runs: Path) -> None:
        assert bench(match_compute=True, primary="matched") == 0
        assert sorted(attempts(runs)) == sorted(CELLS)
        record = json.loads((runs / "grid.json").read_text())
        assert record["comparisons"] == [{"task": "rte", "method": "mixout", "baseline": "plain"}]

    def test_declared(self, bench: Bench, runs: Path, capsys: pytest.CaptureFixture[str]) -> None:
        assert bench("--dry-run", match_compute={"mixout": 3}, seeds=[0]) == 0
        assert "waiting  rte/plain@mixout/0" in capsys.readouterr().out


def test_cores_and_gpus_are_shared_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    assert [place["OMP_NUM_THREADS"] for place in places(4, [], 1)] == ["2"] * 4
    four = places(2, ["0", "1", "5", "7"], 2)
    assert [place["CUDA_VISIBLE_DEVICES"] for place in four] == ["0,1", "5,7"]
    assert [place["CUDA_VISIBLE_DEVICES"] for place in places(3, ["4", "6"], 1)] == ["4", "6", "4"]
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert "OMP_NUM_THREADS" not in places(4, [], 1)[0]


def test_the_runs_of_a_bench_that_was_killed_keep_their_locks(
    bench: Bench, write: Write, runs: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SLEEP", "3")
    arguments = [str(write()), f"--runs={runs}", "--workers=1", "--only=rte/plain/0"]
    other = multiprocessing.get_context("fork").Process(target=main, args=(arguments,))
    other.start()
    while not attempts(runs):
        time.sleep(0.01)
    other.kill()
    other.join()
    assert bench("--only=rte/plain/0", "--dry-run") == 0
    assert "running  rte/plain/0" in capsys.readouterr().out
    assert bench() == 0
    assert attempts(runs) == dict.fromkeys(sorted(CELLS), 1)


def test_no_run_only_waits_for_the_stage_that_another_one_trains(tmp_path: Path) -> None:
    cells = [Cell("t", name, Seeds(0, 0, 0), ()) for name in ("a", "b", "c")]
    first, second, third = (Job(c, "", s) for c, s in zip(cells, (tmp_path, tmp_path, None), strict=True))
    assert next_job([second, third], [first], {}) is third
    assert next_job([second], [first], {}) is None
    (tmp_path / "result.json").touch()
    assert next_job([second, third], [first], {}) is second


def test_the_time_that_is_left(tmp_path: Path) -> None:
    cells = [Cell("t", method, Seeds(n, n, n), ()) for method in ("plain", "mixout", "slow") for n in (0, 1, 2)]
    states = {cell.name: State(Status.WAITING) for cell in cells}
    assert estimate(cells, states, tmp_path, 1) is None
    for cell, seconds in ((cells[0], 10), (cells[6], 100)):
        states[cell.name] = State(Status.DONE)
        write_json(cell.folder(tmp_path) / "cell.json", {"seconds": seconds})
    states[cells[1].name] = State(Status.FAILED)
    # One more of plain, three of a method that nothing is known of, two of the slow one.
    assert estimate(cells, states, tmp_path, 2) == (10 + 3 * 55 + 2 * 100) / 2
    assert (in_words(45), in_words(600), in_words(3900)) == ("45 s", "10 min", "1 h 05 min")
