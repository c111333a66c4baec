"""The command line in this process, for tests of whole commands."""

from __future__ import annotations

import contextlib
import io
import sys

import pytest

import cli


def call(*arguments: object) -> tuple[int, str, str]:
    """Exit code, stdout and stderr of `python cli.py ARGUMENTS`."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        patch.setattr(sys, "argv", ["cli.py", *map(str, arguments)])
        try:
            cli.main()
        except SystemExit as exit:
            return int(exit.code or 0), out.getvalue(), err.getvalue()
    raise AssertionError("cli.main returned")
