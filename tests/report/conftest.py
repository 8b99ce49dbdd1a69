"""The 600 published runs."""

from pathlib import Path

import pytest


@pytest.fixture
def published(glue_dir: Path) -> Path:
    """Scores of 600 published runs, in a folder beside the GLUE download."""
    path = glue_dir.parent / "published_runs" / "revisit_bert_scores.csv"
    if not path.is_file():
        pytest.fail("no published_runs/revisit_bert_scores.csv beside the GLUE download")
    return path


@pytest.fixture
def curves(published: Path) -> Path:
    """Their learning curves."""
    return published.with_name("revisit_bert_curves.csv")
