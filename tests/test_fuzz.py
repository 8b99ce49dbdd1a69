"""The tool that makes wrong inputs: what it says of answers, and a few inputs of each cheap kind."""

from pathlib import Path
from random import Random

import pytest

from glue_tasks.submission import write_submission
from tests.report.records import grid
from tests.tools.fuzz.answer import Answer, Worker
from tests.tools.fuzz.kinds import KINDS, Material
from tests.tools.fuzz.mutate import altered, mutated, places


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    folder = tmp_path_factory.mktemp("material")
    write_submission({}, folder / "submission")
    runs = grid(folder / "runs", {"plain": [0.5, 0.6]})
    return Material(runs / "rte" / "plain" / "0", runs, folder / "submission" / "submission.zip")


@pytest.mark.parametrize(("kind", "inputs"), [("data", 25), ("scores", 25), ("submissions", 5)])
def test_no_answer_is_at_fault(
    kind: str,
    inputs: int,
    material: Material,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr("ftreg.report.figures.draw", lambda report, out: {})
    monkeypatch.setattr("ftreg.report.page.write", lambda report, out, drawn: out / "index.html")
    codes = set()
    for number in range(inputs):
        folder = tmp_path / str(number)
        folder.mkdir()
        monkeypatch.chdir(folder)
        run = KINDS[kind].make(Random(f"0/{kind}/{number}"), folder, material)
        code = run()
        out, err = capfd.readouterr()
        assert Answer(code, out, err, 0, ()).fault == "", (number, err)
        codes.add(code)
    assert 2 in codes


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Answer(0, "fine", "", 0, ("report",)), ""),
        (Answer(2, "", "ftreg: warning: x\nftreg: error: a: b; c\n", 0, ()), ""),
        (Answer(1, "", "Traceback (most recent call last):\n  x\n", 0, ()), "traceback"),
        (Answer(-9, "", "", 60, ()), "hang"),
        (Answer(-11, "", "", 1, ()), "killed by 11"),
        (Answer(3, "", "", 0, ()), "exit code 3"),
        (Answer(2, "", "x" * 501, 0, ()), "long"),
        (Answer(2, "", "a\nb\n", 0, ()), "2 lines"),
        (Answer(2, "", "a\x1b[31m\n", 0, ()), "control characters"),
        (Answer(2, "", "a\n", 0, ("out.csv",)), "files changed"),
        (Answer(2, "", "ftreg: error: KeyError: 'a'; mend it (FTREG_TRACEBACK=1 shows where)\n", 0, ()), "vague"),
    ],
)
def test_faults(answer: Answer, fault: str) -> None:
    assert answer.fault == fault


def test_a_worker_outlives_what_hangs_and_what_dies(tmp_path: Path) -> None:
    scripts = {
        "fine": "print('here'); code = 2",
        "hangs": "import time; time.sleep(60)",
        "dies": "import os; os._exit(7)",
        "raises": "1 / 0",
    }

    def prepare(name: str):
        def run() -> int:
            names = {"code": 0}
            exec(scripts[name], names)
            return names["code"]

        return run

    worker = Worker(prepare)
    try:
        answers = {name: worker.answer(name, tmp_path, 1) for name in (*scripts, "fine")}
    finally:
        worker.close()
    assert (answers["fine"].code, answers["fine"].out) == (2, "here\n")
    assert answers["hangs"].fault == "hang"
    assert answers["dies"].code == 7
    assert answers["raises"].fault == "traceback"


def test_an_input_is_a_function_of_its_seed() -> None:
    value = {"a": [1, {"b": "c"}], "d": None}
    assert [*places(value)] == [(), ("a",), ("a", 0), ("a", 1), ("a", 1, "b"), ("d",)]
    assert altered(value, Random("x")) == altered(value, Random("x"))
    assert mutated(b"abc\ndef", Random("x")) == mutated(b"abc\ndef", Random("x"))
    assert value == {"a": [1, {"b": "c"}], "d": None}
