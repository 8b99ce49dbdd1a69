"""The JSON files that are written and read again: whatever else is in one gets a line with the file and the key."""

import copy
import json
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ftreg._base.errors import UsageError
from ftreg.bench.state import read_state
from ftreg.report.model import Run
from ftreg.report.predicted import over_items
from ftreg.report.reading import read_runs
from ftreg.run.records import read_record
from ftreg.run.result import Fitted, Outcome, RunResult
from tests.report.records import record

SEEDS = {"init": 0, "order": 0, "split": 1}
REPORTED = {"split": "dev", "checkpoint": "best", "metric": "accuracy", "value": 0.6}
BEFORE = {"task": "qnli", "methods": [], "start": None}
RESULT = {
    "identity": "0a",
    "task": "rte",
    "source": "tsv",
    "protocol": "holdout",
    "methods": [{"name": "Mixout", "options": {"p": 0.7}}],
    "seeds": SEEDS,
    "scores": {"dev": {"best": {"accuracy": 0.6}, "last": {"accuracy": 0.5}}},
    "reported": REPORTED,
    "majority": {"dev": {"accuracy": 0.5}},
    "failed": False,
    "cost": {"steps": 10, "seconds": 1.5, "tokens": 100, "peak_memory_bytes": 1},
    "start": BEFORE,
    "versions": {"torch": "2.6"},
}
FILES: dict[str, tuple[Any, Any]] = {
    "result.json": (RunResult, RESULT),
    "result.json of a bench": (Outcome, RESULT),
    "result.json that is cited": (Fitted, RESULT),
    "cell.json": (None, {"name": "rte/plain/0", "identity": "0a", "arguments": ["--a=1"], "seconds": 1.0}),
    "error.json": (None, {"line": "out of memory", "exit_code": 1, "identity": "0a", "when": "now"}),
    "grid.json": (
        None,
        {
            "tasks": ["rte"],
            "methods": {"plain": ["--a=1"]},
            "seeds": [SEEDS],
            "primary": [["mixout", "plain"]],
            "comparisons": [{"task": "rte", "method": "mixout", "baseline": "plain"}],
        },
    ),
    "matched.json": (None, {"rte": {"mixout": {"cost": 1.5, "seconds_per_step": {"plain": 1.0}}}}),
    "tuned.json": (None, {"rte": {"mixout": {"chosen": 1, "settings": [{"mean": 0.5}]}}}),
    "submitted.json": (None, {"rte/plain/0": "17_3"}),
}
TEXTS: dict[str, bytes] = {
    "empty": b"",
    "torn": b'{"task": "rte", "meth',
    "a list": b"[]",
    "a number": b"3",
    "null": b"null",
    "deep": b'{"a":' * 100_000,
    "rather deep": b'{"a":' * 60 + b"1" + b"}" * 60,
    "NaN": b'{"a": NaN}',
    "infinite": b'{"a": 1e999}',
    "a key twice": b'{"a": 1, "a": 2}',
    "half a character": rb'{"a": "\ud800"}',
    "half a character as key": rb'{"\udfff": 1}',
    "many digits": b'{"a": ' + b"9" * 5000 + b"}",
    "UTF-16": '{"a": 1}'.encode("utf-16"),
    "Latin-1": b'{"a": "\xe9"}',
    "NUL": b"\0" * 100,
}
WRONG: list[Any] = [True, "text", 3, 0.5, [], {}, None, 2**70]


def complaint(path: Path, kind: Any) -> str:
    with pytest.raises(UsageError) as error:
        read_record(path, kind)
    line = str(error.value)
    assert line.startswith(f"{path}: not ")
    assert "\n" not in line
    assert len(line) < 500
    line.encode()
    return line


def leaves(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The keys to everything in a value that is no method's options."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in inner:
        yield (*at, key)
        if key not in ("options", "settings"):
            yield from leaves(item, (*at, key))


def replaced(value: Any, at: tuple[Any, ...], new: Any) -> Any:
    value = copy.deepcopy(value)
    inner = value
    for key in at[:-1]:
        inner = inner[key]
    inner[at[-1]] = new
    return value


@pytest.mark.parametrize("name", FILES)
def test_what_is_written_is_read_and_nothing_of_another_type(tmp_path: Path, name: str) -> None:
    kind, content = FILES[name]
    path = tmp_path / name.split()[0]
    path.write_text(json.dumps(content))
    assert read_record(path, kind) == content
    told = 0
    for at in leaves(content):
        for wrong in WRONG:
            path.write_text(json.dumps(replaced(content, at, wrong)))
            try:
                read_record(path, kind)
            except UsageError:
                line = complaint(path, kind)
                assert ".".join(map(str, at)) in line
                told += 1
    assert told > 2 * len(content)


@pytest.mark.parametrize("text", TEXTS)
def test_what_is_no_such_json(tmp_path: Path, text: str) -> None:
    for name in ("result.json", "cell.json", "submitted.json"):
        (tmp_path / name).write_bytes(TEXTS[text])
        assert "not the JSON that ftreg writes (" in complaint(tmp_path / name, FILES[name][0])


@pytest.mark.parametrize("name", ["result.json", "error.json", "grid.json"])
def test_an_empty_object_is_no_file_that_is_not_there(tmp_path: Path, name: str) -> None:
    kind = FILES[name][0]
    assert read_record(tmp_path / name, kind) == {}
    (tmp_path / name).write_text("{}")
    assert "is missing" in complaint(tmp_path / name, kind)


@pytest.mark.parametrize(("key", "wrong"), [("failed", "false"), ("scores", {"dev": {"best": {"accuracy": "0.9"}}})])
def test_report_and_bench_refuse_it(tmp_path: Path, key: str, wrong: Any) -> None:
    """A text that looks like a number or like false is neither."""
    folder = record(tmp_path / "rte" / "plain" / "0", 0.6)
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), key: wrong}))
    for reader in (lambda: read_runs([tmp_path]), lambda: read_state(folder)):
        with pytest.raises(UsageError, match=rf"result\.json: not the record of a run \({key}"):
            reader()


COLUMNS: dict[str, Any] = {"row_id": [1, 0], "label": [1, 1], "logits": [[0.1, 0.9], [0.8, 0.2]]}


@pytest.mark.parametrize(
    "wrong",
    [
        {"logits": [["0.1", "0.9"], ["0.8", "0.2"]]},
        {"logits": [[0.1, 0.9], [0.8]]},
        {"logits": [0.1, 0.9]},
        {"logits": [[True, False], [False, True]]},
        {"logits": [None, None]},
        {"logits": [[], []]},
        {"label": ["1", "1"]},
        {"label": [1, None]},
        {"label": [1, 2]},
        {"label": [1, -1]},
        {"row_id": [0.5, 1.0]},
        {"row_id": ["0", "1"]},
        {"row_id": [], "label": [], "logits": pa.array([], pa.list_(pa.float32()))},
    ],
)
def test_predictions_of_other_types_are_refused(tmp_path: Path, wrong: dict[str, Any]) -> None:
    for method in ("plain", "mixout"):
        record(tmp_path / "rte" / method / "0", 0.6, predicted=[1, 0])
    path = tmp_path / "rte" / "plain" / "0" / "predictions" / "dev.parquet"
    pq.write_table(pa.table({**COLUMNS, **wrong}), path)
    runs = read_runs([tmp_path]).runs
    with np.errstate(all="raise"), pytest.raises(UsageError) as error:
        over_items([(runs[0], runs[1])])
    assert str(error.value).startswith(f"{path}: ")
    assert str(error.value).endswith("; run it again")
    assert len(str(error.value)) < 500


def pair_of(tmp_path: Path, metric: str, columns: Mapping[str, dict[str, Any]]) -> tuple[Run, Run]:
    """The runs of mixout and plain with these predictions."""
    for method, found in columns.items():
        folder = record(tmp_path / "rte" / method / "0", 0.6, predicted=[1, 0])
        table = pa.table({"row_id": list(range(len(found["label"]))), **found})
        pq.write_table(table, folder / "predictions" / "dev.parquet")
    runs = {run.method: replace(run, metric=metric) for run in read_runs([tmp_path]).runs}
    return runs["mixout"], runs["plain"]


@pytest.mark.parametrize("metric", ["micro_f1", "macro_f1", "subset_accuracy"])
def test_sets_of_labels_are_compared_by_the_row(tmp_path: Path, metric: str) -> None:
    labels = [[1, 0], [0, 0], [1, 1], [0, 1]] * 5
    right = [[2.0 * one - 1 for one in row] for row in labels]
    wrong = [[-0.5, -0.5]] * 20
    pair = pair_of(
        tmp_path, metric, {"mixout": {"label": labels, "logits": right}, "plain": {"label": labels, "logits": wrong}}
    )
    found = over_items([pair], resamples=200)
    assert found is not None
    assert found.estimate == pytest.approx(0.75 if metric == "subset_accuracy" else 1)
    assert found.low <= found.estimate <= found.high


@pytest.mark.parametrize("metric", ["entity_f1", "accuracy"])
def test_tokens_are_no_sample_of_items(tmp_path: Path, metric: str) -> None:
    words = {"label": [[0, 1], [0]], "logits": [[[0.1, 0.2], None], [[0.3, 0.1]]]}
    assert over_items([pair_of(tmp_path, metric, {"mixout": words, "plain": words})]) is None


@pytest.mark.parametrize("content", [b"", b"PAR1" + b"\0" * 50 + b"PAR1", b"\xff" * 1000])
def test_predictions_that_are_no_parquet_are_refused(tmp_path: Path, content: bytes) -> None:
    record(tmp_path / "rte" / "plain" / "0", 0.6, predicted=[1, 0])
    path = tmp_path / "rte" / "plain" / "0" / "predictions" / "dev.parquet"
    path.write_bytes(content)
    (run,) = read_runs([tmp_path]).runs
    with pytest.raises(UsageError, match=r"dev\.parquet: cannot be read as predictions"):
        over_items([(run, run)])
