"""Fixtures shared by all tests."""

import os
from pathlib import Path

import pytest


@pytest.fixture
def glue_dir() -> Path:
    """The official GLUE download. A test that needs it fails without it: skipped data tests go unnoticed."""
    place = os.environ.get("FTREG_GLUE_DIR")
    if not place:
        pytest.fail("FTREG_GLUE_DIR is unset: set it to the folder that holds the official RTE/, MRPC/, ...")
    return Path(place)
