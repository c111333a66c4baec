import duckdb
import pytest

from rlaif.types import RlaifError, UsageError
from stores import migrations
from stores.migrations import Migration
from stores.store import Store

FIRST = Migration(
    "0001_first", "CREATE TABLE runs (run_id VARCHAR PRIMARY KEY); CREATE VIEW ids AS SELECT run_id FROM runs"
)
SECOND = Migration(
    "0002_second", "ALTER TABLE runs ADD COLUMN note VARCHAR DEFAULT 'none'; CREATE TABLE extra (a INTEGER)"
)
BROKEN = Migration("0003_broken", "CREATE TABLE extra2 (a INTEGER); CREATE TABLE extra (a INTEGER)")


@pytest.fixture
def version(monkeypatch):
    return lambda *known: monkeypatch.setattr(migrations, "available", lambda: list(known))


def test_the_shipped_files_are_numbered_without_gaps():
    numbers = [int(migration.name.split("_")[0]) for migration in migrations.available()]
    assert numbers == list(range(1, len(numbers) + 1)) and numbers


def test_an_older_database_is_migrated_and_keeps_its_rows(tmp_path, version):
    version(FIRST)
    Store.create(tmp_path, {"run_id": "old"})
    version(FIRST, SECOND)
    store = Store.open(tmp_path)
    assert store.query("SELECT * FROM runs") == [{"run_id": "old", "note": "none"}]
    assert store.query("SELECT name FROM migrations ORDER BY name") == [{"name": "0001_first"}, {"name": "0002_second"}]
    before = store.path.stat().st_mtime_ns
    Store.open(tmp_path)
    assert store.path.stat().st_mtime_ns == before  # nothing pending: not even opened for writing


def test_an_older_database_that_is_opened_for_reading_is_left_alone(tmp_path, version):
    version(FIRST)
    path = Store.create(tmp_path, {"run_id": "old"}).path
    version(FIRST, SECOND)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"older version of rlaif.*write=True\) brings it up to date"):
        Store.open(tmp_path, read_only=True)
    assert path.read_bytes() == before
    Store.open(tmp_path)
    assert Store.open(tmp_path, read_only=True).query("SELECT note FROM runs") == [{"note": "none"}]


def test_a_migration_that_fails_changes_nothing(tmp_path, version):
    version(FIRST, SECOND)
    store = Store.create(tmp_path, {"run_id": "r"})
    version(FIRST, SECOND, BROKEN)
    with pytest.raises(RlaifError, match="already exists"):
        Store.open(tmp_path)
    assert {row["name"] for row in store.query("SELECT table_name AS name FROM duckdb_tables()")} == {
        "migrations", "runs", "extra",
    }  # fmt: skip


def test_a_newer_database_is_refused_by_name(tmp_path, version):
    version(FIRST, SECOND)
    Store.create(tmp_path, {"run_id": "r"})
    version(FIRST)
    with pytest.raises(
        UsageError, match=r"newer version of rlaif \(it has 0002_second; this version ends at 0001_first\)"
    ):
        Store.open(tmp_path)


def test_a_table_called_migrations_is_asked_for(tmp_path):
    with duckdb.connect(tmp_path / "other.duckdb") as con:
        assert migrations.applied(con) is None


def test_pairs_of_before_are_read_by_the_new_views(tmp_path, monkeypatch, rows):
    known = migrations.available()
    monkeypatch.setattr(migrations, "available", lambda: [m for m in known if m.name < "0010"])
    old = Store.create(tmp_path, {"run_id": "r", "profile": "p", "config": {}, "config_hash": "h", "seed": 0})
    old.write({
        "rounds": [{"round": 1, "champion_in": "sft"}],
        "candidates": [rows.candidate("a"), rows.candidate("b")],
        "preferences": [rows.preference("x", "a", "b"), rows.preference("y", None, None, "dropped", question_id="q2")],
    })  # fmt: skip
    summary = old.query("SELECT * FROM round_summary")
    texts = old.query("SELECT * FROM answers ORDER BY ALL")
    monkeypatch.setattr(migrations, "available", lambda: known)
    new = Store.open(tmp_path)
    assert new.query("SELECT * FROM round_summary") == summary and summary[0]["pair_yield"] == 0.5
    assert new.query("SELECT * FROM answers ORDER BY ALL") == texts and len(texts) == 2
    assert new.query("SELECT question_id, outcome FROM pair_outcomes ORDER BY ALL") == [
        {"question_id": "q1", "outcome": "kept"}, {"question_id": "q2", "outcome": "tie"},
    ]  # fmt: skip
    assert new.query("SELECT * FROM cut_answers") == []


def test_policies_of_an_older_run_are_kept_and_those_of_best_of_k_are_taken(tmp_path, version):
    known = migrations.available()
    before = [m for m in known if m.name < "0011"]
    version(*before)
    store = Store.create(tmp_path, {"run_id": "old", "profile": "p", "config": {}, "config_hash": "c", "seed": 1})
    policies = [
        {"policy_id": "b", "kind": "base", "round": 0, "recipe": {"dtype": "float32"}},
        {"policy_id": "s", "kind": "sft", "round": 0, "parent_id": "b", "settings": {"tokenizer.json": "ab"}},
        {"policy_id": "d", "kind": "dpo", "round": 1, "parent_id": "s", "reference_id": "s", "sha256": "x"},
    ]
    store.write({"policies": policies})
    store.write({"eval_items": [{"policy_id": "d", "benchmark": "medquad", "split": "gate", "item_id": "i",
                                 "metric": "token_f1", "value": 0.5, "status": "scored"}]})  # fmt: skip
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"policies": [{"policy_id": "r", "kind": "raft", "round": 1}]})
    old = store.query("SELECT * FROM policies ORDER BY policy_id")
    version(*known)
    store = Store.open(tmp_path)
    assert store.query("SELECT * FROM policies ORDER BY policy_id") == old
    store.write({"policies": [{"policy_id": "r", "kind": "raft", "round": 1, "parent_id": "s"}]})
    assert store.query("SELECT settings, recipe FROM policies WHERE policy_id = 'r'") == [
        {"settings": "{}", "recipe": "{}"}
    ]
    assert store.query("SELECT kind FROM leaderboard") == [{"kind": "dpo"}], "views read the new table"
    with pytest.raises(RlaifError, match="CHECK"):
        store.write({"policies": [{"policy_id": "x", "kind": "other", "round": 1}]})


def test_an_older_run_gets_an_empty_table_for_what_answers_agree_on(tmp_path, version, rows):
    known = migrations.available()
    version(*[m for m in known if m.name < "0012"])
    old = Store.create(tmp_path, {"run_id": "old", "profile": "p", "config": {}, "config_hash": "c", "seed": 1})
    old.write({"candidates": [rows.candidate("a"), rows.candidate("b")]})
    version(*known)
    new = Store.open(tmp_path)
    assert new.query("SELECT * FROM consensus") == [] and len(new.query("SELECT * FROM candidates")) == 2
    new.write({"consensus": [{"candidate_id": "a", "token_f1": 0.5}]})
    assert new.query("SELECT * FROM consensus") == [{"candidate_id": "a", "token_f1": 0.5}]


def test_an_older_run_gets_an_empty_table_for_labels_at_the_gate(tmp_path, version, rows):
    known = migrations.available()
    version(*[m for m in known if m.name < "0015"])
    old = Store.create(tmp_path, {"run_id": "old", "profile": "p", "config": {}, "config_hash": "c", "seed": 1})
    old.write({"candidates": [rows.candidate("a")]})
    version(*known)
    new = Store.open(tmp_path)
    assert new.query("SELECT * FROM gate_labels") == [] and len(new.query("SELECT * FROM candidates")) == 1
    label = {"champion": "a", "challenger": "b", "item_id": "q", "judge_id": "j", "shown": "champion first"}
    new.write({"gate_labels": [label | {"champion_mark": 0.0, "challenger_mark": 1.0, "status": "scored"}]})
    half = {"champion_mark": 0.5, "status": "scored"}
    for wrong in (half, {"status": "refused"}, {"champion_mark": 2.0, "challenger_mark": 1.0, "status": "scored"}):
        with pytest.raises(RlaifError, match="CHECK"):
            new.write({"gate_labels": [label | {"judge_id": "k"} | wrong]})


def test_a_run_from_before_rubrics_opens_and_its_rows_and_views_say_the_same(tmp_path, version, rows):
    known = migrations.available()
    version(*[m for m in known if m.name < "0016"])
    old = Store.create(tmp_path, {"run_id": "old", "profile": "p", "config": {}, "config_hash": "c", "seed": 1})
    old.write({
        "questions": [{"question_id": "q1", "dataset": "d", "split": "train", "source_id": "s", "group_id": "g",
                       "question": "Why?", "key_points": ["rest"]}],
        "candidates": [rows.candidate("a"), rows.candidate("b")],
        "verdicts": [rows.verdict("a", score=0.9), rows.verdict("b", score=None, status="failed", reason="timeout")],
        "preferences": [rows.preference("x", "a", "b")],
        "eval_items": [rows.eval_item("i", "accuracy", 1.0)],
    })  # fmt: skip
    tables = ("questions", "candidates", "verdicts", "preferences", "round_summary", "answers", "leaderboard")
    before = {t: old.query(f"SELECT * FROM {t} ORDER BY ALL") for t in tables}
    version(*known)
    new = Store.open(tmp_path)
    for table, found in before.items():
        columns = ", ".join(f'"{name}"' for name in found[0])
        assert new.query(f"SELECT {columns} FROM {table} ORDER BY ALL") == found, table
    assert new.query("SELECT * FROM criterion_verdicts") == new.query("SELECT * FROM rubrics") == []
    assert new.query("SELECT DISTINCT judged_weight FROM verdicts") == [{"judged_weight": None}]
    assert new.query("SELECT DISTINCT thoughts, thought_tokens FROM candidates") == [
        {"thoughts": "", "thought_tokens": 0}
    ]
    row = {"candidate_id": "a", "judge_id": "j1", "replicate": 0, "place": 0, "criterion": "Rests.", "weight": 1.0}
    new.write({"criterion_verdicts": [row | {"status": "scored", "value": 1.0}]})
    for bad in ({"status": "scored"}, {"status": "failed", "value": 0.0, "reason": "x"}, {"status": "failed"}):
        with pytest.raises(RlaifError, match="CHECK"):
            new.write({"criterion_verdicts": [row | {"place": 1} | bad]})
