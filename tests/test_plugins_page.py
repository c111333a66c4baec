"""docs/plugins.md shows the example as it is, and its profile is one."""

from __future__ import annotations

from pathlib import Path

import pytest

from documents import ROOT, Page
from rlaif.config_file import load_config

PAGE = Page(ROOT / "docs" / "plugins.md")


@pytest.mark.parametrize("name", ["pyproject.toml", "rlaif_careful.py"])
def test_the_example_is_shown_whole(name: str) -> None:
    assert (ROOT / "examples" / "plugin" / name).read_text("utf-8") in PAGE.blocks


def test_the_profile_can_be_loaded(tmp_path: Path) -> None:
    (profile,) = [block for block in PAGE.blocks if block.startswith("# mine.toml")]
    (tmp_path / "mine.toml").write_text(profile)
    config = load_config(str(tmp_path / "mine.toml"))
    assert (config.judge.model, config.evaluation.benchmarks) == ("careful", {"plain": 0.02})
    assert config.data.sets[0].format == "cards"


def test_the_example_is_about_forty_lines() -> None:
    code = (ROOT / "examples" / "plugin" / "rlaif_careful.py").read_text("utf-8").splitlines()
    assert len(code) <= 50
