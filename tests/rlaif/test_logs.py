"""What --verbose and RLAIF_LOG show."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from command_line import call
from rlaif import logs, quiet
from rlaif.run import Run
from rlaif.types import UsageError


@pytest.fixture(autouse=True)
def as_before(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The loggers as they were; no RLAIF_LOG from outside."""
    monkeypatch.delenv(logs.VARIABLE, raising=False)
    monkeypatch.setenv("TRANSFORMERS_VERBOSITY", "error")
    known = [(who, list(who.handlers), who.level) for who in (logging.root, logs.LOG)]
    yield
    for who, handlers, level in known:
        who.handlers[:], who.level = handlers, level
        who.setLevel(level)


def a_stage(run: Run) -> None:
    with run.stage(1, "sample"):
        pass


def test_nothing_is_shown_unasked(judged_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(False)
    a_stage(judged_run)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("verbose", "level", "writes"), [(True, "", False), (False, "INFO", False), (False, "debug", True)]
)
def test_what_each_level_shows(
    judged_run: Run,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    verbose: bool,
    level: str,
    writes: bool,
) -> None:
    monkeypatch.setenv(logs.VARIABLE, level)
    logs.configure(verbose)
    a_stage(judged_run)
    err = capsys.readouterr().err
    assert "INFO    rlaif: round 1, stage sample: begun" in err and "stage sample: done in" in err
    assert ("wrote 1 stages" in err) == writes
    logging.getLogger("somebody.else").info("their own")
    assert ("their own" in capsys.readouterr().err) == writes
    with quiet.quiet_logs():
        logging.getLogger("somebody.else").info("inside")
    assert ("inside" in capsys.readouterr().err) == writes


def test_configured_twice_a_line_is_shown_once(judged_run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure(True)
    logs.configure(True)
    a_stage(judged_run)
    assert capsys.readouterr().err.count("begun") == 1


def test_an_unknown_level_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(logs.VARIABLE, "loud")
    with pytest.raises(UsageError, match="RLAIF_LOG=loud: use one of: error, warning, info, debug"):
        logs.configure(False)
    code, _, err = call("profiles")
    assert code == 2 and len(err.splitlines()) == 1


def test_the_command_line_turns_it_on(judged_run: Run) -> None:
    for option in ("--verbose", "-v"):
        assert call(option, "status", "--run", judged_run.folder)[0] == 0
        assert logs.LOG.isEnabledFor(logging.INFO)
        logs.LOG.setLevel(logging.WARNING)
