"""`ftreg report` on the command line."""

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from ftreg.report import command, figures, page
from ftreg.report.model import Report
from tests.full import full
from tests.report.records import grid


@pytest.fixture(autouse=True)
def _no_drawing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Figures and page have tests of their own."""

    def draw(report: Report, out: Path) -> dict[str, Path]:
        return {"seeds": out / "figures" / "seeds.png"}

    def write(report: Report, out: Path, drawn: Mapping[str, Path]) -> Path:
        assert list(drawn) == ["seeds"]
        return out / "index.html"

    monkeypatch.setattr(figures, "draw", draw)
    monkeypatch.setattr(page, "write", write)


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    arms = {"plain": [0.60, 0.61, 0.62, 0.60, 0.63, 0.61], "mixout": [0.65, 0.66, 0.66, 0.64, 0.69, None]}
    return grid(tmp_path / "runs", arms, family=[("mixout", "plain")])


def test_tables_verdicts_notes_and_places(runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command.main([str(runs), "--out", str(out), "--alpha", "0.1", "--title", "Mine"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith("Mine\n")
    assert "mixout beats plain on RTE by 4.8 points" in shown
    assert "  ! Leaving 1 diverged run of mixout out" in shown
    assert "note  1 run of 12 diverged" in shown
    assert str(out / "index.html") in shown
    assert "summary.md" in shown
    assert "figures/seeds.png" in shown
    content = json.loads((out / "report.json").read_text())
    assert (content["alpha"], content["title"], content["sources"]) == (0.1, "Mine", [str(runs)])


def test_options_reach_the_report(runs: Path, tmp_path: Path) -> None:
    scores = tmp_path / "scores.csv"
    scores.write_text("dataset,method,seed,score,checkpoint\n" + "".join(
        f"rte,{method},{seed},0.{6 + seed},{checkpoint}\n"
        for method in ("a", "b", "c") for seed in (0, 1) for checkpoint in ("best", "last")
    ))  # fmt: skip
    options = ["--columns", "task=dataset", "--checkpoint", "best", "--baseline", "b", "--primary", "c"]
    assert command.main([str(scores), "--out", str(tmp_path / "out"), *options]) == 0
    content = json.loads((tmp_path / "out" / "report.json").read_text())
    assert content["baseline"] == "b"
    assert {run["checkpoint"] for run in content["runs"]} == {"best"}
    assert [(c["method"], c["primary"]) for c in content["comparisons"]] == [("c", True), ("a", False)]


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ([], "the following arguments are required: PATH"),
        (["{runs}", "--colour"], "unrecognized arguments: --colour"),
        (["{runs}", "--checkpoint", "first"], "invalid choice: 'first'"),
        (["{runs}", "--columns", "task"], "--columns: found 'task'; write task=NAME"),
        (["{runs}", "--columns", "tusk=a"], "--columns: no 'tusk'; did you mean 'task'?"),
        (["{runs}", "--baseline", "plan"], "--baseline: no method 'plan'; did you mean 'plain'?"),
        (["{runs}", "--alpha", "1"], "alpha is 1.0; it must lie between 0 and 1"),
        (["{runs}/nothing"], "no such file or folder"),
    ],
)
def test_mistakes_are_one_line(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], options: list[str], complaint: str
) -> None:
    told = [option.format(runs=runs) for option in options]
    assert command.main([*told, "--out", str(tmp_path / "out")]) == 2
    errors = capsys.readouterr().err
    assert errors.startswith("ftreg: error: ")
    assert complaint in errors
    assert errors.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_on_a_full_disk_the_report_before_is_whole(
    runs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    assert command.main([str(runs), "--out", str(out), "--title", "first"]) == 0
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    capsys.readouterr()
    for size in (2_000, 20_000, max(map(len, before.values())) - 1):
        with full(size):
            assert command.main([str(runs), "--out", str(out), "--title", "other"]) == 2
        assert capsys.readouterr().err.startswith(f"ftreg: error: {out}: cannot be written (File too large)")
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
