"""A small exam, and a run that its results go to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.config import Config
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.items import Exam
from rlaif.run import Run, open_or_create


@pytest.fixture(scope="session")
def small_exam() -> Exam:
    """The embedded exam with 20 items of each type."""
    return embedded_exam(20)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_or_create(tmp_path / "run", Config())
