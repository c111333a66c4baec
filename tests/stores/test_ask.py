"""A person's statement: stopped by Ctrl-C, by its limit, and never in the way of a writer."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from rlaif.types import RlaifError, UsageError
from stores import ask
from stores.store import Store

ROOT = Path(__file__).parents[2]
ENDLESS = {
    "scan": "SELECT count(*) FROM range(1000000000000)",
    "join": "SELECT sum(a.range * b.range) FROM range(100000000) a, range(100000000) b",
    "recursion": "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
}


@pytest.mark.parametrize("case", ENDLESS)
def test_a_statement_is_stopped_at_its_limit(store: Store, case: str) -> None:
    with pytest.raises(RlaifError, match=r"stopped after 0\.2 s; .*--timeout") as caught:
        store.query_user(ENDLESS[case], 0.2)
    assert caught.value.exit_code == 1
    assert store.query_user("SELECT seed FROM runs") == (["seed"], [(7,)])


def start(store: Store, sql: str, *options: str, **more: object) -> subprocess.Popen:
    def heed() -> None:  # also where the tests run in a shell's background, which ignores it
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = [sys.executable, "cli.py", "sql", sql, "--run", str(store.path.parent), *options]
    environment = os.environ | {k: str(v) for k, v in more.items()}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=heed
    )


def has_open(process: subprocess.Popen, store: Store, _: Path) -> bool:
    """Whether the process has the database open: before that it imports, which takes seconds on a busy machine."""
    links = Path(f"/proc/{process.pid}/fd")
    if not links.exists():  # no Linux
        time.sleep(5)
        return True
    return any(os.path.realpath(link) == os.path.realpath(store.path) for link in links.iterdir())


def copied(process: subprocess.Popen, store: Store, temporary: Path) -> bool:
    return any(temporary.iterdir())


@pytest.mark.slow
@pytest.mark.parametrize("after", [0.5, 4.0], ids=["on the file", "on the copy"])
def test_ctrl_c_stops_the_command(store: Store, tmp_path: Path, after: float) -> None:
    (tmp_path / "tmp").mkdir()
    process = start(store, ENDLESS["scan"], TMPDIR=tmp_path / "tmp")
    try:
        deadline = time.monotonic() + 60
        begun = copied if after > 1 else has_open
        while not begun(process, store, tmp_path / "tmp") and time.monotonic() < deadline:
            time.sleep(0.05)
        time.sleep(after)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, out) == (130, b""), error
    assert len(error.splitlines()) == 1 and b"bug" not in error
    assert list((tmp_path / "tmp").iterdir()) == [], "the copy is gone"


@pytest.mark.slow
def test_a_long_statement_does_not_hold_up_a_writer(store: Store, tmp_path: Path) -> None:
    (tmp_path / "tmp").mkdir()
    process = start(store, ENDLESS["scan"], "--timeout", "0", TMPDIR=tmp_path / "tmp")
    try:
        deadline = time.monotonic() + 60
        while not list((tmp_path / "tmp").glob("rlaif-sql-*")) and time.monotonic() < deadline:
            time.sleep(0.05)
        for number in range(3):
            store.write({"rounds": [{"round": number}]})  # would wait for the reader for ever
        assert process.poll() is None, "and it still asks"
    finally:
        process.kill()
        process.wait()
    assert store.query("SELECT count(*) AS n FROM rounds") == [{"n": 3}]


def test_the_copy_answers_as_the_file_does(store: Store, rows, monkeypatch: pytest.MonkeyPatch) -> None:
    store.write({"verdicts": [rows.verdict("a"), rows.verdict("b")]})
    statement = "SELECT candidate_id FROM verdicts ORDER BY 1"
    asked = []

    def first_out_of_time(con, sql, fetch, seconds, own=ask._answer):
        asked.append(seconds)
        return None if len(asked) == 1 else own(con, sql, fetch, seconds)

    monkeypatch.setattr(ask, "_answer", first_out_of_time)
    assert store.query_user(statement) == (["candidate_id"], [("a",), ("b",)])
    assert asked[0] == ask.HOLD_SECONDS and asked[1] > 200


def test_no_room_for_a_copy_is_one_line(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ask, "_answer", lambda *_: None)
    monkeypatch.setattr(ask, "_SPARE_BYTES", 2**60)
    before = list(Path(tempfile.gettempdir()).glob("rlaif-sql-*"))
    with pytest.raises(RlaifError, match="no room for a copy.*TMPDIR"):
        store.query_user("SELECT 1")
    assert list(Path(tempfile.gettempdir()).glob("rlaif-sql-*")) == before


@pytest.mark.parametrize(
    ("sql", "cells"),
    [
        ("SELECT TIMESTAMPTZ '2026-01-02 03:04:05+00' AS t, sum(range) AS n FROM range(3)", ["2026-01-02", 3]),
        ("SELECT [TIMESTAMPTZ '2026-01-02 03:04:05+00'] AS t -- a comment", ["2026-01-02"]),
        ("SELECT TIMESTAMP '290000-01-01 00:00:00' AS t, 1 AS t;", ["290000-01-01", 1]),
        ("SELECT DATE '0044-03-15 (BC)' AS d", ["0044-03-15 (BC)"]),
        ("SELECT INTERVAL 3000000 YEARS AS i", ["3000000 years"]),
        ("WITH t AS (SELECT now() AS a) SELECT a, 'x' AS \"a\" FROM t ORDER BY 1", ["", "x"]),
    ],
)
def test_times_that_python_cannot_hold_come_as_text(store: Store, sql: str, cells: list) -> None:
    columns, ((*found,),) = store.query_user(sql)
    assert len(columns) == len(found) == len(cells)
    assert all(v == c if isinstance(c, int) else c in v for v, c in zip(found, cells, strict=True)), found


def test_the_order_of_a_statement_is_kept_where_times_become_text(store: Store) -> None:
    _, rows = store.query_user("SELECT range AS n, TIMESTAMPTZ 'epoch' FROM range(5000) ORDER BY (range * 7919) % 5000")
    assert [n for n, _ in rows] == sorted(range(5000), key=lambda n: n * 7919 % 5000)


def test_mistakes_are_usage_errors_in_the_thread_too(store: Store) -> None:
    with pytest.raises(UsageError, match="nothing"):
        store.query_user("SELECT nothing FROM runs")
    with pytest.raises(UsageError, match="is empty"):
        store.query_user(" ; ")


OUTPUT = 'SELECT chr(233) || chr(10003) || chr(155) || chr(8238) AS "n\u00e9", 1 AS x, 2 AS x, 3 AS x_1'


@pytest.mark.slow
@pytest.mark.parametrize("format", ["table", "csv", "json"])
@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_encoding_of_stdout_works(store: Store, format: str, encoding: str) -> None:
    process = start(store, OUTPUT, "--format", format, PYTHONIOENCODING=encoding)
    out, error = process.communicate(timeout=60)
    assert (process.returncode, error) == (0, b"")
    text = out.decode(encoding)
    if format == "json":
        assert json.loads(text) == [{"né": "é\u2713\x9b\u202e", "x": 1, "x_2": 2, "x_1": 3}], "nothing is lost"
    elif format == "csv" and encoding == "utf-8":
        assert text == "né,x,x,x_1\né\u2713\x9b\u202e,1,2,3\n", "a pipe gets it as it is"
    elif format == "table":
        assert "\x9b" not in text and "\u202e" not in text


@pytest.mark.slow
@pytest.mark.parametrize("format", ["table", "csv", "json"])
def test_nothing_steers_a_terminal(store: Store, format: str) -> None:
    import pty

    sql = "SELECT chr(27) || '[2J' || chr(155) || chr(8238) AS \"\x1b[31mred\""
    near, far = pty.openpty()
    command = [sys.executable, "cli.py", "sql", sql, "--run", str(store.path.parent), "--format", format]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=far, stderr=subprocess.PIPE, env=os.environ | {"NO_COLOR": "1"}
    )
    _, error = process.communicate(timeout=60)
    os.close(far)
    shown = os.read(near, 65536).decode()
    os.close(near)
    assert (process.returncode, error) == (0, b"")
    assert not {"\x1b[31m", "\x1b[2J", "\x9b", "\u202e"} & {
        s for s in ("\x1b[31m", "\x1b[2J", "\x9b", "\u202e") if s in shown
    }
    if format == "json":
        assert json.loads(shown) == [{"\x1b[31mred": "\x1b[2J\x9b\u202e"}]


@pytest.mark.slow
def test_nothing_in_an_error_steers_a_terminal(store: Store) -> None:
    process = start(store, 'SELECT "\x1b[31m\u202e" FROM runs')
    out, error = process.communicate(timeout=60)
    assert (process.returncode, out) == (2, b"")
    assert error.startswith(b"error: ") and b"\x1b" not in error and "\u202e" not in error.decode()
