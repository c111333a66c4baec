import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from types import SimpleNamespace

import duckdb
import pytest

from rlaif.types import RlaifError
from stores import connect
from stores.store import Store

HOLD = """
import sys, time, duckdb
con = duckdb.connect(sys.argv[1], read_only=sys.argv[3] == "reading")
print("ready", flush=True)
time.sleep(float(sys.argv[2]))
"""


@pytest.mark.parametrize("how", ["writing", "reading"])
def test_a_writer_waits_for_another_process_and_says_who_it_is(store, other_process, monkeypatch, how):
    monkeypatch.setattr(connect, "REPORT_AFTER", 0.05)
    monkeypatch.setattr(connect, "REPORT_EVERY", 0.15)
    messages = []
    store.on_wait = messages.append
    with other_process(HOLD, store.path, 0.5, how) as process:
        store.write({"rounds": [{"round": 1}]})
    assert len(messages) >= 2  # soon, and again
    assert f"pid {process.pid} (" in messages[0] and "import sys, time, duckdb" in messages[0]
    assert str(store.path) in messages[0]
    assert store.query("SELECT round FROM rounds") == [{"round": 1}]


def test_readers_wait_for_another_process_too(store, other_process, tmp_path):
    with other_process(HOLD, store.path, 0.4, "writing"):
        assert Store.open(tmp_path).query("SELECT seed FROM runs") == [{"seed": 7}]


def test_a_person_who_asks_waits_too(store, other_process):
    with other_process(HOLD, store.path, 0.4, "writing"):
        assert store.query_user("SELECT seed FROM runs") == (["seed"], [(7,)])


def test_a_reader_gives_up_and_names_the_holder(store, other_process, monkeypatch):
    monkeypatch.setattr(connect, "READER_PATIENCE", 0.1)
    with (
        other_process(HOLD, store.path, 30, "writing") as process,
        pytest.raises(RlaifError, match=f"pid {process.pid}"),
    ):
        store.query("SELECT 1")


def test_readers_do_not_hinder_each_other(store, other_process):
    with other_process(HOLD, store.path, 30, "reading"):
        assert store.query("SELECT seed FROM runs") == [{"seed": 7}]


def test_threads_of_one_process_do_not_clash(store):
    writes = [lambda i=i: store.write({"rounds": [{"round": i}]}) for i in range(4)]
    reads = [lambda: store.query("SELECT count(*) FROM rounds")] * 4
    typed = [lambda: store.query_user("SELECT count(*) FROM rounds")] * 4
    with ThreadPoolExecutor(3) as pool:
        for done in [pool.submit(call) for calls in zip(writes, reads, typed, strict=True) for call in calls]:
            done.result()
    assert store.query("SELECT count(*) AS n FROM rounds") == [{"n": 4}]


def test_a_connection_that_this_process_left_open_is_named_instead_of_waited_for(store, monkeypatch):
    monkeypatch.setattr(connect, "READER_PATIENCE", 0.1)
    con = duckdb.connect(store.path, read_only=True)
    try:
        with pytest.raises(RlaifError, match="this very process"):
            store.write({"rounds": [{"round": 1}]})
    finally:
        con.close()


def test_times_are_utc_wherever_the_machine_stands(store, monkeypatch):
    monkeypatch.setenv("TZ", "Pacific/Auckland")
    time.tzset()
    try:
        store.write({"prompts": [{"prompt_sha256": "s", "kind": "judge", "name": "n", "text": "t"}],
                     "policies": [{"policy_id": "p", "kind": "base", "round": 0}]})  # fmt: skip
        (row,) = store.query("SELECT created_at FROM policies")
    finally:
        monkeypatch.undo()
        time.tzset()
    assert abs((row["created_at"] - datetime.now(UTC).replace(tzinfo=None)).total_seconds()) < 60


def test_one_line_drops_the_quoted_statement():
    assert connect.one_line(ValueError("Parser Error: bad\nword\n\nLINE 1: SELECT\n  ^")) == "Parser Error: bad word"


@pytest.mark.parametrize("on", [True, False])
def test_the_progress_bar_is_touched_only_where_it_is_on(on):
    asked = []

    def execute(sql):  # in a notebook without ipywidgets the bar is off, and DuckDB refuses to set it
        asked.append(sql)
        return SimpleNamespace(fetchall=lambda: [(on,)])

    connect.no_bar(SimpleNamespace(execute=execute))
    assert asked[1:] == (["SET enable_progress_bar = false"] if on else [])
