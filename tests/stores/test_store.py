import json
import signal
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import duckdb
import pytest

from rlaif.types import Candidate, Decision, JudgeIdentity, Question, RlaifError, UsageError, Verdict
from stores.store import Store


def test_create_leaves_one_complete_file_with_the_run_in_it(tmp_path):
    row = {"run_id": "r1", "profile": "p", "config": {"seed": 7}, "config_hash": "c", "seed": 7}
    store = Store.create(tmp_path, row)
    assert [path.name for path in tmp_path.iterdir()] == ["rlaif.duckdb"]
    (row,) = store.query("SELECT * FROM runs")
    assert (row["run_id"], row["seed"], json.loads(row["config"])) == ("r1", 7, {"seed": 7})
    assert abs(row["created_at"] - datetime.now(UTC).replace(tzinfo=None)) < timedelta(minutes=1)


def test_create_refuses_a_folder_that_holds_a_run(store, tmp_path):
    with pytest.raises(UsageError, match="holds a run already"):
        Store.create(tmp_path, {"run_id": "r2"})


def test_a_create_that_fails_leaves_nothing_and_one_that_was_killed_is_no_obstacle(tmp_path):
    (tmp_path / "rlaif.duckdb.new").write_text("half a database")
    with pytest.raises(RlaifError, match="no column 'colour'"):
        Store.create(tmp_path, {"run_id": "r", "colour": "red"})
    assert list(tmp_path.iterdir()) == []


def test_create_where_no_folder_can_be_made_is_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(RlaifError, match="Not a directory|File exists") as caught:
        Store.create(tmp_path / "file" / "run", {"run_id": "r"})
    assert "\n" not in str(caught.value)


def test_open_refuses_what_is_no_run(tmp_path):
    with pytest.raises(UsageError, match=r"is not a run folder: no rlaif\.duckdb"):
        Store.open(tmp_path)
    (tmp_path / "rlaif.duckdb").write_text("hello " * 1000)
    with pytest.raises(UsageError, match="not a valid DuckDB database"):
        Store.open(tmp_path)
    (tmp_path / "rlaif.duckdb").unlink()
    duckdb.connect(tmp_path / "rlaif.duckdb").close()
    with pytest.raises(UsageError, match="not one of rlaif"):
        Store.open(tmp_path)


def test_what_is_opened_for_reading_is_not_changed(store, rows):
    reader = Store.open(store.path.parent, read_only=True)
    before = store.path.read_bytes()
    with pytest.raises(UsageError, match="opened for reading"):
        reader.write({"verdicts": [rows.verdict("a")]})
    with pytest.raises(UsageError, match="opened for reading"):
        reader.execute([("DELETE FROM runs", [])])
    assert store.path.read_bytes() == before
    store.write({"verdicts": [rows.verdict("a")]})
    assert reader.query("SELECT count(*) AS n FROM verdicts") == [{"n": 1}], "it reads what others write"


def test_dataclasses_go_in_whole_and_come_out_the_same(store):
    candidate = Candidate("c", 1, "q", "p", "s", 0, 2, 3, "text", 4, "stop", -1.5, {"k": [1, 2.5], "stop": None})
    identity = JudgeIdentity("m", "w", "n", "h", {"t": 0})
    question = Question("q", "d", "train", "s", "g", "Why?", key_points=("one", "two"))
    store.write({"candidates": [candidate], "judges": [identity], "questions": [question],
                 "verdicts": [Verdict("c", "j", 0, "scored", 0.5)]})  # fmt: skip
    (row,) = store.query("SELECT * FROM candidates")
    assert json.loads(row.pop("sampling")) == {"k": [1, 2.5], "stop": None}
    assert row == {name: getattr(candidate, name) for name in row}
    assert store.query("SELECT judge_id FROM judges") == [{"judge_id": identity.judge_id}]
    assert store.query("SELECT key_points, flags FROM questions") == [{"key_points": ["one", "two"], "flags": []}]
    assert store.query("SELECT completeness, created_at IS NOT NULL AS dated FROM verdicts") == [
        {"completeness": None, "dated": True}
    ]


def test_a_second_insert_changes_nothing_and_replace_does(store, rows):
    store.write({"verdicts": [rows.verdict("a", status="failed", reason="timeout"), rows.verdict("b", score=0.2)]})
    before = store.query("SELECT * FROM verdicts ORDER BY candidate_id")
    store.write({"verdicts": [rows.verdict("a", score=0.9), rows.verdict("b", score=0.9)]})
    assert store.query("SELECT * FROM verdicts ORDER BY candidate_id") == before
    store.write({"verdicts": [rows.verdict("a", score=0.9, reason="")]}, replace=["verdicts"])
    after = store.query("SELECT * FROM verdicts ORDER BY candidate_id")
    assert [(row["status"], row["score"], row["reason"]) for row in after] == [("scored", 0.9, ""), ("scored", 0.2, "")]
    assert after[0]["created_at"] > before[0]["created_at"]


def test_replace_keeps_columns_the_new_row_does_not_name(store):
    started = datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=2)))
    store.write({"stages": [{"round": 1, "stage": "judge", "status": "running", "started_at": started}]})
    store.write({"stages": [{"round": 1, "stage": "judge", "status": "done", "seconds": 2}]}, replace=["stages"])
    assert store.query("SELECT status, started_at, seconds FROM stages") == [
        {"status": "done", "started_at": datetime(2025, 12, 31, 22), "seconds": 2.0}  # UTC
    ]


def test_one_write_is_all_or_nothing(store, rows):
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"candidates": [rows.candidate("c")], "verdicts": [rows.verdict("c", score=7.0)]})
    assert store.query("SELECT * FROM candidates") == []


@pytest.mark.parametrize(
    ("table", "row", "message"),
    [
        ("rounds", {"round": 1, "winner": "x"}, "table rounds has no column 'winner'; it has round, champion_in"),
        ("rouns", {"round": 1}, "no table 'rouns'"),
        ("rounds", {"round": "one"}, "table rounds, column round"),
        ("rounds", {"round": 2**40}, "table rounds, column round"),
        ("questions", {"key_points": "one, two"}, "table questions, column key_points .* list of texts"),
        ("candidates", {"sampling": "{broken"}, "table candidates, column sampling"),
        ("rounds", 3, "mapping or a dataclass"),
    ],
)
def test_wrong_rows_are_named(store, table, row, message):
    with pytest.raises(RlaifError, match=message):
        store.write({table: [row]})


def test_replace_must_name_a_table_that_is_written(store):
    with pytest.raises(RlaifError, match="verdict"):
        store.write({"verdicts": []}, replace=["verdict"])


def test_whatever_a_model_writes_can_be_stored(store, rows):
    nasty = "nul \x00, lone \ud800 and \udc00, pair \ud83d\ude00, \u202e, '; DROP TABLE verdicts; --"
    cleaned = "nul \x00, lone \ufffd and \ufffd, pair 😀, \u202e, '; DROP TABLE verdicts; --"
    evidence = {"text": nasty, "\ud800": float("nan"), "path": Path("x")}
    store.write({
        "verdicts": [rows.verdict("c", raw=nasty, flags=[nasty])],
        "candidates": [rows.candidate("c") | {"sampling": json.dumps({"stop": nasty})}],
        "decisions": [Decision(1, "k", "a", nasty, evidence)],
    })  # fmt: skip
    assert store.query("SELECT raw, flags FROM verdicts") == [{"raw": cleaned, "flags": [cleaned]}]
    assert json.loads(store.query("SELECT sampling FROM candidates")[0]["sampling"]) == {"stop": cleaned}
    (decision,) = store.query("SELECT reason, evidence FROM decisions")
    assert decision["reason"] == cleaned
    assert json.loads(decision["evidence"]) == {"text": cleaned, "\ufffd": None, "path": "x"}


def test_decisions_are_numbered_in_order(store):
    store.write({"decisions": [Decision(1, "gate", "REJECT", "worse"), Decision(1, "monitor", "continue", "green")]})
    store.write({"decisions": [Decision(1, "gate", "REJECT", "worse")]})
    assert [row["action"] for row in store.query("SELECT action, seq FROM decisions ORDER BY seq")] == [
        "REJECT", "continue", "REJECT",
    ]  # fmt: skip
    assert store.query("SELECT max(seq) AS last FROM decisions") == [{"last": 3}]


def test_execute_is_one_transaction_and_counts_rows(store, rows):
    store.write({"preferences": [rows.preference("x", "a", "b"), rows.preference("y", "c", "d")]})
    drop = "UPDATE preferences SET status = 'dropped', reason = ? WHERE pair_id = ?"
    with pytest.raises(RlaifError, match="CHECK"):
        store.execute([(drop, ["wrong dose", "x"]), (drop, ["", "y"])])
    assert store.query("SELECT count(*) AS n FROM preference_pairs") == [{"n": 2}]
    assert store.execute([(drop, ["wrong dose", "x"]), (drop, ["wrong dose", "nobody"])]) == [1, 0]
    assert [row["pair_id"] for row in store.query("SELECT * FROM preference_pairs")] == ["y"]


def test_a_disk_that_is_full_is_one_line_and_changes_nothing(store, rows, tmp_path, other_process):
    # A limit on the size of files is as near as a test can come: writes fail in the middle just the same.
    code = """
import resource, signal, sys
from pathlib import Path
from rlaif.types import RlaifError
from stores.store import Store
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
store = Store.open(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (2**20, 2**20))
try:
    row = {"kind": "judge", "name": "n"}
    store.write({"prompts": [row | {"prompt_sha256": str(i), "text": str(i) * 9999} for i in range(200)]})
except RlaifError as error:
    print("ready")
    print(error)
"""
    with other_process(code, tmp_path) as process:
        message = process.stdout.read().strip()
    assert "rlaif.duckdb" in message and "\n" not in message
    assert store.query("SELECT count(*) AS n FROM prompts") == [{"n": 0}]
    store.write({"verdicts": [rows.verdict("c")]})
    assert store.query("SELECT count(*) AS n FROM verdicts") == [{"n": 1}]


def test_a_writer_killed_between_batches_loses_only_the_open_one(store, rows, tmp_path, other_process):
    code = """
import sys, time, duckdb
con = duckdb.connect(sys.argv[1])
con.execute("INSERT INTO rounds (round) VALUES (1)")
con.execute("BEGIN")
con.execute("INSERT INTO rounds (round) VALUES (2)")
print("ready", flush=True)
time.sleep(60)
"""
    with other_process(code, store.path) as process:
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert store.query("SELECT round FROM rounds") == [{"round": 1}]
    store.write({"rounds": [{"round": 3}]})
    assert store.query("SELECT round FROM rounds ORDER BY round") == [{"round": 1}, {"round": 3}]


def test_query_user_returns_columns_and_rows(store):
    assert store.query_user("SELECT 1 AS a, 'x' AS a UNION ALL SELECT 2, 'y' ORDER BY 1") == (
        ["a", "a"],
        [(1, "x"), (2, "y")],
    )


@pytest.mark.parametrize(
    ("sql", "message"),
    [
        ("INSERT INTO rounds (round) VALUES (1)", "opened read-only"),
        ("UPDATE runs SET seed = 1", "opened read-only"),
        ("DROP VIEW leaderboard", "opened read-only"),
        ("SELECT 1; DELETE FROM runs", "opened read-only"),
        ("COPY runs TO '{folder}/out.csv'", "disabled by configuration"),
        ("EXPORT DATABASE '{folder}/out'", "disabled by configuration"),
        ("ATTACH '{folder}/other.duckdb' AS o", "disabled by configuration"),
        ("SELECT * FROM read_csv('{folder}/in.csv')", "disabled by configuration"),
        ("SELECT * FROM read_text('/etc/hostname')", "disabled by configuration"),
        ("SELECT * FROM '{folder}/in.csv'", "only the run's own tables"),
        ("SELECT * FROM message", "does not exist"),  # a Python variable of some caller
        ("INSTALL httpfs", "disabled by configuration"),
        ("SET enable_external_access = true", "locked"),
        ("SELECT nothing FROM runs", "nothing"),
        ("SELEKT 1", "syntax error"),
        (" -- just a comment", "empty"),
        ("SELECT '\ud800'", "surrogates"),
    ],
)
def test_query_user_refuses_all_but_reading(store, tmp_path, sql, message):
    (tmp_path / "in.csv").write_text("a,b\n1,2\n")
    with pytest.raises(UsageError, match=message) as caught:
        store.query_user(sql.replace("{folder}", str(tmp_path)))
    assert "\n" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "rlaif.duckdb"]
    assert store.query("SELECT seed FROM runs") == [{"seed": 7}]
