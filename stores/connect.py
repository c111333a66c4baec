"""Opening the database: one connection at a time in this process, and patience with other processes.

DuckDB locks the file against every other process while one has it open for writing (readers included), and in one
process refuses a second connection with other settings. So every use is open, one batch, close; and who comes second
waits.

Starting DuckDB takes 20 ms, attaching a file to a started one 3 ms: one in-memory database a process is kept, and its
file comes and goes.

A database may come from somebody else, and its views, macros and defaults are code. So every connection may touch the
run's own file and nothing else, loads no extension, and its settings are locked.
"""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import AbstractContextManager, ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import TypeVar

import duckdb

from rlaif.types import RlaifError, UsageError
from stores.lock import check_locks

T = TypeVar("T")
READER_PATIENCE = 10.0  # seconds; a writer holds the file for tenths of a second
REPORT_AFTER = 1.0  # seconds; a query that passes by is not worth a line
REPORT_EVERY = 5.0  # seconds
_NAP = 0.03  # seconds
_SETTINGS: dict[str, str | bool | int | float | list[str]] = {
    "python_enable_replacements": False,
    "autoinstall_known_extensions": False,
    "autoload_known_extensions": False,
}
_LOCKED_DOWN = _SETTINGS | {"enable_external_access": False}
_OWN_FILES = ("", ".wal", ".wal.checkpoint", ".wal.recovery")  # what DuckDB opens for a database, by how its name ends
_MAGIC = slice(8, 12), b"DUCK"  # where a DuckDB file says what it is
NAME = "rlaif"  # of the attached file; what DuckDB would call rlaif.duckdb when it is opened directly

# Shared by all stores of the process: DuckDB's own rule on settings is per file, and batches are short.
_one_at_a_time = threading.Lock()
_engine: tuple[str, duckdb.DuckDBPyConnection] | None = None  # the file that it may open, and the connection


@contextmanager
def writing(
    path: Path, on_wait: Callable[[str], None] | None, patience: float | None = None
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A connection that may write. Waits for other processes as long as it takes, and tells `on_wait` after 1 s, then
    every 5 s. With `patience` it waits so many seconds at most, and raises RlaifError then.
    """
    with _opened(path, partial(_attached, path, ""), patience=patience, on_wait=on_wait) as con:
        yield con


@contextmanager
def reading(
    path: Path, on_wait: Callable[[str], None] | None = None, locked_down: bool = False
) -> Iterator[duckdb.DuckDBPyConnection]:
    """A read-only connection; `locked_down`: without files, network and SET. Waits like a writer where `on_wait` is
    told of it; otherwise RlaifError if the file stays held for 10 s."""
    how = partial(_locked_down, path) if locked_down else partial(_attached, path, "READ_ONLY, ")
    with _opened(path, how, patience=None if on_wait else READER_PATIENCE, on_wait=on_wait) as con:
        yield con


def interruptible(con: duckdb.DuckDBPyConnection, work: Callable[[], T], seconds: float | None = None) -> T:
    """What `work`, which uses `con`, returns. TimeoutError when it takes longer than `seconds`.

    In a thread, because Python looks at no signal while DuckDB is at work in the main one: Ctrl-C would have to wait
    for the query.
    """
    with ThreadPoolExecutor(1) as pool:
        task = pool.submit(work)
        try:
            return task.result(None if seconds is None else max(seconds, 0.0))
        finally:
            while not wait([task], 0.05).done:  # asked again, because between two steps nobody hears it
                con.interrupt()


def one_line(error: BaseException) -> str:
    """The message of a DuckDB error without the quoted statement, on one line."""
    return " ".join(re.split(r"\n\s*LINE \d+:", str(error))[0].split())


@contextmanager
def _attached(path: Path, options: str) -> Iterator[duckdb.DuckDBPyConnection]:
    """The process's own database with the file at `path` as its default. After any error it is thrown away, which rolls
    back.
    """
    global _engine
    check_kind(path)
    file = os.path.abspath(path)
    if _engine is None or _engine[0] != file:
        if _engine is not None:
            _engine[1].close()
        _engine = file, _started(file)
    con = _engine[1]
    try:
        con.execute(f"ATTACH {_quoted(file)} AS {NAME} ({options}TYPE duckdb)")
        con.execute(f"USE {NAME}")
        yield con
        con.execute("USE memory")
        con.execute(f"DETACH {NAME}")
    except BaseException as error:
        _engine = None
        con.close()
        if isinstance(error, RuntimeError) and "Query interrupted" in str(error):  # how DuckDB passes Ctrl-C on
            raise KeyboardInterrupt from error
        raise


def _started(file: str) -> duckdb.DuckDBPyConnection:
    """An in-memory database that can open `file` and no other one."""
    con = sandbox()
    con.execute(f"SET allowed_paths = [{', '.join(_quoted(file + end) for end in _OWN_FILES)}]")
    con.execute("SET enable_external_access = false")
    con.execute("SET lock_configuration = true")
    return con


def sandbox() -> duckdb.DuckDBPyConnection:
    """An in-memory database that loads no extension."""
    con = duckdb.connect(":memory:", config=_SETTINGS)
    no_bar(con)
    return con


def no_bar(con: duckdb.DuckDBPyConnection) -> None:
    """No progress bar: DuckDB would draw it on stdout, in the middle of JSON.

    Where it is off it is left alone: in a notebook without ipywidgets DuckDB refuses every change of it.
    """
    if con.execute("SELECT current_setting('enable_progress_bar')").fetchall()[0][0]:
        con.execute("SET enable_progress_bar = false")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def check_kind(path: Path) -> None:
    """UsageError for a file that is there, holds something, and is no DuckDB database: DuckDB would look for an
    extension that reads it.

    Never while a connection of this process holds the file: closing it here would drop that one's lock.
    """
    if not path.exists():
        return
    with path.open("rb") as file:
        start = file.read(16)
    where, magic = _MAGIC
    if start and start[where] != magic:
        raise UsageError(f"{path} cannot be read as a DuckDB database: it is not a valid DuckDB database file")


@contextmanager
def _locked_down(path: Path) -> Iterator[duckdb.DuckDBPyConnection]:
    """A database of its own: what a person's statement leaves in it must not be there for the next one."""
    check_kind(path)
    with duckdb.connect(path, read_only=True, config=_LOCKED_DOWN) as con:
        no_bar(con)
        con.execute("SET lock_configuration = true")
        yield con


@contextmanager
def _opened(
    path: Path,
    how: Callable[[], AbstractContextManager[duckdb.DuckDBPyConnection]],
    *,
    patience: float | None,
    on_wait: Callable[[str], None] | None,
) -> Iterator[duckdb.DuckDBPyConnection]:
    started = time.monotonic()
    next_report = started + REPORT_AFTER
    first = True
    while True:
        with _one_at_a_time, ExitStack() as stack:  # not held while asleep: other threads may use other databases
            try:
                con = stack.enter_context(how())
            except duckdb.Error as error:
                holder = _holder(error)
                if holder is None:
                    raise
                if holder != _OURSELVES and first:
                    check_locks(path.parent)  # DuckDB says the same where nobody can lock anything
                first = False
            else:
                yield con
                return
        now = time.monotonic()
        if holder == _OURSELVES and now - started > READER_PATIENCE:
            raise RlaifError(f"{path} is held open by {holder}: close that connection first")
        if patience is not None and now - started > patience:
            raise RlaifError(f"{path} has been held for {patience:.0f} s by {holder}: try again when it is done")
        if on_wait is not None and now >= next_report:
            on_wait(f"waiting for {path}: held by {holder}")
            next_report = now + REPORT_EVERY
        time.sleep(_NAP)


_OURSELVES = "this very process"


def _holder(error: duckdb.Error) -> str | None:
    """Who holds the file, if that is what the error says."""
    text = str(error)
    if "different configuration" in text or "Unique file handle conflict" in text:
        return _OURSELVES
    if "Could not set lock on file" not in text:
        return None
    found = re.search(r"PID (\d+)", text)
    if found is None:
        return "another process"
    try:
        words = Path(f"/proc/{found[1]}/cmdline").read_bytes().split(b"\0")
    except OSError:  # gone already, another user's, or no /proc here: the number must do
        return f"pid {found[1]}"
    command = " ".join(b" ".join(words).decode("utf-8", "replace").split())
    return f"pid {found[1]} ({command[:120]})"
