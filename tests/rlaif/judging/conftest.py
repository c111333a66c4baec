from __future__ import annotations

import pytest
from rich.console import Console

from rlaif.screen import Screen


@pytest.fixture
def screen() -> Screen:
    """A screen that shows nothing."""
    return Screen(Console(quiet=True))
