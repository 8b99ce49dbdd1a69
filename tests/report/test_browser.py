"""The page in a real Chromium: it complains of nothing, fetches nothing, fits the window, and does what it offers."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from ftreg.report import page
from ftreg.report.figures import draw
from tests.report.browser import Browser, find
from tests.report.example import example

HOSTILE = "</script><img src=x onerror='window.harmed=1'>{{data}}"


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    if find() is None:
        pytest.fail("no Chromium was found: install one, or leave these tests out")
    with Browser() as browser:
        yield browser


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("report")
    return page.write(example(), folder, draw(example(), folder))


@pytest.fixture
def opened(chromium: Browser, written: Path) -> Iterator[Browser]:
    chromium.open(written)
    yield chromium
    assert chromium.complaints == []
    assert chromium.fetched == []


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", [380, 800, 1400])
def test_fits_the_window(opened: Browser, written: Path, width: int, dark: bool) -> None:
    opened.open(written, width, dark=dark)
    assert opened.run("document.documentElement.scrollWidth") <= width
    back = opened.run("getComputedStyle(document.body).backgroundColor")
    assert (back == "rgb(255, 255, 255)") is not dark


def test_pointing_at_a_dot_tells_which_run_it_is(opened: Browser) -> None:
    opened.run("document.querySelector('#seeds').scrollIntoView()")
    x, y = opened.run(
        "(() => { const box = document.querySelector('circle[data-run=\"8\"]').getBoundingClientRect();"
        "return [box.x + box.width / 2, box.y + box.height / 2]; })()"
    )
    opened.point(x, y)
    told = opened.run("document.querySelector('#tip').innerText")
    assert "Mixout on rte, seed 2-0-0" in told
    assert "runs/rte/Mixout/2" in told
    opened.point(1, 1)
    assert opened.run("document.querySelector('#tip').hidden")


def test_arrow_keys_go_through_a_strip(opened: Browser) -> None:
    opened.run("document.querySelector('.strip svg').focus()")
    seen = []
    for _ in range(3):
        opened.key("ArrowRight")
        seen.append(opened.run("document.querySelector('#tip').innerText").splitlines()[0])
    assert seen == [f"plain on rte, seed {seed}-0-0" for seed in range(3)]
    opened.key("Escape")
    assert opened.run("document.querySelector('#tip').hidden")


def test_sorting_with_the_keyboard(opened: Browser) -> None:
    tables = "[...document.querySelectorAll('table')]"
    table = f"{tables}.find(one => one.ariaLabel.startsWith('Differences'))"
    opened.run(f"[...{table}.querySelectorAll('th button')].find(one => one.innerText == 'Difference').focus()")
    read = f"[...{table}.tBodies[0].rows].map(row => row.cells[5].innerText)"
    opened.key("Enter")
    assert opened.run(read) == ["−2.0", "+3.0", "–"]
    opened.key("Enter")
    assert opened.run(read) == ["+3.0", "−2.0", "–"]
    assert opened.run("document.activeElement.parentElement.ariaSort") == "descending"


def test_filters_hide_a_method_and_a_task_everywhere(opened: Browser) -> None:
    visible = ".filter(one => one.checkVisibility()).map(one => one.dataset.{})"
    shown = "[...document.querySelectorAll('main [data-{}]')]" + visible
    opened.run("document.querySelector('.all').open = true")
    opened.run("new Promise(done => setTimeout(done, 100))")
    assert {"Mixout", "plain"} <= {*opened.run(shown.format("method", "method"))}
    opened.run("document.querySelector('input[value=Mixout]').click()")
    assert "Mixout" not in opened.run(shown.format("method", "method"))
    opened.run("document.querySelector('input[value=rte]').click()")
    assert {*opened.run(shown.format("task", "task"))} == {"own-task"}
    opened.run("document.querySelector('input[value=rte]').click()")
    assert "rte" in opened.run(shown.format("task", "task"))


def test_the_long_table_has_every_run(opened: Browser) -> None:
    opened.run("document.querySelector('.all').open = true")
    opened.run("new Promise(done => setTimeout(done, 100))")
    assert opened.run("document.querySelector('#all').tBodies[0].rows.length") == len(example().runs)


def test_controls_have_names(opened: Browser) -> None:
    nodes = opened.send("Accessibility.getFullAXTree")["nodes"]
    roles = {"button", "checkbox", "link", "img", "image", "table", "region"}
    named = [node for node in nodes if node.get("role", {}).get("value") in roles and not node["ignored"]]
    assert len(named) > 20
    assert [node["role"] for node in named if not node.get("name", {}).get("value")] == []


def test_hostile_names_do_nothing(chromium: Browser, tmp_path: Path) -> None:
    chromium.open(page.write(example(method=HOSTILE), tmp_path, {}))
    chromium.run("document.querySelector('.all').open = true")
    chromium.run("new Promise(done => setTimeout(done, 100))")
    assert chromium.run("window.harmed === undefined && document.images.length === 0")
    assert chromium.complaints == []
    assert chromium.fetched == []


def test_the_browser_tells_what_is_wrong(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "index.html").write_text("<img src=none.png><script>console.error('so'); nothing()</script>")
    with Browser() as browser:
        browser.open(tmp_path / "index.html")
        browser.run("new Promise(done => setTimeout(done, 200))")
    told = "\n".join(browser.complaints)
    assert "'so'" in told
    assert "nothing is not defined" in told
    assert browser.fetched == [(tmp_path / "none.png").as_uri()]
