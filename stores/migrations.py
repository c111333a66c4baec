"""Numbered SQL files, and the table of those already applied. A file that was released is never edited: add the next
one.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files

import duckdb

from rlaif.types import UsageError


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `stores/sql`. Files are applied in the order of their names (0001_..., 0002_...)."""

    name: str
    sql: str


def available() -> list[Migration]:
    """The migrations that come with this version, oldest first."""
    found = [entry for entry in files("stores").joinpath("sql").iterdir() if entry.name.endswith(".sql")]
    return [
        Migration(entry.name.removesuffix(".sql"), entry.read_text(encoding="utf-8"))
        for entry in sorted(found, key=lambda entry: entry.name)
    ]


def applied(con: duckdb.DuckDBPyConnection) -> list[str] | None:
    """Names of the migrations the database has, oldest first; None if it was not made by rlaif."""
    if not con.execute("SELECT 1 FROM duckdb_tables() WHERE table_name = 'migrations'").fetchone():
        return None
    return [name for (name,) in con.execute("SELECT name FROM migrations ORDER BY name").fetchall()]


def pending(con: duckdb.DuckDBPyConnection, known: list[Migration], where: str) -> list[Migration]:
    """What has to be applied to the database `where` to bring it up to `known`.

    Raises UsageError for a database that rlaif did not make, or that a newer rlaif did.
    """
    have = applied(con)
    if have is None:
        raise UsageError(f"{where} is a DuckDB database, but not one of rlaif: it has no table 'migrations'")
    newer = sorted(set(have) - {migration.name for migration in known})
    if newer:
        raise UsageError(
            f"{where} was made by a newer version of rlaif (it has {', '.join(newer)}; this version ends at "
            f"{known[-1].name if known else 'nothing'}): update rlaif"
        )
    return [migration for migration in known if migration.name not in have]


def apply(con: duckdb.DuckDBPyConnection, todo: list[Migration]) -> None:
    """Apply `todo` in one transaction: all of it or nothing."""
    con.execute("BEGIN")
    con.execute(
        "CREATE TABLE IF NOT EXISTS migrations "
        "(name VARCHAR PRIMARY KEY, applied_at TIMESTAMP NOT NULL DEFAULT make_timestamp(epoch_us(now())))"
    )
    for migration in todo:
        con.execute(migration.sql)
        con.execute("INSERT INTO migrations (name) VALUES (?)", [migration.name])
    con.execute("COMMIT")
