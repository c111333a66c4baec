"""docs/testing.md: each code block is a whole file, and they pass as typed, in a folder outside the checkout."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from documents import ROOT, Page

pytestmark = pytest.mark.slow  # a pytest of its own, which imports LangChain
FILES = {block.partition("\n")[0].removeprefix("# "): block for block in Page(ROOT / "docs" / "testing.md").blocks}


def test_every_block_is_a_file() -> None:
    assert all(re.fullmatch(r"\w+\.py", name) for name in FILES), list(FILES)
    assert len([name for name in FILES if name.startswith("test_")]) >= 4 and "conftest.py" in FILES


def test_the_files_pass_as_typed(tmp_path: Path) -> None:
    for name, text in FILES.items():
        (tmp_path / name).write_text(text, "utf-8")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:langsmith_plugin"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""}
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    tests = sum(text.count("\ndef test_") for text in FILES.values())
    assert f"{tests} passed" in done.stdout, done.stdout
