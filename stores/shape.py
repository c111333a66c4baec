"""Is a database what rlaif's migrations make? A run may come from somebody else, and a view that was changed would show
its readers something else than the tables hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import duckdb

from rlaif.types import UsageError
from stores import migrations
from stores.connect import NAME, sandbox

# Functions by their full names: a macro in the file could go by the short ones.
_CODE = (
    ("macro", "SELECT function_name FROM system.main.duckdb_functions() WHERE database_name = ? AND NOT internal"),
    ("trigger", "SELECT trigger_name FROM system.main.duckdb_triggers() WHERE database_name = ?"),
)
_TABLES = "SELECT table_name FROM system.main.duckdb_tables() WHERE database_name = ? AND schema_name = 'main'"
_VIEWS = "SELECT view_name, sql FROM system.main.duckdb_views() WHERE database_name = ? AND schema_name = 'main'"
_COLUMNS = (
    "SELECT table_name, column_name, data_type FROM system.main.duckdb_columns() "
    "WHERE database_name = ? AND schema_name = 'main'"
)


def check_shape(con: duckdb.DuckDBPyConnection, where: str) -> None:
    """Compare the attached database with a new one of the same migrations. Tables, columns and views that a person
    added are left alone.

    UsageError, naming the file `where`, for a macro or trigger, for a table that is missing or has other columns, and
    for a view with another text.
    """
    for kind, query in _CODE:
        if found := con.execute(query, [NAME]).fetchall():
            raise UsageError(
                f"{where} holds the {kind} {found[0][0]}, and rlaif makes none: it could change what every query says; "
                f"drop it with DuckDB (DROP {kind.upper()}), or get the run from whom you trust"
            )
    tables = {name for (name,) in con.execute(_TABLES, [NAME]).fetchall()}
    if "migrations" not in tables:
        return  # no database of rlaif, which `migrations.pending` says
    columns, views = set(con.execute(_COLUMNS, [NAME]).fetchall()), dict(con.execute(_VIEWS, [NAME]).fetchall())
    known = {migration.name for migration in migrations.available()}
    # What is newer than this version cannot be compared, and `migrations.pending` refuses it.
    names = tuple(name for name in migrations.applied(con) or () if name in known)
    own_tables, own_columns, own_views = _expected(names)
    problem = next(
        (f"{name} is not the table that rlaif made" for name in sorted(own_tables - tables)),
        next(
            (f"the table {t} has no column {c} of type {kind}" for t, c, kind in sorted(own_columns - columns)),
            next((f"the view {name} is not the one that rlaif made" for name in own_views if name not in views
                  or views[name] != own_views[name]), ""),
        ),
    )  # fmt: skip
    if problem:
        raise UsageError(f"{where} was altered: {problem}; use the file as the run left it")


@cache
def _expected(names: Sequence[str]) -> tuple[frozenset[str], frozenset[tuple[str, str, str]], dict[str, str]]:
    """Tables, columns and texts of views that the migrations `names` make."""
    with sandbox() as con:
        migrations.apply(con, [m for m in migrations.available() if m.name in names])
        tables = frozenset(name for (name,) in con.execute(_TABLES, ["memory"]).fetchall())
        views = dict(con.execute(_VIEWS, ["memory"]).fetchall())
        columns = con.execute(_COLUMNS, ["memory"]).fetchall()
        return tables, frozenset(c for c in columns if c[0] in tables), views
