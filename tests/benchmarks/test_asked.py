"""benchmarks/asked.py: how outcomes and means of a round's questions are told."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def asked() -> Iterator[ModuleType]:
    spec = importlib.util.spec_from_file_location("benchmark_asked", ROOT / "benchmarks" / "asked.py")
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules[spec.name]


def test_each_outcome_has_its_row_and_a_failed_mark_counts_nowhere(asked: ModuleType) -> None:
    before = {"token F1": [0.1, 0.3, 0.5, 0.5], "quality": [0.2, None, 0.4, 0.4], "words": [50.0, 60.0, 40.0, 42.0]}
    after = {"token F1": [0.3, 0.3, 0.4, 0.3], "quality": [0.3, 0.9, 0.4, 0.3], "words": [40.0, 50.0, 40.0, 44.0]}
    assert asked.rows(["rejected", "rejected", "none", "none"], before, after) == [
        "| none | 2 | 0.5000 -0.1500 (0.0500) | 0.4000 -0.0500 (0.0500) | 41.0 +1.0 (1.0) |",
        "| rejected | 2 | 0.2000 +0.1000 (0.1000) |  | 55.0 -10.0 (0.0) |",
        "| all | 4 | 0.3500 -0.0250 (0.0854) | 0.3333 +0.0000 (0.0577) | 48.0 -4.5 (3.2) |",
    ]
