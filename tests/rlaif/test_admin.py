import dataclasses
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rlaif import admin
from rlaif.config import Config, flat
from rlaif.gate import ledger
from rlaif.run import Run
from rlaif.types import Decision, RlaifError, UsageError
from stores.lock import run_lock
from stores.store import DATABASE, Store

CONFIG = Config(seed=7)


IDS = {
    "base": "ba5e000000000000",
    "sft": "5f70000000000000",
    "dpo1": "d901000000000000",
    "dpo2": "d902000000000000",
    "dpo3": "d903000000000000",
    "dpo4": "d904000000000000",
    "dpo5": "d905000000000000",
}


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """SFT promoted, round 1 rejected, round 2 promoted, round 3 inconclusive, round 4 under way."""
    folder = tmp_path_factory.mktemp("made")
    row = {"run_id": "r1", "profile": "embedded", "config": flat(CONFIG), "config_hash": CONFIG.config_hash, "seed": 7}
    store = Store.create(folder, row)
    names = {
        "base": ("base", 0),
        "sft": ("sft", 0),
        "dpo1": ("dpo", 1),
        "dpo2": ("dpo", 2),
        "dpo3": ("dpo", 3),
        "dpo4": ("dpo", 4),
    }
    policies: list[dict[str, Any]] = [
        {
            "policy_id": IDS[name],
            "kind": kind,
            "round": round,
            "path": "embedded" if kind == "base" else f"policies/{IDS[name]}",
            "sha256": f"sha-{name}",
        }
        for name, (kind, round) in names.items()
    ]
    for p in policies[1:]:
        (folder / p["path"]).mkdir(parents=True)
        (folder / p["path"] / "adapter_model.safetensors").write_bytes(b"w" * 1000)
    closed = [
        ("base", "sft", "sft", "PROMOTE"),
        ("sft", "dpo1", "sft", "REJECT"),
        ("sft", "dpo2", "dpo2", "PROMOTE"),
        ("dpo2", "dpo3", "dpo2", "INCONCLUSIVE"),
    ]
    rounds: list[dict[str, Any]] = [
        {"round": i, "champion_in": IDS[a], "challenger": IDS[b], "champion_out": IDS[c], "decision": d}
        for i, (a, b, c, d) in enumerate(closed)
    ]
    decisions = [Decision(r["round"], "gate", r["decision"], "why", {"policy_id": r["champion_out"]}) for r in rounds]
    kept = {
        "round": 1,
        "question_id": "q",
        "judge_id": "j",
        "status": "kept",
        "chosen_id": "a",
        "rejected_id": "b",
        "margin": 0.3,
    }
    store.write(
        {
            "policies": policies,
            "rounds": [*rounds, {"round": 4, "champion_in": "d902000000000000"}],
            "decisions": decisions,
            "preferences": [kept | {"pair_id": "ab12"}, kept | {"pair_id": "ab34"}, kept | {"pair_id": "ab"}],
            "policy_items": [{"policy_id": "d901000000000000", "item_id": "ab12", "role": "dpo"}],
        }
    )
    return folder


@pytest.fixture
def make_run(made: Path) -> Callable[[Path], Run]:
    """Copied, because making one takes ten times as long."""

    def make(folder: Path) -> Run:
        shutil.copytree(made, folder, dirs_exist_ok=True)
        return Run(folder, Store(folder / DATABASE), CONFIG)

    return make


@pytest.fixture
def run(tmp_path: Path, make_run: Callable[[Path], Run]) -> Run:
    return make_run(tmp_path / "run")


def last_decision(run: Run) -> dict:
    row = run.store.query("SELECT * FROM decisions ORDER BY seq DESC LIMIT 1")[0]
    return row | {"evidence": json.loads(row["evidence"])}


def contents(run: Run) -> list:
    return [
        run.store.query(f"SELECT * FROM {table} ORDER BY ALL") for table in ("decisions", "preferences", "policies")
    ]


def test_promote_by_hand_is_recorded_and_changes_the_champion(run: Run) -> None:
    line = admin.promote(run, "d901000000000000", "reads better\nto our nurses")
    assert run.champion() == "d901000000000000"
    row = last_decision(run)
    assert (row["kind"], row["action"], row["round"], row["reason"]) == (
        "manual",
        "PROMOTE",
        4,
        "reads better to our nurses",
    )
    assert row["evidence"] == {"policy_id": "d901000000000000", "previous": "d902000000000000"}
    assert line == "d901000000000000 (dpo, round 1) is champion now; before: d902000000000000"


def test_promote_goes_back_to_the_base(run: Run) -> None:
    admin.promote(run, "base", "start over")
    assert run.champion() == "ba5e000000000000"


@pytest.mark.parametrize("name", ["champion", "d902000000000000"])
def test_promoting_the_champion_changes_nothing(run: Run, name: str) -> None:
    before = contents(run)
    assert "champion already" in admin.promote(run, name, "why")
    assert contents(run) == before


@pytest.mark.parametrize(
    ("name", "why", "message"),
    [
        ("d901000000000000", " \n", "say why"),
        ("nobody", "why", "no policy of this run"),
        ("d90", "why", "ambiguous"),
        ("", "why", "name the policy"),
    ],
)
def test_promote_refuses(run: Run, name: str, why: str, message: str) -> None:
    before = contents(run)
    with pytest.raises(UsageError, match=message):
        admin.promote(run, name, why)
    assert contents(run) == before


def test_promote_refuses_what_was_pruned_or_is_gone(run: Run) -> None:
    admin.prune(run)
    with pytest.raises(UsageError, match="was pruned"):
        admin.promote(run, "d901000000000000", "why")
    (run.policies / "5f70000000000000").rename(run.policies / "elsewhere")
    with pytest.raises(UsageError, match="no folder .*5f70000000000000"):
        admin.promote(run, "5f70000000000000", "why")


def test_exclude_drops_the_pair_and_names_who_was_trained_on_it(run: Run) -> None:
    line = admin.exclude(run, "ab1", "a wrong dose")
    pair = run.store.query("SELECT * FROM preferences WHERE pair_id = 'ab12'")[0]
    assert (pair["status"], pair["reason"], pair["chosen_id"], pair["margin"]) == (
        "dropped",
        "excluded by hand: a wrong dose",
        "a",
        0.3,
    )
    row = last_decision(run)
    assert (row["kind"], row["action"], row["reason"]) == ("manual", "EXCLUDE", "a wrong dose")
    assert row["evidence"] == {"pair_id": "ab12", "trained": ["d901000000000000"]}
    assert line == "pair ab12 is dropped: a wrong dose; already trained on it: d901000000000000"
    assert run.store.query("SELECT count(*) AS n FROM preference_pairs")[0]["n"] == 2


def test_exclude_takes_a_full_id_that_others_begin_with(run: Run) -> None:
    admin.exclude(run, "ab", "why")
    assert last_decision(run)["evidence"] == {"pair_id": "ab", "trained": []}


@pytest.mark.parametrize(
    ("pair", "why", "message"),
    [
        ("ab12", "", "say why"),
        ("zz", "why", "no pair of this run"),
        ("a", "why", "ambiguous: ab, ab12, ab34"),
        (" ", "why", "name the pair"),
    ],
)
def test_exclude_refuses(run: Run, pair: str, why: str, message: str) -> None:
    before = contents(run)
    with pytest.raises(UsageError, match=message):
        admin.exclude(run, pair, why)
    assert contents(run) == before


def test_exclude_refuses_a_dropped_pair_with_its_reason(run: Run) -> None:
    admin.exclude(run, "ab12", "first")
    before = contents(run)
    with pytest.raises(UsageError, match="dropped already: excluded by hand: first"):
        admin.exclude(run, "ab12", "second")
    assert contents(run) == before


def test_prune_deletes_what_was_never_champion(run: Run) -> None:
    assert admin.prune(run) == [("d901000000000000", 1000), ("d903000000000000", 1000)]
    assert sorted(p.name for p in run.policies.iterdir()) == [
        "5f70000000000000",
        "d902000000000000",
        "d904000000000000",
    ]
    paths = {r["policy_id"]: r["path"] for r in run.store.query("SELECT policy_id, path FROM policies")}
    assert {k for k, v in paths.items() if not v} == {"d901000000000000", "d903000000000000"}
    assert run.store.query("SELECT sha256 FROM policies WHERE policy_id = 'd901000000000000'") == [
        {"sha256": "sha-dpo1"}
    ]
    row = last_decision(run)
    assert (row["kind"], row["action"], row["evidence"]) == (
        "manual",
        "PRUNE",
        {"policies": ["d901000000000000", "d903000000000000"]},
    )
    before = contents(run)
    assert admin.prune(run) == []
    assert contents(run) == before


def test_prune_keeps_who_was_champion_by_hand(run: Run) -> None:
    admin.promote(run, "d901000000000000", "for a while")
    admin.promote(run, "d902000000000000", "back again")
    assert [policy_id for policy_id, _ in admin.prune(run)] == ["d903000000000000"]


def test_prune_keeps_the_challenger_that_a_round_starts_from(run: Run) -> None:
    """Round 4 is under way; with this setting it starts from round 3's challenger."""
    chained = CONFIG.model_copy(update={"gate": CONFIG.gate.model_copy(update={"after_inconclusive": "challenger"})})
    assert admin.prune(dataclasses.replace(run, config=chained)) == [("d901000000000000", 1000)]


def test_prune_keeps_it_too_where_a_person_changed_the_champion_meanwhile(run: Run) -> None:
    chained = CONFIG.model_copy(update={"gate": CONFIG.gate.model_copy(update={"after_inconclusive": "challenger"})})
    admin.promote(run, "5f70000000000000", "back to SFT")
    assert admin.prune(dataclasses.replace(run, config=chained)) == [("d901000000000000", 1000)]


def test_prune_keeps_an_inconclusive_sft_that_a_champion_lies_on(run: Run) -> None:
    """Round 1 started from it, and what came of it was promoted in round 2."""
    base, sft = IDS["base"], IDS["sft"]
    held = [f"UPDATE rounds SET {c} = '{base}' WHERE {c} = '{sft}'" for c in ("champion_in", "champion_out")]
    changes = [
        *held,
        "UPDATE rounds SET decision = 'INCONCLUSIVE' WHERE round = 0",
        "UPDATE decisions SET action = 'INCONCLUSIVE' WHERE round = 0",
        f"UPDATE policies SET parent_id = '{sft}' WHERE policy_id = '{IDS['dpo2']}'",
    ]
    run.store.execute([(change, []) for change in changes])
    run.store.write({"sealed_tests": [{"session_id": "s", "round": 3, "policies": [base, sft, IDS["dpo2"]]}]})
    assert sft not in {policy_id for policy_id, _ in admin.prune(run)}


def test_prune_keeps_a_rejected_sft_for_the_sealed_test(run: Run) -> None:
    run.store.execute(
        [
            ("UPDATE rounds SET decision = 'REJECT', champion_out = 'ba5e000000000000' WHERE round = 0", []),
            ("UPDATE rounds SET champion_in = 'ba5e000000000000' WHERE champion_in = '5f70000000000000'", []),
            ("UPDATE rounds SET champion_out = 'ba5e000000000000' WHERE champion_out = '5f70000000000000'", []),
            ("UPDATE decisions SET action = 'REJECT' WHERE round = 0", []),
        ]
    )
    assert "5f70000000000000" not in {policy_id for policy_id, _ in admin.prune(run)}
    run.store.write(
        {
            "sealed_tests": [
                {
                    "session_id": "s",
                    "round": 3,
                    "policies": ["ba5e000000000000", "5f70000000000000", "d902000000000000"],
                }
            ]
        }
    )
    assert [policy_id for policy_id, _ in admin.prune(run)] == ["5f70000000000000"]


def test_prune_finishes_one_that_was_killed_after_its_record(run: Run) -> None:
    run.store.execute([("UPDATE policies SET path = '' WHERE policy_id = 'd901000000000000'", [])])
    assert ("d901000000000000", 1000) in admin.prune(run)
    assert not (run.policies / "d901000000000000").exists()


def test_prune_deletes_the_merged_copies_that_serve_made(run: Run, tmp_path: Path) -> None:
    def serve(name: str) -> None:
        (run.served / name).mkdir(parents=True)
        (run.served / name / "model.safetensors").write_bytes(bytes(500))

    for name in ("d901000000000000", "d902000000000000"):
        serve(name)
    assert admin.prune(run) == [("d901000000000000", 1500), ("d903000000000000", 1000)]
    assert [p.name for p in run.served.iterdir()] == ["d902000000000000"], "who was champion stays served"
    serve("d901000000000000")
    assert admin.prune(run) == [("d901000000000000", 500)], "also where its weights went before"
    (run.served / "d901000000000000").symlink_to(tmp_path)
    with pytest.raises(RlaifError, match="served/d901000000000000 is a link"):
        admin.prune(run)


def test_prune_waits_for_no_loop(run: Run) -> None:
    with run_lock(run.folder), pytest.raises(RlaifError, match="is running on"):
        admin.prune(run)
    assert (run.policies / "d901000000000000").is_dir()


def test_prune_follows_neither_links_nor_strange_paths(run: Run, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    (run.policies / "d901000000000000").rename(precious)
    run.store.execute([("UPDATE policies SET path = '../precious' WHERE policy_id = 'd901000000000000'", [])])
    with pytest.raises(RlaifError, match="d901000000000000"):
        admin.prune(run)
    run.store.execute(
        [("UPDATE policies SET path = 'policies/d901000000000000' WHERE policy_id = 'd901000000000000'", [])]
    )
    (run.policies / "d901000000000000").symlink_to(precious)
    with pytest.raises(RlaifError, match="d901000000000000"):
        admin.prune(run)
    assert list(precious.iterdir()) and (run.policies / "d903000000000000").is_dir()


@pytest.mark.parametrize("policy_id", ["", ".", "..", "../policies", "../../precious", "/etc", "D901000000000000"])
def test_prune_makes_no_path_of_an_id_that_is_none(run: Run, tmp_path: Path, policy_id: str) -> None:
    (tmp_path / "precious").mkdir()
    for table, column in (("policies", "policy_id"), ("rounds", "challenger")):
        change = f"UPDATE {table} SET {column} = ? WHERE {column} = ?"
        run.store.execute([(change, [policy_id, IDS["dpo1"]])])
    run.store.execute([("UPDATE policies SET path = 'policies/' || policy_id WHERE policy_id = ?", [policy_id])])
    before = sorted(p for p in tmp_path.rglob("*"))
    with pytest.raises(RlaifError, match="is not 16 hex digits"):
        admin.prune(run)
    assert sorted(p for p in tmp_path.rglob("*") if p.name != "loop.lock") == before


def test_list_runs_finds_all_below_and_says_how_they_are(tmp_path: Path, make_run: Callable[[Path], Run]) -> None:
    make_run(tmp_path / "a")
    deep = make_run(tmp_path / "x" / "deep")
    deep.store.execute([("DELETE FROM rounds WHERE decision IS NULL", [])])
    deep.store.write({"sessions": [{"session_id": "s", "exit_code": 0}]})
    (tmp_path / "empty").mkdir()
    columns, rows = admin.list_runs(tmp_path)
    assert columns == admin.RUN_COLUMNS
    found = [dict(zip(columns, row, strict=True)) for row in rows]
    assert [r["run"] for r in found] == [str(tmp_path / "a"), str(tmp_path / "x" / "deep")]
    assert (found[0]["profile"], found[0]["seed"], found[0]["champion"]) == ("embedded", "7", "d9020000")
    assert found[0]["state"] == "stopped in round 4, no session was recorded"
    assert found[1]["state"] == "finished round 3"
    assert found[0]["size"].endswith(" MB") and float(found[0]["size"].split()[0]) > 0.1
    assert found[0]["gate looks"] == ""
    key = ledger.run_key(deep.store.query("SELECT run_id, created_at FROM runs")[0])
    for who, look_id in ((key, "1"), ("another", "2"), ("another", "3")):
        ledger.enter(ledger.Entry("items", look_id, who, "runs", 1, 0.02, 0.05), spends=False)
    # Both runs of this test were made at the same moment with the same settings, as copies of a folder are.
    assert {row[columns.index("gate looks")] for row in admin.list_runs(tmp_path)[1]} == {"1 of 3"}


def test_a_ledger_that_cannot_be_read_keeps_no_run_from_the_list(
    tmp_path: Path, make_run: Callable[[Path], Run]
) -> None:
    make_run(tmp_path / "a")
    ledger.path().parent.mkdir(parents=True)
    ledger.path().write_bytes(b"no database at all, but 16 bytes or more")
    assert len(admin.list_runs(tmp_path)[1]) == 1


def test_list_runs_shows_a_running_one(tmp_path: Path, make_run: Callable[[Path], Run]) -> None:
    make_run(tmp_path)
    with run_lock(tmp_path):
        assert admin.list_runs(tmp_path)[1][0][-1] == f"running: pid {os.getpid()}; between two stages"


@pytest.mark.parametrize("damage", ["empty", "cut", "noise"])
def test_a_damaged_database_gives_a_row_that_says_so(
    tmp_path: Path, make_run: Callable[[Path], Run], damage: str
) -> None:
    make_run(tmp_path / "good")
    path = make_run(tmp_path / "bad").folder / DATABASE
    path.write_bytes({"empty": b"", "cut": path.read_bytes()[:9000], "noise": b"no database " * 999}[damage])
    _, rows = admin.list_runs(tmp_path)
    assert [row[0] for row in rows] == [str(tmp_path / "bad"), str(tmp_path / "good")]
    assert rows[0][-1].startswith("cannot be read: ") and rows[1][-1].startswith("stopped")


def test_no_runs_no_rows(tmp_path: Path) -> None:
    assert admin.list_runs(tmp_path / "none") == (admin.RUN_COLUMNS, [])
