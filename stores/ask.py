"""A person's statement on the run's database: read-only, in bounded time, and never in the way of the loop.

DuckDB lets nobody write while somebody reads. So a statement gets the file itself for `HOLD_SECONDS`, which is enough
for most and costs nothing; one that takes longer is begun again on a copy, and the loop goes on meanwhile. A copy at
once would make every question wait for the disk where a database has grown to gigabytes.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import duckdb

from rlaif.types import RlaifError, UsageError
from stores.connect import interruptible, one_line, reading

if TYPE_CHECKING:
    import pyarrow as pa

T = TypeVar("T")
HOLD_SECONDS = 2.0
DEFAULT_LIMIT = 300.0  # seconds
_SPARE_BYTES = 200 * 2**20  # that a copy leaves free
# Python's own types for these need a package that is not here, or end before DuckDB's do.
_AS_TEXT = re.compile("WITH TIME ZONE|INTERVAL")
Answer = tuple[list[str], list[tuple[Any, ...]]]


def as_rows(con: duckdb.DuckDBPyConnection, sql: str) -> Answer:
    """Column names and rows. Values are Python's own; times with a zone and intervals come as text."""
    *before, last = _statements(con, sql)
    for statement in before:
        con.execute(statement).fetchall()
    found = con.execute(last).description or ()
    columns, types = [column[0] for column in found], [str(column[1]) for column in found]
    if last.type == duckdb.StatementType.SELECT and any(map(_AS_TEXT.search, types)):
        names = [f"c{i}" for i in range(len(types))]
        shown = [f"{n}::VARCHAR" if _AS_TEXT.search(kind) else n for n, kind in zip(names, types, strict=True)]
        inner = last.query.strip().rstrip(";")  # a line for itself: it may end in a comment
        con.execute(f"SELECT {', '.join(shown)} FROM ({inner}\n) AS answer({', '.join(names)})")
    try:
        return columns, con.fetchall()
    except (ValueError, TypeError, OverflowError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(f"Python cannot hold a value of the answer ({reason}); cast its column to VARCHAR") from error


def as_arrow(con: duckdb.DuckDBPyConnection, sql: str) -> pa.Table:
    """An Arrow table, which holds values of every kind."""
    *before, last = _statements(con, sql)
    for statement in before:
        con.execute(statement).fetchall()
    if last.type != duckdb.StatementType.SELECT:
        raise UsageError("an Arrow table is made of a SELECT; give one")
    return con.sql(last.query).to_arrow_table()


def ask(
    path: Path,
    sql: str,
    limit: float = DEFAULT_LIMIT,
    fetch: Callable[[duckdb.DuckDBPyConnection, str], T] = as_rows,  # type: ignore[assignment]  # T is then Answer
) -> T:
    """What `fetch` makes of a statement on the database at `path`; `limit` in seconds, 0 for none.

    Raises UsageError, on one line, for every mistake in it; RlaifError when the limit is reached, or there is no room
    for a copy.
    """
    try:
        sql.encode()
    except UnicodeEncodeError as error:
        raise UsageError(f"the SQL statement is not valid Unicode: {error.reason}") from error
    started = time.monotonic()
    with reading(path, locked_down=True) as con:
        answer = _answer(con, sql, fetch, min(limit or HOLD_SECONDS, HOLD_SECONDS))
    if answer is None and not 0 < limit <= HOLD_SECONDS:
        with _copy(path) as copied, reading(copied, locked_down=True) as con:
            answer = _answer(con, sql, fetch, limit - (time.monotonic() - started) if limit else None)
    if answer is None:
        raise RlaifError(f"the statement was stopped after {limit:g} s; narrow it, or give a larger --timeout")
    return answer


def _answer(
    con: duckdb.DuckDBPyConnection,
    sql: str,
    fetch: Callable[[duckdb.DuckDBPyConnection, str], T],
    seconds: float | None,
) -> T | None:
    """None when it takes longer than `seconds`."""
    try:
        return interruptible(con, partial(fetch, con, sql), seconds)
    except TimeoutError:
        return None
    except duckdb.Error as error:
        raise UsageError(_words(error)) from error


def _statements(con: duckdb.DuckDBPyConnection, sql: str) -> list[duckdb.Statement]:
    statements = con.extract_statements(sql)
    if not statements:
        raise UsageError("the SQL statement is empty")
    return statements


def _words(error: duckdb.Error) -> str:
    message = one_line(error)
    if "read-only" in message:
        return f"the database is opened read-only, so this statement cannot run: {message}"
    if isinstance(error, duckdb.PermissionException):
        return f"only the run's own tables can be used here: {message}"
    return message


@contextmanager
def _copy(path: Path) -> Iterator[Path]:
    """The database as it is now, in a folder of its own that goes away afterwards. Writers wait while it is copied."""
    with tempfile.TemporaryDirectory(prefix="rlaif-sql-") as folder:
        copied = Path(folder) / path.name
        free, size = shutil.disk_usage(folder).free, path.stat().st_size
        if free < size + _SPARE_BYTES:
            raise RlaifError(
                f"the statement takes longer than {HOLD_SECONDS:g} s, and {tempfile.gettempdir()} has no room for a "
                f"copy of the database to run it on ({size >> 20} MB): free some space, or set TMPDIR"
            )
        with reading(path, locked_down=True):
            log = f"{path}.wal"  # first: closing the database's own file drops the lock that keeps writers out
            if os.path.exists(log):
                shutil.copyfile(log, f"{copied}.wal")
            shutil.copyfile(path, copied)
        yield copied
