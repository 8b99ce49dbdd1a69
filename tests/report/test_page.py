"""The page of a report: whole, closed, all of it there, and nothing in it that a name could set off."""

import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from math import nan
from pathlib import Path

import pytest

from ftreg.report import page
from ftreg.report.figures import draw
from ftreg.report.html import Html, element
from ftreg.report.model import Report
from ftreg.run.result import MethodRecord
from ftreg.run.wording import points
from tests.report.example import RECORD, example

VOID = {"meta", "input", "img", "br", "link", "hr"}
HOSTILE = "</script><b>bold</b>&amp;{{data}}\"' onload=alert(1) <!--\u2028<script>"


class Page(HTMLParser):
    """What a page is made of; fails where an element is closed that is not open."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: dict[str, list[str]] = {}
        self.stack: list[str] = []
        self.feed(text)
        self.close()
        assert self.stack == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.stack.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.stack.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.setdefault(self.stack[-1] if self.stack else "", []).append(data)

    @property
    def shown(self) -> str:
        return " ".join(text for tag, texts in self.texts.items() if tag not in ("script", "style") for text in texts)

    @property
    def data(self) -> dict:
        return json.loads(self.texts["script"][0])


def read(report: Report) -> Page:
    return Page(page.compose(report, {}))


def test_is_one_file_that_fetches_nothing(tmp_path: Path) -> None:
    report = example()
    path = page.write(report, tmp_path, draw(report, tmp_path))
    assert path == tmp_path / "index.html"
    text = path.read_text(encoding="utf-8")
    found = Page(text)
    addresses = [value for _, attributes in found.tags for name, value in attributes.items() if name in ("src", "href")]
    assert all(value is not None and value.startswith(("data:image/png;base64,", "#")) for value in addresses)
    assert sum(tag == "img" for tag, _ in found.tags) == 4
    assert not re.search(r"@import|url\(|fetch\(|XMLHttpRequest|<link", text)
    policy = next(attributes["content"] for tag, attributes in found.tags if "http-equiv" in attributes)
    assert str(policy).startswith("default-src 'none'")
    assert not re.search(r"\{\{[a-z]+\}\}", text)


def test_the_links_lead_somewhere() -> None:
    found = read(example()).tags
    places = {attributes.get("id") for _, attributes in found}
    assert {str(attributes["href"])[1:] for tag, attributes in found if tag == "a"} <= places


def test_has_every_run_verdict_warning_and_note() -> None:
    report = example()
    found = read(report)
    for text in (
        report.title,
        *report.warnings,
        *report.notes,
        *report.sources,
        *(one.verdict for one in report.comparisons),
        *(warning for one in report.comparisons for warning in one.warnings),
        *(points(arm.summary.mean) for arm in report.arms),
        "1 failed, × 1 diverged",
    ):
        assert text in found.shown
    assert [(run["place"], run["seed"]) for run in found.data["runs"]] == [(run.place, run.seed) for run in report.runs]
    dots = sorted(int(str(attributes["data-run"])) for _, attributes in found.tags if "data-run" in attributes)
    assert dots == [at for at, run in enumerate(report.runs) if run.score == run.score]
    assert found.data["runs"][6]["score"] is None


def test_outcomes() -> None:
    found = " ".join(read(example()).shown.split())
    assert "Better on 1 of 2 tasks, not told apart on 1." in found
    assert "Not told apart from plain on the task." in found
    report = example()
    few = tuple(replace(one, enough=False, adjusted=1.0) for one in report.comparisons)
    found = " ".join(read(replace(report, comparisons=few)).shown.split())
    assert "Too few pairs to tell it apart from plain on any of 2 tasks." in found
    assert found.count("◌ too few pairs") == 2 * len(few)


def test_settings_come_from_the_records() -> None:
    found = read(example()).shown
    assert "Mixout(p=0.7)" in found
    assert "bert-tiny" in found
    bare = example()
    bare = replace(bare, runs=tuple(replace(run, record=None) for run in bare.runs))
    assert "The runs come without records of their settings." in read(bare).shown


def test_cites_the_statistics_and_the_methods() -> None:
    found = read(example()).shown
    assert "@inproceedings{lee2020mixout," in found
    assert "dror2019deep" in found


def test_an_unreadable_record_costs_the_reference_and_not_the_page() -> None:
    report = example()
    odd = replace(RECORD, methods=(MethodRecord("Mixout", {"nonsense": 1}),))
    report = replace(report, runs=tuple(replace(run, record=odd) for run in report.runs))
    found = read(report).shown
    assert "lee2020mixout" not in found
    assert "dror2019deep" in found


def test_hostile_names_are_inert() -> None:
    report = example(method=HOSTILE)
    arms = tuple(replace(arm, metric=HOSTILE) for arm in report.arms)
    runs = tuple(
        replace(run, place=HOSTILE, seed=HOSTILE, record=replace(RECORD, source=HOSTILE)) for run in report.runs
    )
    found = read(replace(report, runs=runs, arms=arms, sources=(HOSTILE,), title=HOSTILE))
    plain = read(example())
    assert "b" in {tag for tag, _ in plain.tags}  # the page has bold text of its own: count it
    assert [tag for tag, _ in found.tags].count("b") == [tag for tag, _ in plain.tags].count("b")
    assert [tag for tag, _ in found.tags].count("script") == 2
    assert not any(name.startswith("on") for _, attributes in found.tags for name in attributes)
    assert HOSTILE in found.shown
    assert {run["place"] for run in found.data["runs"]} == {HOSTILE}


def test_json_in_a_script_cannot_end_it() -> None:
    text = page.embed({"a": "</script><!--&\u2028", "b": nan})
    assert not re.search("[<>&\u2028]", text)
    assert json.loads(text) == {"a": "</script><!--&\u2028", "b": None}


def test_elements_escape_what_is_not_html() -> None:
    assert element("p", "<", Html("<i></i>"), title='"', hidden=True, lang=None) == (
        '<p title="&quot;" hidden>&lt;<i></i></p>'
    )


@pytest.mark.parametrize("lost", ["comparisons", "averages", "variances", "notes", "sources"])
def test_what_is_missing_is_left_out(lost: str) -> None:
    read(replace(example(), **{lost: type(getattr(example(), lost))()}))


def test_a_single_run_or_none_that_ended() -> None:
    report = example(compared=False)
    arm = report.arms[0]
    one = replace(arm, runs=arm.runs[:1])
    lost = replace(arm, runs=(replace(arm.runs[0], score=nan, majority=None),), expected=())
    for left in (one, lost):
        read(replace(report, arms=(left,), runs=left.runs))
