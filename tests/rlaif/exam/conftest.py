"""An exam, and a run that its results go to."""

from __future__ import annotations

from pathlib import Path

import pytest

from rlaif.config import Config
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.items import Exam
from rlaif.run import Run, open_or_create


@pytest.fixture(scope="session")
def exam() -> Exam:
    """The embedded exam at its own size: with fewer items no bound is reached."""
    return embedded_exam()


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return open_or_create(tmp_path / "run", Config())
