"""A round that fine-tunes on best answers, then DPO with reference pairs, held-out pairs and another loss: what the run
says of it afterwards, also when it was interrupted in between; and a round of best-of-k alone.
"""

from __future__ import annotations

import dataclasses
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from command_line import call
from rlaif import admin
from rlaif.gate.decide import GateResult
from rlaif.loop import rounds
from rlaif.loop.drift import sft_policy
from rlaif.run import Run, open_run
from rlaif.train import stages
from rlaif.types import RlaifError

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200), pytest.mark.usefixtures("torch_threads")]

TINY = Path(__file__).parent / "tiny.toml"
BOTH = """best_of.epochs=1 best_of.warmup_steps=0 best_of.references=0.25 dpo.reference_chosen=0.5 dpo.heldout=0.2
    dpo.epochs=2 dpo.loss=robust dpo.label_smoothing=judge dpo.ld_alpha=0.5""".split()
ALONE = "best_of.epochs=1 best_of.warmup_steps=0 dpo.epochs=0".split()


def loop(folder: Path, settings: list[str], rounds: int = 1) -> tuple[int, str]:
    sets = [word for setting in settings for word in ("--set", setting)]
    code, _, err = call("loop", "--rounds", rounds, "--run", folder, "--profile", TINY, *sets)
    return code, err


def policies(run: Run) -> list[dict[str, Any]]:
    return run.store.query("SELECT * EXCLUDE (created_at) FROM policies ORDER BY round, kind = 'dpo', policy_id")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, torch_threads: None) -> Path:
    """A round of both, interrupted before DPO and continued by the same command. Tests that change it take a copy."""
    path = tmp_path_factory.mktemp("learning") / "run"
    with pytest.MonkeyPatch.context() as patch:

        def stop(*_: Any, **__: Any) -> str:
            raise RlaifError("the light went out")

        patch.setattr(stages, "dpo", stop)
        code, err = loop(path, BOTH)
        assert code == 1 and "the light went out" in err
    run = open_run(path)
    half = [p for p in policies(run) if p["round"] == 1]
    assert [p["kind"] for p in half] == ["raft"]
    code, err = loop(path, BOTH)
    assert code == 0, err
    assert [p for p in policies(open_run(path)) if p["kind"] == "raft"] == half, "it is not trained again"
    return path


def test_each_policy_says_where_it_comes_from(folder: Path) -> None:
    run = open_run(folder)
    champion = run.store.query("SELECT champion_in, challenger FROM rounds WHERE round = 1")[0]
    raft, dpo = (p for p in policies(run) if p["round"] == 1)
    assert (raft["kind"], raft["parent_id"], raft["reference_id"]) == ("raft", champion["champion_in"], None)
    assert (dpo["kind"], dpo["parent_id"], dpo["reference_id"]) == ("dpo", raft["policy_id"], raft["policy_id"])
    assert champion["challenger"] == dpo["policy_id"]
    assert sft_policy(run, dpo["policy_id"]) == run.policy("sft")["policy_id"]
    recipes = [json.loads(p["recipe"]) for p in (raft, dpo)]
    assert recipes[0]["references"] == 0.25 and recipes[0]["kind"] == "raft"
    told = {key: recipes[1][key] for key in ("loss", "ld_alpha", "heldout", "reference_chosen")}
    assert told == {"loss": "robust", "ld_alpha": 0.5, "heldout": 0.2, "reference_chosen": 0.5}
    wrong = run.store.query(
        "SELECT count_if(outcome = 'reversed') / count_if(outcome IN ('reversed', 'ordered')) AS share FROM exam_items "
        "WHERE judge_id = (SELECT min(judge_id) FROM preferences WHERE round = 1)"
    )[0]["share"]
    assert recipes[1]["label_smoothing"] == wrong, "the number that the exam measured"


def test_what_each_was_trained_on(folder: Path) -> None:
    run = open_run(folder)
    rows = run.store.query(
        "SELECT i.role, i.item_id, coalesce(p.kind, 'answer') AS kind FROM policy_items i JOIN policies USING "
        "(policy_id) LEFT JOIN preferences p ON p.pair_id = i.item_id WHERE policies.round = 1"
    )
    count = {role: len([r for r in rows if r["role"] == role]) for role in ("raft", "dpo", "dpo:heldout")}
    references = {r["item_id"].removeprefix("reference:") for r in rows if r["item_id"].startswith("reference:")}
    usable = run.store.query(
        "SELECT DISTINCT question_id FROM candidates JOIN verdicts USING (candidate_id) WHERE round = 1 "
        "AND finish_reason = 'stop' AND score > 0"
    )
    assert len(references) == 8 and count["raft"] == len({r["question_id"] for r in usable} | references) > 8
    kept = run.store.query("SELECT kind, count(*) AS n FROM preferences WHERE status = 'kept' GROUP BY kind")
    of_reference = {r["kind"]: r["n"] for r in kept}["reference"]
    assert 12 <= of_reference <= 16, "half of the 32 questions, without those none of whose answers ended"
    assert count["dpo"] + count["dpo:heldout"] == sum(r["n"] for r in kept) and count["dpo:heldout"] > 0
    shown = run.store.query("SELECT pairs_kept, pair_yield FROM round_summary WHERE round = 1")[0]
    assert shown["pairs_kept"] == {r["kind"]: r["n"] for r in kept}["judged"], "the yield is that of the judge's marks"
    outside = run.store.query(
        "SELECT 1 FROM preferences p JOIN questions q USING (question_id) WHERE p.kind = 'reference' "
        "AND q.split <> 'train' UNION ALL SELECT 1 FROM policy_items i JOIN questions q ON "
        "i.item_id = 'reference:' || q.question_id WHERE q.split <> 'train'"
    )
    assert outside == []
    detail = run.done(1, "dpo") or {}
    measured = run.store.query("SELECT step, value FROM train_log WHERE name = 'heldout/loss' ORDER BY step")
    assert detail["kept_step"] == min(measured, key=lambda r: (r["value"], r["step"]))["step"] <= detail["steps"]


def test_people_are_told(folder: Path) -> None:
    code, out, err = call("status", "--run", folder)
    assert code == 0 and "round 1" in out + err
    code, out, err = call("report", "--run", folder)
    assert code == 0, err
    assert "best of k" in (folder / "report.html").read_text("utf-8")
    raft = open_run(folder).store.query("SELECT policy_id FROM policies WHERE kind = 'raft'")[0]["policy_id"]
    code, out, err = call("compare", "champion", raft[:10], "--run", folder, "--benchmark", "medquad", "--limit", 4)
    assert code == 0, err
    assert "round 1 best of k" in out + err


def test_a_policy_that_dpo_started_from_is_pruned_with_the_round(folder: Path, tmp_path: Path) -> None:
    run = open_run(Path(shutil.copytree(folder, tmp_path / "run")))
    raft = next(p for p in policies(run) if p["kind"] == "raft")
    closed = run.store.query("SELECT decision FROM rounds WHERE round = 1")[0]["decision"]
    run.store.execute([("UPDATE rounds SET decision = NULL WHERE round = 1", [])])
    assert raft["policy_id"] not in {policy_id for policy_id, _ in admin.prune(run)}, "DPO has yet to start from it"
    run.store.execute([("UPDATE rounds SET decision = ? WHERE round = 1", [closed])])
    assert raft["policy_id"] in {policy_id for policy_id, _ in admin.prune(run)}
    assert not (run.policies / raft["policy_id"]).exists()
    champion = run.policy("champion")
    assert champion["path"] and (run.policies / champion["policy_id"]).is_dir()


def test_best_of_k_alone_is_a_challenger(tmp_path: Path) -> None:
    code, err = loop(tmp_path / "run", ALONE)
    assert code == 0, err
    run = open_run(tmp_path / "run")
    (raft,) = (p for p in policies(run) if p["round"] == 1)
    row = run.store.query("SELECT challenger, decision FROM rounds WHERE round = 1")[0]
    assert (row["challenger"], raft["kind"]) == (raft["policy_id"], "raft") and row["decision"]
    assert run.done(1, "dpo") is None and run.done(1, f"evaluate:medquad:{raft['policy_id']}") is not None
    options = ("--policy", raft["policy_id"], "--format", "adapter", "--run", run.folder, "--out", tmp_path / "out")
    code, _, err = call("export", *options)
    assert code == 0, err
    assert "after best-of-k fine-tuning in preference round 1" in (tmp_path / "out" / "README.md").read_text("utf-8")


def test_gains_add_up_over_rounds_that_could_not_be_told_from_the_champion(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Round 1 is made INCONCLUSIVE. Round 2 is killed after it began, and goes on with the same policy."""
    folder, real = tmp_path / "run", rounds.decide

    def undecided(*args: Any, **kwargs: Any) -> GateResult:
        found = real(*args, **kwargs)
        return dataclasses.replace(found, action="INCONCLUSIVE") if kwargs["look"].kind == "dpo" else found

    def stop(*_: Any, **__: Any) -> str:
        raise RlaifError("the light went out")

    monkeypatch.setattr(rounds, "decide", undecided)
    command = ["gate.after_inconclusive=challenger", "monitors.blocking=[]"]
    assert loop(folder, command)[0] == 0
    with monkeypatch.context() as patch:
        patch.setattr(stages, "dpo", stop)
        assert loop(folder, command, rounds=2)[0] == 1
    code, err = loop(folder, command, rounds=2)
    assert code == 0, err
    run = open_run(folder)
    first, second = run.store.query("SELECT champion_in, challenger FROM rounds WHERE round > 0 ORDER BY round")
    assert second["champion_in"] == first["champion_in"] != first["challenger"], "the champion stays"
    assert f"starts from            {first['challenger'][:8]}" in err
    answered = run.store.query("SELECT DISTINCT round, policy_id FROM candidates ORDER BY round")
    assert [r["policy_id"] for r in answered] == [first["champion_in"], first["challenger"]]
    made = run.policy(second["challenger"])
    assert made["parent_id"] == made["reference_id"] == first["challenger"]
    trained = run.store.query(
        "SELECT DISTINCT p.round FROM policy_items i JOIN preferences p ON p.pair_id = i.item_id WHERE policy_id = ?",
        [made["policy_id"]],
    )
    assert [r["round"] for r in trained] == [2], "on pairs of its own answers"
    met = run.store.query("SELECT DISTINCT champion, challenger FROM gates WHERE round = 2")
    assert met == [{"champion": first["champion_in"], "challenger": second["challenger"]}]
