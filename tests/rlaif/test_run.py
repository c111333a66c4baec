from __future__ import annotations

import dataclasses
import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import pytest

from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.run import Run, Stage, check_disk, now, open_or_create, open_run, session, unflat
from rlaif.types import Candidate, DataError, Decision, Preference, RlaifError, UsageError
from stores.store import DATABASE, Store

DEFAULT = load_config()
BASE: dict[str, Any] = {"policy_id": "ba5e" * 4, "kind": "base", "round": 0}
SFT: dict[str, Any] = {"policy_id": "5f7a" + "0" * 12, "kind": "sft", "round": 0, "parent_id": BASE["policy_id"]}
DPO: dict[str, Any] = {"policy_id": "5f7b" + "0" * 12, "kind": "dpo", "round": 1, "parent_id": SFT["policy_id"]}


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return open_or_create(tmp_path_factory.mktemp("template") / "run", DEFAULT).folder


@pytest.fixture
def run(template: Path, tmp_path: Path) -> Run:
    """A new run with the default configuration. Copied, because making one takes ten times as long."""
    return open_or_create(Path(shutil.copytree(template, tmp_path / "run")), DEFAULT)


def stages(run: Run) -> list[dict[str, Any]]:
    return run.store.query("SELECT * FROM stages ORDER BY stage")


def promote(run: Run, policy_id: str, round: int = 0, kind: str = "gate") -> None:
    run.decide(Decision(round, kind, "PROMOTE", "better", {"policy_id": policy_id}))


def test_a_new_run_has_its_database_its_configuration_and_a_place_for_policies(tmp_path: Path) -> None:
    config = load_config("embedded", ["seed=5"])
    run = open_or_create(tmp_path / "a" / "b", config)
    assert run.config == config
    assert {p.name for p in run.folder.iterdir()} == {DATABASE, "config.toml", "policies"}
    assert run.policies.is_dir()
    assert Config.model_validate(tomllib.loads((run.folder / "config.toml").read_text("utf-8"))) == config
    (row,) = run.store.query("SELECT * FROM runs")
    assert (row["profile"], row["seed"], row["config_hash"]) == ("embedded", 5, config.config_hash)
    assert json.loads(row["config"])["seed"] == 5


def test_what_a_run_is_called_and_where_it_lies_does_not_change_its_id(tmp_path: Path) -> None:
    ids = [open_or_create(tmp_path / name, DEFAULT).store.query("SELECT run_id FROM runs") for name in ("a", "b")]
    assert ids[0] == ids[1]


def test_a_run_can_be_opened_again_with_the_same_configuration(run: Run) -> None:
    promote(run, "x")
    again = open_or_create(run.folder, DEFAULT)
    assert again.config == DEFAULT
    assert again.store.query("SELECT count(*) AS n FROM decisions") == [{"n": 1}]
    assert open_run(run.folder).config == DEFAULT


def test_values_outside_the_hash_may_differ_and_the_new_ones_count(run: Run) -> None:
    config = load_config("embedded", ["judge.failure_limit=0.5", "judge.require_licence=false"])
    again = open_or_create(run.folder, config)
    assert again.config.judge.failure_limit == 0.5
    assert again.config.judge.require_licence is False


def test_another_configuration_is_refused_and_the_keys_are_named(run: Run) -> None:
    with pytest.raises(UsageError) as caught:
        open_or_create(run.folder, load_config("embedded", ["seed=8", "dpo.beta=0.3", "judge.failure_limit=0.5"]))
    message = str(caught.value)
    assert "seed: 0 there, 8 now" in message and "dpo.beta: 0.05 there, 0.3 now" in message
    assert "judge.failure_limit" not in message and "--run" in message and "\n" not in message
    assert open_run(run.folder).config == DEFAULT


def test_many_differences_are_counted(run: Run) -> None:
    changes = ["seed=8", "dpo.beta=0.3", "dpo.epochs=3", "sampling.k=5", "sft.epochs=2", "pairs.min_best=0.4"]
    with pytest.raises(UsageError, match="and 3 more"):
        open_or_create(run.folder, load_config("embedded", changes))


def test_a_folder_that_is_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("text")
    with pytest.raises(UsageError, match=r"thesis\.tex.*--run"):
        open_or_create(tmp_path, DEFAULT)
    assert [p.name for p in tmp_path.iterdir()] == ["thesis.tex"]


def test_a_file_is_no_run_folder(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("text")
    with pytest.raises(UsageError, match="no run"):
        open_or_create(path, DEFAULT)


def test_a_folder_with_a_lock_and_a_half_made_database_is_a_new_run(tmp_path: Path) -> None:
    (tmp_path / "loop.lock").touch()
    (tmp_path / f"{DATABASE}.new").write_text("half")
    assert open_or_create(tmp_path, DEFAULT).store.query("SELECT count(*) AS n FROM runs") == [{"n": 1}]
    assert not (tmp_path / f"{DATABASE}.new").exists()


def test_a_start_killed_before_its_database_appeared_can_be_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Store, "create", killed)
        open_or_create(tmp_path, load_config("embedded", ["seed=4"]))
    assert not (tmp_path / DATABASE).exists()
    open_or_create(tmp_path, DEFAULT)
    assert Config.model_validate(tomllib.loads((tmp_path / "config.toml").read_text("utf-8"))) == DEFAULT


def test_when_the_database_appears_the_run_has_all_its_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[set[str]] = []

    def create(folder: Path, row: Any, make: Any = Store.create) -> Store:
        seen.append({p.name for p in folder.iterdir()})
        return make(folder, row)

    monkeypatch.setattr(Store, "create", create)
    open_or_create(tmp_path, DEFAULT)
    assert seen == [{"config.toml", "policies"}]


def test_there_is_no_run_in_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a run folder"):
        open_run(tmp_path)


def test_a_stage_says_running_at_once_and_done_with_its_rows(run: Run) -> None:
    with run.stage(1, "pairs") as stage:
        (row,) = stages(run)
        assert (row["round"], row["stage"], row["status"], row["finished_at"]) == (1, "pairs", "running", None)
        assert run.done(1, "pairs") is None
        with stage.model_time():
            pass
        stage.rows = {"preferences": [Preference("p1", 1, "q1", "j1", "dropped", "tie")]}
        stage.detail = {"kept": 3}
        assert run.store.query("SELECT * FROM preferences") == []
    (row,) = stages(run)
    assert row["status"] == "done"
    assert row["finished_at"] >= row["started_at"]
    assert row["seconds"] >= row["model_seconds"] > 0
    assert row["peak_memory_mb"] > 1
    assert run.done(1, "pairs") == {"kept": 3}
    assert run.done(2, "pairs") is None and run.done(1, "judge") is None
    assert run.store.query("SELECT pair_id FROM preferences") == [{"pair_id": "p1"}]


def test_a_stage_that_raises_stays_running_and_keeps_none_of_its_last_rows(run: Run) -> None:
    def fail(stage: Stage) -> None:
        stage.rows = {"policies": [SFT]}
        raise RlaifError("no")

    with pytest.raises(RlaifError, match="no"), run.stage(0, "sft") as stage:
        fail(stage)
    assert [r["status"] for r in stages(run)] == ["running"]
    assert run.done(0, "sft") is None
    assert run.store.query("SELECT * FROM policies") == []


def test_a_stage_whose_last_rows_cannot_be_written_is_not_done(run: Run) -> None:
    with pytest.raises(RlaifError), run.stage(0, "sft") as stage:
        stage.rows = {"policies": [SFT], "policy_items": [{"nonsense": 1}]}
    assert run.done(0, "sft") is None
    assert run.store.query("SELECT * FROM policies") == []


def test_an_interrupted_stage_can_be_done_again(run: Run) -> None:
    with pytest.raises(KeyboardInterrupt), run.stage(1, "dpo"):
        raise KeyboardInterrupt
    with run.stage(1, "dpo") as stage:
        stage.detail = {"steps": 2}
    assert [(r["status"], json.loads(r["detail"])) for r in stages(run)] == [("done", {"steps": 2})]


def test_the_last_stage_of_a_round_replaces_its_row_in_rounds(run: Run) -> None:
    run.store.write({"rounds": [{"round": 1, "champion_in": "a"}]})
    with run.stage(1, "gate") as stage:
        stage.rows = {
            "rounds": [{"round": 1, "champion_in": "a", "challenger": "b", "champion_out": "a", "decision": "REJECT"}]
        }
    assert run.store.query("SELECT challenger, decision FROM rounds") == [{"challenger": "b", "decision": "REJECT"}]


def test_time_in_a_failing_model_counts_too() -> None:
    stage = Stage(1, "sample")
    with pytest.raises(RlaifError), stage.model_time():
        raise RlaifError("no")
    assert stage.model_seconds > 0


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (None, 0),
        (RlaifError("a"), 1),
        (UsageError("b"), 2),
        (DataError("c"), 2),
        (ZeroDivisionError(), 1),
        (KeyboardInterrupt(), 130),
    ],
)
def test_a_session_records_how_it_ended(run: Run, error: BaseException | None, code: int) -> None:
    started = now()

    def work() -> None:
        with session(run, started) as session_id:
            (row,) = run.store.query("SELECT * FROM sessions")
            assert (row["session_id"], row["ended_at"], row["exit_code"]) == (session_id, None, None)
            if error:
                raise error

    if error:
        with pytest.raises(type(error)):
            work()
    else:
        work()
    (row,) = run.store.query("SELECT * FROM sessions")
    assert (row["started_at"], row["pid"], row["exit_code"]) == (started, os.getpid(), code)
    assert row["ended_at"] >= started
    assert {"python", "duckdb"} <= set(json.loads(row["versions"]))


def test_a_session_records_the_values_that_stand_outside_the_hash(run: Run) -> None:
    again = open_or_create(run.folder, load_config("embedded", ["judge.failure_limit=0.5"]))
    for each in (run, again):
        with session(each, now()):
            pass
    first, second = (
        json.loads(r["overrides"]) for r in run.store.query("SELECT overrides FROM sessions ORDER BY started_at")
    )
    assert (first["judge.failure_limit"], second["judge.failure_limit"]) == (0.02, 0.5)
    assert "seed" not in second


def test_a_run_without_a_base_has_no_champion(run: Run) -> None:
    with pytest.raises(RlaifError, match="loop"):
        run.champion()


def test_the_champion_is_the_base_until_a_policy_is_promoted(run: Run) -> None:
    run.store.write({"policies": [BASE, SFT, DPO]})
    assert run.champion() == BASE["policy_id"]
    run.decide(Decision(0, "gate", "REJECT", "worse", {"policy_id": BASE["policy_id"]}))
    assert run.champion() == BASE["policy_id"]
    promote(run, SFT["policy_id"])
    assert run.champion() == SFT["policy_id"]
    promote(run, DPO["policy_id"], 1)
    run.decide(Decision(2, "gate", "INCONCLUSIVE", "who knows", {"policy_id": DPO["policy_id"]}))
    assert run.champion() == DPO["policy_id"]
    promote(run, SFT["policy_id"], 2, "hand")
    assert run.champion() == SFT["policy_id"]
    assert run.policy("champion")["kind"] == "sft"


def undecided(run: Run, decision: str = "INCONCLUSIVE", **changes: Any) -> Run:
    """Round 1 is over: DPO met the champion SFT. The run lets rounds start from challengers."""
    run.store.write({"policies": [BASE, SFT, DPO | {"path": "policies/5f7b"} | changes]})
    promote(run, SFT["policy_id"])
    row = {"round": 1, "champion_in": SFT["policy_id"], "challenger": DPO["policy_id"], "decision": decision}
    run.store.write({"rounds": [row | {"champion_out": SFT["policy_id"]}]})
    return dataclasses.replace(run, config=load_config("embedded", ["gate.after_inconclusive=challenger"]))


def test_a_round_starts_from_the_champion_or_from_a_challenger_that_could_not_be_told_from_it(run: Run) -> None:
    chained = undecided(run)
    assert run.starts_from(2, SFT["policy_id"]) == SFT["policy_id"], "the default"
    assert chained.starts_from(2, SFT["policy_id"]) == DPO["policy_id"]
    assert chained.starts_from(2, BASE["policy_id"]) == BASE["policy_id"], "a person changed the champion"
    assert chained.starts_from(3, SFT["policy_id"]) == SFT["policy_id"], "there was no round 2"


def test_a_round_without_a_challenger_does_not_end_what_adds_up(run: Run) -> None:
    chained = undecided(run)
    empty = {"round": 2, "champion_in": SFT["policy_id"], "challenger": None, "champion_out": SFT["policy_id"]}
    run.store.write({"rounds": [empty | {"decision": "INCONCLUSIVE"}]})
    assert chained.starts_from(3, SFT["policy_id"]) == DPO["policy_id"]
    assert chained.starts_from(3, BASE["policy_id"]) == BASE["policy_id"], "a person changed the champion"
    assert run.starts_from(3, SFT["policy_id"]) == SFT["policy_id"], "the default"


@pytest.mark.parametrize(("decision", "changes"), [("REJECT", {}), ("PROMOTE", {}), ("INCONCLUSIVE", {"path": ""})])
def test_a_round_does_not_start_from_what_was_decided_or_pruned(run: Run, decision: str, changes: Any) -> None:
    assert undecided(run, decision, **changes).starts_from(2, SFT["policy_id"]) == SFT["policy_id"]


def test_a_round_does_not_start_from_what_a_blocking_monitor_objects_to(run: Run) -> None:
    chained = undecided(run)
    red = {"round": 1, "name": "truncated", "value": 1.0, "threshold": "", "red": True}
    run.store.write({"monitors": [red]})
    assert chained.starts_from(2, SFT["policy_id"]) == DPO["policy_id"], "this one only warns"
    run.store.write({"monitors": [red | {"name": chained.config.monitors.blocking[0]}]})
    assert chained.starts_from(2, SFT["policy_id"]) == SFT["policy_id"]


def test_a_round_does_not_start_from_what_could_not_be_compared(run: Run) -> None:
    """Such as a challenger that answers many questions without a label: it is INCONCLUSIVE too."""
    chained = undecided(run)
    row = {"round": 1, "look": 1, "champion": SFT["policy_id"], "challenger": DPO["policy_id"], "detail": ""}
    valid = row | {"condition": "valid", "metric": "accuracy: challenger_unscored", "passed": True}
    run.store.write({"gates": [valid, row | {"condition": "better", "metric": "token_f1", "passed": False}]})
    assert chained.starts_from(2, SFT["policy_id"]) == DPO["policy_id"]
    run.store.write({"gates": [valid | {"metric": "token_f1: challenger_unscored", "passed": False}]})
    assert chained.starts_from(2, SFT["policy_id"]) == SFT["policy_id"]


def test_a_round_that_has_begun_goes_on_with_the_policy_that_answers_in_it(run: Run) -> None:
    chained = undecided(run)
    answer = Candidate("c", 2, "q", SFT["policy_id"], "s", 0, 0, 0, "text", 1, "stop", -1.0, {})
    run.store.write({"candidates": [answer]})
    assert chained.starts_from(2, SFT["policy_id"]) == SFT["policy_id"]


def test_a_policy_is_found_by_name_by_id_and_by_the_beginning_of_its_id(run: Run) -> None:
    run.store.write({"policies": [BASE, SFT, DPO]})
    assert run.policy("base")["policy_id"] == BASE["policy_id"]
    assert run.policy("5f7a")["policy_id"] == SFT["policy_id"]
    assert run.policy(DPO["policy_id"])["kind"] == "dpo"


@pytest.mark.parametrize(
    ("name", "problem"), [("5f7", "ambiguous"), ("0000", "no policy"), ("%", "no policy"), ("b", "ba5e")]
)
def test_a_policy_that_is_not_one_lists_those_there_are(run: Run, name: str, problem: str) -> None:
    run.store.write({"policies": [BASE, SFT, DPO, BASE | {"policy_id": "bbbb" * 4, "kind": "sft"}]})
    with pytest.raises(UsageError, match=problem) as caught:
        run.policy(name)
    assert SFT["policy_id"] in str(caught.value) and "champion" in str(caught.value)


def test_no_name_is_no_policy(run: Run) -> None:
    run.store.write({"policies": [BASE]})
    with pytest.raises(UsageError):
        run.policy("")


def test_a_full_disk_is_found_before_it_hurts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_disk(tmp_path)
    usage = shutil.disk_usage(tmp_path)._replace(free=5 * 2**20)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with pytest.raises(RlaifError, match="5 MB free"):
        check_disk(tmp_path)


def test_dotted_keys_become_a_tree() -> None:
    assert unflat({"seed": 1, "a.b": 2, "a.c.d": 3}) == {"seed": 1, "a": {"b": 2, "c": {"d": 3}}}
