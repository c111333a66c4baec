"""Fixtures that every test may use."""

from __future__ import annotations

import os
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with the real data sets and models: RLAIF_SHARED, else `shared` beside the repository. Skips without it."""
    folder = Path(os.environ.get("RLAIF_SHARED", Path(__file__).parents[2] / "shared"))
    if not folder.is_dir():
        pytest.skip(f"no real data: {folder} is not there (set RLAIF_SHARED)")
    return folder
