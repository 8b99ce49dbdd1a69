"""Fixtures shared by all tests."""

import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.report.browser import find

GLUE = "FTREG_GLUE_DIR"


@pytest.fixture(autouse=True)
def interruptible() -> Iterator[None]:
    """Ctrl-C arrives, also where the tests run in the background of a script, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def glue_dir() -> Path:
    """The official GLUE download."""
    place = os.environ.get(GLUE)
    if not place:
        pytest.fail(f"{GLUE} is unset: set it to the folder that holds the official RTE/, MRPC/, ...")
    return Path(place)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out, and say so, what needs something that is not there. Where CI is set, those tests run, and fail."""
    lacking = missing()
    out = [item for item in items if lacking.keys() & {*item.fixturenames, *(m.name for m in item.iter_markers())}]  # type: ignore[attr-defined]
    config.hook.pytest_deselected(items=out)
    items[:] = [item for item in items if item not in out]


def pytest_report_header() -> list[str]:
    return [*missing().values()]


def missing() -> dict[str, str]:
    """Fixtures and marks whose tests are left out, and why."""
    if os.environ.get("CI"):
        return {}
    needs = {
        "glue_dir": (os.environ.get(GLUE), f"{GLUE} is unset: no tests on the official files"),
        "chromium": (find(), "no Chromium: no tests of the page in a browser"),
        "slurm": (_slurm(), "no SLURM: no tests of the launcher on a real one"),
    }
    return {name: why for name, (there, why) in needs.items() if not there}


def _slurm() -> bool:
    return shutil.which("sinfo") is not None and not subprocess.run(["sinfo"], capture_output=True).returncode
