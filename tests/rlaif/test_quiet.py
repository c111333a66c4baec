from __future__ import annotations

import logging

from rlaif.quiet import quiet_logs

import pytest


def test_a_library_that_turns_on_everybodys_logs_is_undone(capsys: pytest.CaptureFixture[str]) -> None:
    before = logging.root.level, list(logging.root.handlers)
    with quiet_logs():
        logging.basicConfig(level=logging.INFO, force=True)
        logging.getLogger("httpx2").warning("inside")
    assert (logging.root.level, logging.root.handlers) == before
    logging.getLogger("httpx2").info("HTTP Request: POST http://127.0.0.1/v1")
    assert capsys.readouterr().err == ""
