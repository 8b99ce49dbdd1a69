"""The tables in their four forms, and the report as JSON."""

import csv
import json
import re
from pathlib import Path

import pytest

from ftreg.report import table_files, tables
from ftreg.report.analysis import analyse
from ftreg.report.loaded_runs import LoadedRuns
from ftreg.report.model import Report, Run

SHIFT = "5.0"
"""Points, by which the method is better."""


def report(shift: float = 0.05, method: str = "R_Drop & 50%", task: str = "rte") -> Report:
    plain = [0.60, 0.61, 0.62, 0.60, 0.63, 0.61, 0.6, 0.58, float("nan")]
    found = LoadedRuns()
    for name, scores in (("plain", plain), (method, [score + shift for score in plain])):
        found.runs += [
            Run(task, name, str(seed), "accuracy", "last", score, majority=0.605, failed=not score > 0.605)
            for seed, score in enumerate(scores)
        ]
    return analyse(found)


def test_terminal() -> None:
    lines = tables.terminal(tables.summary(report())).splitlines()
    assert re.split(r"\s{2,}", lines[0])[:4] == ["task", "method", "metric", "mean ± std"]
    assert re.split(r"\s{2,}", lines[1]) == [
        "RTE", "plain", "accuracy", "60.6 ± 1.5", "[59.6, 61.6]", "60.5", "58.0", "63.0", "9", "1", "4",
    ]  # fmt: skip
    assert "65.6 ± 1.5*" in lines[2]
    (row,) = tables.comparisons(report()).rows
    assert row[:9] == ("RTE", "R_Drop & 50%", "plain", "+5.0", "[5.0, 5.0]", "–", "8", "1", "0.008")


@pytest.mark.parametrize(("shift", "bold"), [(0.05, {1}), (-0.05, {0}), (0.0, set())])
def test_bold_is_what_holds_after_the_correction(shift: float, bold: set[int]) -> None:
    assert {row for row, _ in tables.summary(report(shift)).bold} == bold


def test_markdown() -> None:
    text = tables.markdown(tables.summary(report(method="a|b_c")))
    lines = text.splitlines()
    assert lines[1].startswith("| --- | --- | --- | ---: |")
    assert "| a\\|b\\_c | accuracy | **65.6 ± 1.5** |" in lines[3]
    assert len({len(re.findall(r"(?<!\\)\|", line)) for line in lines[:4]}) == 1


def test_latex_escapes_everything_special() -> None:
    assert tables.escaped(r"\&%$#_{}~^<>|±−×ε–") == (
        r"\textbackslash{}\&\%\$\#\_\{\}\textasciitilde{}\textasciicircum{}$<$$>$$|$$\pm$$-$$\times$$\varepsilon$--"
    )
    text = tables.latex(tables.comparisons(report()))
    assert r"R\_Drop \& 50\%" in text
    assert r"$\varepsilon_{\min}$" in text
    assert text.isascii()
    for opening in ("table", "tabular"):
        assert text.count(rf"\begin{{{opening}}}") == text.count(rf"\end{{{opening}}}") == 1
    assert text.count("{") == text.count("}")
    columns = re.search(r"\\begin\{tabular\}\{(\w+)\}", text)
    assert columns is not None
    body = text[text.index(r"\toprule") : text.index(r"\bottomrule")].splitlines()
    lines = [line for line in body if line.endswith(r"\\")]
    assert len(lines) == 2
    assert {len(re.findall(r"(?<!\\)&", line)) + 1 for line in lines} == {len(columns[1])}
    # Neither cost nor test items are known of these runs.
    assert len(columns[1]) == len(tables.comparisons(report()).header) - 2
    assert "over items" not in text
    assert rf"\textbf{{+{SHIFT}}}" in text


def test_latex_row_is_no_option_of_the_line_above() -> None:
    text = tables.latex(tables.summary(report(task="[mine]")))
    assert "\n{}[mine] & plain" in text
    assert "\n[" not in text


def test_files(tmp_path: Path) -> None:
    made = report()
    written = table_files.write(made, tmp_path / "out")
    names = {f"{name}.{kind}" for name in ("summary", "comparisons") for kind in ("md", "tex", "csv")}
    assert {path.name for path in written} == names | {"report.json"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"report.json"}
    with open(tmp_path / "out" / "summary.csv", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert (rows[0]["method"], rows[0]["mean"], rows[0]["diverged"], rows[0]["failed"]) == ("plain", "60.625", "1", "4")
    with open(tmp_path / "out" / "comparisons.csv", encoding="utf-8") as file:
        (row,) = csv.DictReader(file)
    assert float(row["difference"]) == pytest.approx(5)
    assert (row["missing"], row["family"], row["cost_ratio"]) == ("8", "exploratory", "")


def test_json_has_all_and_is_json() -> None:
    made = report()
    content = json.loads(table_files.as_json(made), parse_constant=pytest.fail)
    assert content["comparisons"][0]["verdict"] == made.comparisons[0].verdict
    assert len(content["runs"]) == 18
    assert content["runs"][8]["score"] is None
    assert content["arms"][0]["summary"]["n"] == 9
    crossed = [Run("rte", "plain", f"{i}-{o}-0", "accuracy", "last", 0.6 + i + o) for i in (0, 1) for o in (0, 1)]
    nested = json.loads(table_files.as_json(analyse(LoadedRuns(crossed))))["variances"]
    assert nested["rte"]["plain"]["residual"] == pytest.approx(0)
