"""`python -m rlaif`, the way a notebook reaches the command line."""

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.slow  # starts a process
def test_it_is_the_command_line() -> None:
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-m", "rlaif", "sq"], capture_output=True, text=True, check=False, cwd=root)
    assert (done.returncode, done.stdout) == (2, "") and "No such command 'sq'" in done.stderr
