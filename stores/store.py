"""The store of a run: everything the loop knows, in one DuckDB file that people can query while it runs.

store = Store.create(folder, {"run_id": ..., "profile": ..., "config": {...}, "config_hash": ..., "seed": 0})
store = Store.open(folder)
store.write({"candidates": candidates, "stages": [row]}, replace=["stages"])
rows = store.query("SELECT * FROM round_summary WHERE round = ?", [1])
"""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rlaif.logs import LOG
from rlaif.types import RlaifError, UsageError
from stores import migrations
from stores.ask import DEFAULT_LIMIT, Answer, as_arrow, ask
from stores.connect import interruptible, one_line, reading, writing
from stores.shape import check_shape

if TYPE_CHECKING:
    import pyarrow as pa


DATABASE = "rlaif.duckdb"
Row = Mapping[str, Any] | Any  # a mapping or a dataclass instance


class Store:
    """One run's database. Holds no connection: every call opens the file, does one thing and closes it.

    `on_wait`, if set, is called with a line saying who holds the file, after 1 s and then every 5 s, while a read or a
    write waits. Safe to share between threads.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.on_wait: Callable[[str], None] | None = None
        self.read_only = False

    @classmethod
    def create(cls, folder: Path, run_row: Mapping[str, Any]) -> Store:
        """Make `folder`/rlaif.duckdb with its whole schema and the one row of `runs`. Hold `run_lock` while you do.

        It is built under another name and renamed, so a run killed here leaves no half database. Raises UsageError if
        the folder holds a run already, RlaifError if the folder cannot be written.
        """
        path = folder / DATABASE
        if path.exists():
            raise UsageError(f"{folder} holds a run already: open it, or choose another folder")
        # Not "rlaif.duckdb.tmp": that is DuckDB's name for the folder it spills to.
        draft = cls(folder / f"{DATABASE}.new")
        with _plain_errors(draft.path):
            folder.mkdir(parents=True, exist_ok=True)
            draft._remove()
            try:
                with writing(draft.path, None) as con:
                    migrations.apply(con, migrations.available())
                    with _transaction(con):
                        _insert_all(con, {"runs": [run_row]}, ())
                    # Closing would do it too, but keep silent if the disk is full, and the log does not move with the
                    # file.
                    con.execute("CHECKPOINT")
                os.replace(draft.path, path)
            except BaseException:
                draft._remove()
                raise
        return cls(path)

    @classmethod
    def open(cls, folder: Path, on_wait: Callable[[str], None] | None = None, *, read_only: bool = False) -> Store:
        """The store of the run in `folder`, brought up to this version's schema if it is older.

        With `read_only` nothing is changed: an older schema is a UsageError, and so is every later write.

        Raises UsageError if there is no run, if the file is no database of rlaif or was altered, or if a newer rlaif
        made it;
        RlaifError if another process holds it for 10 s (with `on_wait`, it waits).
        """
        store = cls(folder / DATABASE)
        store.on_wait = on_wait
        store.read_only = read_only
        if not store.path.is_file():
            raise UsageError(
                f"{folder} is not a run folder: no {DATABASE} in it (start one with the command loop, or give --run)"
            )
        try:
            with reading(store.path, on_wait) as con:
                check_shape(con, str(store.path))
                todo = migrations.pending(con, migrations.available(), str(store.path))
        except duckdb.Error as error:
            raise UsageError(f"{store.path} cannot be read as a DuckDB database: {one_line(error)}") from error
        if todo:
            if read_only:
                raise UsageError(
                    f"{store.path} was made by an older version of rlaif, and was opened for reading; "
                    "rlaif.open(folder, write=True) brings it up to date"
                )
            with _plain_errors(store.path), writing(store.path, on_wait) as con:
                # Asked again, because another process may have done it in between.
                migrations.apply(con, migrations.pending(con, migrations.available(), str(store.path)))
        return store

    def write(self, rows: Mapping[str, Sequence[Row]], *, replace: Collection[str] = ()) -> None:
        """Insert the rows of all tables, in the given order, in one transaction: all of them or none.

        A row whose primary key is there already is left alone; in the tables named in `replace` it takes the new row's
        values (columns that the new row does not name keep theirs, but `created_at` becomes now). A key may stand only
        once in one call. Rows of `decisions` without `seq` get the next numbers, so write them together with what they
        decide. See `stores.rows.to_arrow` for how values are converted.

        Raises RlaifError for an unknown table or column, a value that does not fit, a broken CHECK, or a file that
        cannot be written; the database is then as it was.
        """
        unused = set(replace) - set(rows)
        if unused:
            raise RlaifError(f"replace names a table without rows: {', '.join(sorted(unused))}")
        self._check_writable()
        with _plain_errors(self.path), writing(self.path, self.on_wait) as con, _transaction(con):
            _insert_all(con, rows, replace)
        LOG.debug("%s: wrote %s", self.path, ", ".join(f"{len(batch)} {table}" for table, batch in rows.items()))

    def execute(self, statements: Sequence[tuple[str, Sequence[Any]]]) -> list[int]:
        """Run UPDATE, DELETE or INSERT statements in one transaction; returns how many rows each of them touched.

        Raises RlaifError, and changes nothing, if one of them fails.
        """
        self._check_writable()
        with _plain_errors(self.path), writing(self.path, self.on_wait) as con, _transaction(con):
            return [con.execute(sql, list(params)).fetchall()[0][0] for sql, params in statements]

    def query(self, sql: str, params: Sequence[Any] = ()) -> list[dict[str, Any]]:
        """The rows of a SELECT. JSON columns come as text, lists as lists, times as naive UTC datetimes."""
        with _plain_errors(self.path), reading(self.path, self.on_wait) as con:
            return interruptible(con, partial(_rows, con, sql, params))

    def query_user(self, sql: str, limit: float = DEFAULT_LIMIT) -> Answer:
        """Column names and rows of a statement that a person typed. No writing, no files, no network, no settings. See
        :func:`stores.ask.ask`.
        """
        return ask(self.path, sql, limit)

    def arrow(self, sql: str, limit: float = DEFAULT_LIMIT) -> pa.Table:
        """The same as an Arrow table."""
        return ask(self.path, sql, limit, as_arrow)

    def _check_writable(self) -> None:
        if self.read_only:
            raise UsageError(f"{self.path} was opened for reading; rlaif.open(folder, write=True) lets you change it")

    def _remove(self) -> None:
        for path in (self.path, self.path.with_name(f"{self.path.name}.wal")):
            path.unlink(missing_ok=True)


def _rows(con: duckdb.DuckDBPyConnection, sql: str, params: Sequence[Any]) -> list[dict[str, Any]]:
    result = con.execute(sql, list(params))
    names = [column[0] for column in result.description or ()]
    return [dict(zip(names, row, strict=True)) for row in result.fetchall()]


@contextmanager
def _transaction(con: duckdb.DuckDBPyConnection) -> Iterator[None]:
    """COMMIT at the end. On an error the connection is closed by its owner, and that rolls back."""
    con.execute("BEGIN")
    yield
    con.execute("COMMIT")


@contextmanager
def _plain_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except duckdb.Error as error:
        raise RlaifError(f"{path}: {one_line(error)}") from error
    except OSError as error:
        raise RlaifError(f"{error.filename or path}: {error.strerror}") from error


def _column_types(con: duckdb.DuckDBPyConnection, table: str) -> dict[str, str]:
    types = con.execute(
        "SELECT column_name, data_type FROM duckdb_columns() WHERE table_name = ? ORDER BY column_index", [table]
    ).fetchall()
    if not types:
        raise RlaifError(f"the store has no table {table!r}")
    return dict(types)


def _insert_all(con: duckdb.DuckDBPyConnection, rows: Mapping[str, Sequence[Row]], replace: Collection[str]) -> None:
    from stores.rows import to_arrow  # here, because reading needs no Arrow, and its import takes as long as a query

    for table, members in rows.items():
        types = _column_types(con, table)
        for batch in to_arrow(table, types, members):
            _insert(con, table, types, batch, table in replace)


def _insert(
    con: duckdb.DuckDBPyConnection, table: str, types: Mapping[str, str], batch: pa.Table, replace: bool
) -> None:
    """One batch of rows with the same columns."""
    import pyarrow as pa

    if replace and "created_at" in types and "created_at" not in batch.column_names:
        now = datetime.now(UTC).replace(tzinfo=None)
        batch = batch.append_column("created_at", pa.array([now] * len(batch), type=pa.timestamp("us")))
    if table == "decisions" and "seq" not in batch.column_names:
        (last,) = con.execute("SELECT coalesce(max(seq), 0) FROM decisions").fetchall()[0]
        batch = batch.append_column("seq", pa.array(range(last + 1, last + 1 + len(batch)), type=pa.int64()))
    names = ", ".join(f'"{name}"' for name in batch.column_names)
    con.register("_batch", batch)
    if replace:
        con.execute(f'INSERT OR REPLACE INTO "{table}" ({names}) SELECT {names} FROM _batch')
    else:
        con.execute(f'INSERT INTO "{table}" ({names}) SELECT {names} FROM _batch ON CONFLICT DO NOTHING')
    con.unregister("_batch")  # not after an error: in an aborted transaction this fails too, and would hide the cause
