"""The record of a run is read and written by one dataclass: as it lies on the disk, and of every version."""

import json
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import pytest

from ftreg._base.errors import UsageError
from ftreg._base.seeds import Seeds
from ftreg.run.result import Fitted, MethodRecord, Outcome, ReportedScore, RunResult, Share, StageResult, Stop

RESULTS = Path(__file__).parent.parent / "experiments" / "results"
OLDER = sorted(RESULTS.glob("*.jsonl"))
"""Records of runs that earlier versions made, a line each, with what `table.py` has added to them."""
ADDED = {"arm", "diagnostics", "distance", "layer_weights"}
STAGE = {
    "identity": "00b1",
    "task": "mnli",
    "source": "tsv",
    "methods": [],
    "seeds": {"init": 0, "order": 0, "split": 0},
    "reported": None,
    "cost": {"steps": 3, "seconds": 0.5, "tokens": 7, "peak_memory_bytes": 8},
    "start": None,
    "checkpoint": "/runs/one/checkpoints/best.ckpt",
}
WHOLE: dict[str, Any] = {
    "schema": 1,
    "identity": "00a1",
    "status": "ended early",
    "task": "rte",
    "source": "tsv",
    "backbone": "demo",
    "protocol": "holdout",
    "methods": [{"name": "Mixout", "options": {"p": 0.7, "names": ["a"], "nested": {"b": None}}}],
    "seeds": {"init": 0, "order": 1, "split": 2},
    "scores": {"dev": {"last": {"f1": None}, "best": {"f1": 0.5}}},
    "reported": {"split": "dev", "checkpoint": "best", "metric": "f1", "value": 0.5},
    "majority": {"dev": {"f1": None}},
    "less_is_better": [],
    "failed": False,
    "cost": {"steps": 10, "seconds": 1.5, "tokens": 100, "peak_memory_bytes": 1},
    "sharding": [{"ranks": 1, "accumulation": 2, "since": 0, "rows": 8, "device": "cpu", "dropout": True}],
    "start": STAGE,
    "versions": {"ftreg": "0.1.0"},
    "callbacks": [{"name": "StochasticWeightAveraging", "options": {"swa_lrs": 0.1}}],
    "stopped": {"step": 10, "of": 20, "by": None},
    "head": "keep",
}


def test_what_is_read_is_written_as_it_was(tmp_path: Path) -> None:
    before, after = tmp_path / "before.json", tmp_path / "after.json"
    before.write_text(f"{json.dumps(WHOLE, indent=2)}\n")
    found = RunResult.read(before)
    assert found is not None
    found.write(after)
    assert after.read_bytes() == before.read_bytes()
    assert (found.seeds, found.sharding) == (Seeds(0, 1, 2), (Share(1, 2, 0, 8, "cpu", True),))
    assert (found.reported, found.stopped) == (ReportedScore("dev", "best", "f1", 0.5), Stop(10, 20, None))
    assert isinstance(found.start, StageResult)
    assert (found.start.task, found.start.start) == ("mnli", None)


@pytest.mark.parametrize("path", OLDER, ids=lambda path: path.stem)
def test_records_of_earlier_versions_are_read(path: Path, tmp_path: Path) -> None:
    for line in path.read_text(encoding="utf-8").splitlines():
        (tmp_path / "result.json").write_text(line)
        content = {name: value for name, value in json.loads(line).items() if name not in ADDED}
        found = RunResult.read(tmp_path / "result.json")
        assert found is not None
        written = found.as_dict()
        assert [name for name in written if name in content] == list(content)
        # What such a record lacks is empty: there was no such thing, or nobody knows.
        assert all(written[name] in ([], None) for name in written.keys() - content.keys())
        assert {name: written[name] for name in content if name != "start"} == {
            name: value for name, value in content.items() if name != "start"
        }


@pytest.mark.parametrize("name", WHOLE)
def test_a_key_that_may_be_missing_is_no_null(name: str, tmp_path: Path) -> None:
    """Absent and null are two things: of an older record, and of a damaged one."""
    path = tmp_path / "result.json"
    needed = {"task", "protocol", "methods", "seeds", "scores", "reported", "majority", "failed", "cost"}
    path.write_text(json.dumps({key: value for key, value in WHOLE.items() if key != name}))
    if name in needed:
        with pytest.raises(UsageError, match=rf"result\.json: not the record of a run \({name} is missing\)"):
            RunResult.read(path)
    else:
        assert RunResult.read(path) is not None
    path.write_text(json.dumps({**WHOLE, name: None}))
    if name in ("reported", "start", "stopped"):
        assert getattr(RunResult.read(path), name) is None
    else:
        with pytest.raises(UsageError, match=rf"result\.json: not the record of a run \({name}: found null"):
            RunResult.read(path)


def test_who_needs_less_reads_less(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    assert (Fitted.read(path), Outcome.read(path), RunResult.read(path)) == (None, None, None)
    path.write_text(json.dumps({"task": "rte", "methods": []}))
    assert Fitted.read(path) == Fitted(task="rte", methods=())
    path.write_text(json.dumps({name: WHOLE[name] for name in ("scores", "reported", "failed", "cost")}))
    outcome = Outcome.read(path)
    assert outcome is not None
    assert outcome.cost.steps == 10


def test_it_cannot_be_changed_and_has_no_nan(tmp_path: Path) -> None:
    path = tmp_path / "result.json"
    path.write_text(json.dumps(WHOLE))
    found = RunResult.read(path)
    assert found is not None
    with pytest.raises(FrozenInstanceError):
        found.failed = True  # type: ignore[misc]
    odd = replace(found, methods=(MethodRecord("Mine", {"limit": float("inf"), "several": (1, float("nan"))}),))
    assert odd.as_dict()["methods"] == [{"name": "Mine", "options": {"limit": None, "several": [1, None]}}]
