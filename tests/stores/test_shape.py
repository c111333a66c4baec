"""A database from somebody else: what it may not hold, and what it cannot reach."""

import signal
import time
from pathlib import Path

import duckdb
import pytest

from rlaif.types import RlaifError, UsageError
from stores import connect
from stores.connect import reading, writing
from stores.store import Store

CHANGES = {
    "a view that reads a file": (
        "CREATE OR REPLACE VIEW preference_pairs AS SELECT content AS chosen FROM read_text('{secret}')",
        "the view preference_pairs is not the one that rlaif made",
    ),
    "a view that hides rows": (
        "CREATE OR REPLACE VIEW answers AS SELECT candidate_id, question_id, text, policy_id, prompt_sha256, n_tokens "
        "FROM candidates WHERE round > 1",
        "the view answers is not the one",
    ),
    "a view in place of a table": (
        "DROP TABLE sealed_tests; CREATE VIEW sealed_tests AS SELECT 's' AS session_id, 1 AS round WHERE false",
        "sealed_tests is not the table that rlaif made",
    ),
    "a view that is gone": ("DROP VIEW leaderboard", "the view leaderboard is not the one"),
    "another type": ("ALTER TABLE monitors ALTER red TYPE VARCHAR", "monitors has no column red of type BOOLEAN"),
    "a macro by the name of a function": (
        "CREATE MACRO starts_with(a, b) AS true",
        "holds the macro starts_with, and rlaif makes none",
    ),
    "a macro that hides macros": (
        "CREATE MACRO duckdb_functions() AS TABLE SELECT 'x' AS function_name WHERE false",
        "holds the macro duckdb_functions",
    ),
}


@pytest.mark.parametrize("case", CHANGES)
def test_a_database_that_was_altered_is_refused(store: Store, tmp_path: Path, case: str) -> None:
    (tmp_path / "secret").write_text("S3CRET")
    change, message = CHANGES[case]
    with duckdb.connect(store.path) as con:
        con.execute(change.format(secret=tmp_path / "secret"))
    with pytest.raises(UsageError, match=message) as caught:
        Store.open(tmp_path)
    assert "\n" not in str(caught.value) and "S3CRET" not in str(caught.value)


def test_tables_views_and_columns_of_ones_own_are_left_alone(store: Store, tmp_path: Path) -> None:
    with duckdb.connect(store.path) as con:
        con.execute(
            "CREATE TABLE notes (x INTEGER); CREATE VIEW mine AS FROM notes; ALTER TABLE rounds ADD COLUMN y INT"
        )
    assert Store.open(tmp_path).query("SELECT count(*) AS n FROM mine") == [{"n": 0}]


# What a connection of the program can do, with no check at the door ---------------------------------------------------


REACHES = {
    "text": "SELECT * FROM read_text('{there}/secret')",
    "csv": "SELECT * FROM read_csv('{there}/secret')",
    "by name": "SELECT * FROM '{there}/secret.csv'",
    "glob": "SELECT * FROM glob('{there}/*')",
    "copy": "COPY runs TO '{there}/out.csv'",
    "copy parquet": "COPY runs TO '{there}/out.parquet' (FORMAT parquet)",
    "attach": "ATTACH '{there}/other.duckdb' AS other",
    "export": "EXPORT DATABASE '{there}/out'",
    "install": "INSTALL httpfs",
    "load": "LOAD httpfs",
    "network": "SELECT * FROM read_text('http://127.0.0.1:9/x')",
    "settings": "SET enable_external_access = true",
    "paths": "SET allowed_directories = ['/']",
    "autoload": "SET autoload_known_extensions = true",
}


@pytest.mark.parametrize("case", REACHES)
@pytest.mark.parametrize("door", ["read", "write"])
def test_no_connection_reaches_beyond_its_file(store: Store, tmp_path: Path, case: str, door: str) -> None:
    there = tmp_path / "there"
    there.mkdir()
    for name in ("secret", "secret.csv"):
        (there / name).write_text("S3CRET\n")
    opened = reading(store.path) if door == "read" else writing(store.path, None)
    with pytest.raises(duckdb.Error) as caught, opened as con:
        con.execute(REACHES[case].format(there=there)).fetchall()
    assert "S3CRET" not in str(caught.value)
    assert sorted(p.name for p in there.iterdir()) == ["secret", "secret.csv"]
    assert store.query("SELECT seed FROM runs") == [{"seed": 7}], "and the next one works"


def test_a_view_that_reads_a_file_reads_none(store: Store, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("S3CRET")
    with duckdb.connect(store.path) as con:
        con.execute(f"CREATE VIEW leak AS SELECT content FROM read_text('{tmp_path / 'secret'}')")
    with pytest.raises(RlaifError, match="disabled by configuration"):
        store.query("SELECT * FROM leak")
    with pytest.raises(UsageError, match="disabled by configuration"):
        store.query_user("SELECT * FROM leak")


@pytest.mark.parametrize("start", [b"SQLite format 3\0", b"PAR1", b"{}", b"x"], ids=repr)
def test_a_file_of_another_kind_starts_no_download(
    tmp_path: Path, start: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path / "home"))  # where DuckDB would put an extension
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "rlaif.duckdb").write_bytes(start + bytes(8192))
    with pytest.raises(UsageError, match="not a valid DuckDB database file"):
        Store.open(tmp_path / "run")
    with pytest.raises(UsageError, match="not a valid DuckDB database file"):
        Store(tmp_path / "run" / "rlaif.duckdb").query_user("SELECT 1")
    assert not (tmp_path / "home").exists()


def test_two_runs_in_one_process_have_each_their_own_file(store: Store, tmp_path: Path) -> None:
    other = Store.create(tmp_path / "it's another", {"run_id": "r2", "profile": "p", "config": {}, "config_hash": "c",
                                                     "seed": 8})  # fmt: skip
    for _ in range(2):
        assert [s.query("SELECT seed FROM runs")[0]["seed"] for s in (store, other)] == [7, 8]
    with pytest.raises(RlaifError, match="disabled by configuration"):
        store.query(f"SELECT * FROM read_blob('{str(other.path).replace(chr(39), chr(39) * 2)}')")


def test_a_log_that_a_killed_writer_left_is_replayed(store: Store, other_process) -> None:
    code = """
import os, sys, duckdb
con = duckdb.connect(sys.argv[1])
con.execute("SET checkpoint_threshold = '1GB'")
con.execute("INSERT INTO rounds (round) VALUES (1)")
print("ready", flush=True)
os._exit(0)
"""
    with other_process(code, store.path) as process:
        process.wait()
    assert store.path.with_name("rlaif.duckdb.wal").stat().st_size
    store.write({"rounds": [{"round": 2}]})
    assert store.query("SELECT round FROM rounds ORDER BY round") == [{"round": 1}, {"round": 2}]
    with writing(store.path, None) as con:
        con.execute("CHECKPOINT")
    assert not store.path.with_name("rlaif.duckdb.wal").exists()


def test_ctrl_c_in_a_query_of_the_program_is_ctrl_c(store: Store, other_process) -> None:
    code = """
import sys
from pathlib import Path
from stores.store import Store
store = Store(Path(sys.argv[1]))
print("ready", flush=True)
try:
    store.query("SELECT count(*) FROM range(1000000000000)")
except KeyboardInterrupt:
    print("stopped", store.query("SELECT seed FROM runs"))
"""
    with other_process(code, store.path) as process:
        time.sleep(0.3)
        process.send_signal(signal.SIGINT)
        assert process.stdout is not None and process.stdout.read() == "stopped [{'seed': 7}]\n"
    passed_on = RuntimeError("Query interrupted")  # in these words DuckDB passes it on
    with pytest.raises(KeyboardInterrupt), reading(store.path):
        raise passed_on
    assert connect._engine is None
