"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest

from tests.report.browser import find

GLUE = "FTREG_GLUE_DIR"


@pytest.fixture
def glue_dir() -> Path:
    """The official GLUE download."""
    place = os.environ.get(GLUE)
    if not place:
        pytest.fail(f"{GLUE} is unset: set it to the folder that holds the official RTE/, MRPC/, ...")
    return Path(place)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and say so, what needs the download or a browser that are not there.

    Where CI is set, the tests on the download run, and fail.
    """
    lacking = {"glue_dir"} - ({"glue_dir"} if os.environ.get(GLUE) or os.environ.get("CI") else set())
    lacking |= set() if find() else {"chromium"}
    out = [item for item in items if lacking.intersection(getattr(item, "fixturenames", ()))]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_report_header() -> list[str]:
    lines = [] if os.environ.get(GLUE) or os.environ.get("CI") else [f"{GLUE} is unset: no tests on the official files"]
    return lines if find() else [*lines, "no Chromium: no tests of the page in a browser"]
