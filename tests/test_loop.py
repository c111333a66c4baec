"""One tiny embedded run from start to end, in this process: what the database and the folder hold afterwards, and
`evaluate` on it.
"""

from __future__ import annotations

import json
import shutil
import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from command_line import call
from judges.scripted import ScriptedJudge
from notebooks import EXAMPLES, printed, ran, shown
from rlaif.config import flat
from rlaif.config_file import load_config, to_toml
from rlaif.evals.stored import results
from rlaif.prompts import load_prompt
from rlaif.run import open_run
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]

TINY = Path(__file__).parent / "tiny.toml"
FILLED = """
    runs sessions rounds stages policies policy_items questions prompts candidates
    judges verdicts preferences eval_items gates monitors decisions train_log
""".split()


TRACKED = ['train.report_to=["tensorboard"]'] if find_spec("tensorboard") else []


def loop(folder: Path, rounds: int) -> str:
    trackers = [part for setting in TRACKED for part in ("--set", setting)]
    code, out, err = call("loop", "--rounds", rounds, "--run", folder, "--profile", TINY, *trackers)
    assert code == 0, err
    assert out == "", "progress goes to stderr"
    return err


def tables(folder: Path) -> dict[str, list[dict[str, Any]]]:
    store = Store.open(folder)
    names = [r["table_name"] for r in store.query("SELECT table_name FROM duckdb_tables()")]
    return {name: store.query(f'SELECT * FROM "{name}" ORDER BY ALL') for name in names}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, torch_threads: None) -> Path:
    """A finished run of one round. Tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("loop") / "run"
    loop(folder, 1)
    return folder


@pytest.fixture
def query(run: Path) -> Any:
    return Store.open(run).query


def test_the_notebook_of_the_tour_shows_the_run_and_changes_nothing(run: Path, tmp_path: Path) -> None:
    before = (run / "rlaif.duckdb").read_bytes()
    tour = ran(EXAMPLES / "tour.ipynb", tmp_path, RLAIF_RUN=str(run))
    (charts,) = [html for html in shown(tour, "text/html") if "<svg" in html]
    assert charts.count("<svg") > 9 and "gain in token F1" in charts
    said = printed(tour)
    assert all(
        words in said for words in ("  chosen   ", "  rejected ", "base  ", "champion  ", "a0 ", "3 of 3 key points")
    )
    assert any(f"\n{action}\n" in said for action in ("PROMOTE", "REJECT", "INCONCLUSIVE"))
    assert (run / "rlaif.duckdb").read_bytes() == before


@pytest.mark.skipif(not TRACKED, reason="needs tensorboard, of the extra test")
def test_tensorboard_has_the_curves_and_the_decisions(run: Path, query: Any) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run / "trackers"), size_guidance={"scalars": 0})
    events.Reload()
    losses = query(
        "SELECT l.value, p.kind FROM train_log l JOIN policies p USING (policy_id) WHERE name = 'loss' "
        "ORDER BY p.round, step"
    )
    for kind in ("sft", "dpo"):
        logged = [event.value for event in events.Scalars(f"{kind}/loss")]
        assert logged == pytest.approx([row["value"] for row in losses if row["kind"] == kind], rel=1e-6)
    assert [event.step for event in events.Scalars("dpo/loss")][-1] == len(losses), "one axis for all trainings"
    promoted = [row["decision"] == "PROMOTE" for row in query("SELECT decision FROM rounds ORDER BY round")]
    assert [bool(event.value) for event in events.Scalars("round/promoted")] == promoted
    (kept,) = query("SELECT count(*) AS n FROM preferences WHERE status = 'kept'")
    assert [event.value for event in events.Scalars("round/kept")] == [kept["n"]]
    deltas = query("SELECT delta FROM gates WHERE condition = 'better' AND metric = 'token_f1' ORDER BY round")
    tag = next(tag for tag in events.Tags()["scalars"] if tag.endswith("/token_f1/better/delta"))
    assert [event.value for event in events.Scalars(tag)] == pytest.approx([row["delta"] for row in deltas], abs=1e-6)
    assert (run / "report.html").is_file()


def test_a_tracker_that_is_not_there_is_refused_before_anything_runs(tmp_path: Path) -> None:
    for command in ("loop", "train"):
        more = ["--set", 'train.report_to=["tensorbord"]', "--run", tmp_path / "run"]
        code, out, err = call(command, *more)
        assert (code, out) == (2, "") and err.startswith("error: train.report_to: no tracker 'tensorbord'; there are: ")
        assert len(err.splitlines()) == 1 and not (tmp_path / "run").exists()


@pytest.mark.parametrize("table", FILLED)
def test_the_tables_are_filled(query: Any, table: str) -> None:
    assert query(f'SELECT count(*) AS n FROM "{table}"')[0]["n"] > 0


def test_every_stage_is_done(query: Any) -> None:
    stages = query("SELECT * FROM stages ORDER BY started_at")
    names = [(s["round"], s["stage"].split(":")[0]) for s in stages]
    first = [(0, n) for n in ("prepare", "exam", "sft", "evaluate", "evaluate", "evaluate", "evaluate", "gate")]
    assert names == first + [
        (1, n) for n in ("sample", "judge", "pairs", "dpo", "evaluate", "evaluate", *2 * ["labelled"], "gate")
    ]
    for stage in stages:
        assert stage["status"] == "done" and stage["started_at"] <= stage["finished_at"] and stage["peak_memory_mb"] > 0
        assert 0 <= stage["model_seconds"] <= stage["seconds"], stage["stage"]
    assert all(
        s["model_seconds"] > 0
        for s in stages
        if s["stage"].split(":")[0] in ("sft", "dpo", "sample", "judge", "evaluate")
    )


def test_the_session_says_how_it_ended(query: Any) -> None:
    (session,) = query("SELECT * FROM sessions")
    assert session["exit_code"] == 0 and session["started_at"] < session["ended_at"]
    assert session["argv"][0] == "loop" and {"python", "torch", "trl"} <= json.loads(session["versions"]).keys()


def test_rounds_ask_about_topics_that_sft_has_not_seen(query: Any) -> None:
    seen = query(
        "SELECT DISTINCT group_id FROM questions JOIN policy_items ON item_id = question_id "
        "WHERE role = 'sft' AND label = ''"
    )
    asked = query("SELECT DISTINCT group_id FROM questions JOIN candidates USING (question_id)")
    both = {row["group_id"] for row in seen} & {row["group_id"] for row in asked}
    assert len(seen) > 10 and len(asked) > 10 and len(both) <= 1, "SFT may have a part of its last topic"


def test_the_policies_and_what_trained_them(query: Any) -> None:
    policies = {p["kind"]: p for p in query("SELECT * FROM policies")}
    base, sft, dpo = policies["base"], policies["sft"], policies["dpo"]
    champion = query("SELECT champion_out FROM rounds WHERE round = 0")[0]["champion_out"]
    assert (base["parent_id"], base["reference_id"]) == (None, None)
    assert (sft["parent_id"], sft["reference_id"]) == (base["policy_id"], None)
    assert (dpo["parent_id"], dpo["reference_id"]) == (champion, champion), (
        "the reference is recorded, and is the champion of the round"
    )
    assert len({p["sha256"] for p in policies.values()}) == 3 and {p["base_sha256"] for p in policies.values()} == {
        base["sha256"]
    }
    assert all(json.loads(p["recipe"]) for p in policies.values())
    roles = query("SELECT policy_id, role, count(*) AS n FROM policy_items GROUP BY ALL")
    kept = query("SELECT count(*) AS n FROM preferences WHERE status = 'kept'")[0]["n"]
    assert {(r["policy_id"], r["role"], r["n"]) for r in roles} == {
        (sft["policy_id"], "sft", 144),
        (dpo["policy_id"], "dpo", kept),
    }
    strangers = query(
        "SELECT item_id FROM policy_items WHERE role = 'sft' AND item_id NOT IN (SELECT question_id FROM "
        "questions WHERE split = 'train') "
        "UNION ALL SELECT item_id FROM policy_items "
        "WHERE role = 'dpo' AND item_id NOT IN (SELECT pair_id FROM preferences WHERE status = 'kept')"
    )
    assert strangers == []


def test_the_policy_folders_hold_one_adapter_each(query: Any, run: Path) -> None:
    policies = query("SELECT policy_id, path FROM policies WHERE kind <> 'base'")
    assert sorted(p.name for p in (run / "policies").iterdir()) == sorted(p["policy_id"] for p in policies)
    for policy in policies:
        assert policy["path"] == f"policies/{policy['policy_id']}", "relative to the run, so that a run can be moved"
        assert sorted(p.name for p in (run / policy["path"]).iterdir()) == [
            "adapter_config.json",
            "adapter_model.safetensors",
        ]
    trackers = ["trackers"] if TRACKED else []
    expected = ["config.toml", "loop.lock", "policies", "rlaif.duckdb", *trackers]
    made = sorted(p.name for p in run.iterdir() if p.name != "report.html")  # what a tracker is sent
    assert made == expected


def test_candidates_and_verdicts_are_complete(query: Any) -> None:
    per_question = query(
        "SELECT question_id, list_sort(list(sample_index)) AS samples FROM candidates GROUP BY question_id"
    )
    assert len(per_question) == 32 and all(r["samples"] == [0, 1, 2] for r in per_question)
    assert (
        query("SELECT count(*) AS n FROM candidates JOIN questions USING (question_id) WHERE split <> 'train'")[0]["n"]
        == 0
    )
    verdicts = query("SELECT v.*, c.round FROM candidates c LEFT JOIN verdicts v USING (candidate_id)")
    assert len(verdicts) == 96 and all(
        v["status"] == "scored" and 0 <= v["score"] <= 1 and v["rationale"] for v in verdicts
    )
    assert {v["judge_id"] for v in verdicts} == {j["judge_id"] for j in query("SELECT judge_id FROM judges")}


def test_every_question_has_a_pair_or_a_reason(query: Any) -> None:
    preferences = query("SELECT * FROM preferences")
    asked = query("SELECT DISTINCT question_id FROM candidates ORDER BY question_id")
    assert sorted(p["question_id"] for p in preferences) == [r["question_id"] for r in asked]
    dropped = [p for p in preferences if p["status"] == "dropped"]
    kept = [p for p in preferences if p["status"] == "kept"]
    assert all(p["reason"].split(":")[0].replace("_", "").isalpha() for p in dropped)
    assert kept and all(p["chosen_score"] > p["rejected_score"] for p in kept)
    assert len(query("SELECT * FROM preference_pairs")) == len(kept)


def test_the_gate_compared_the_same_items(query: Any) -> None:
    counts = query("SELECT policy_id, benchmark, metric, count(DISTINCT item_id) AS n FROM eval_items GROUP BY ALL")
    counts = [c for c in counts if c["metric"] != "labelling_quality"]
    expected = {("medquad_style", metric) for metric in ("token_f1", "rouge_l", "consistency")}
    expected |= {("pubmedqa_style", "accuracy")}
    policies = {p["policy_id"] for p in query("SELECT policy_id FROM policies")}
    assert {(c["policy_id"], c["benchmark"], c["metric"], c["n"]) for c in counts} == {
        (p, b, m, 24) for p in policies for b, m in expected
    }
    assert len(query("SELECT DISTINCT item_id FROM eval_items WHERE metric IN ('token_f1', 'accuracy')")) == 48
    assert query("SELECT DISTINCT q.split FROM eval_items e JOIN questions q ON q.question_id = e.item_id") == [
        {"split": "gate"}
    ]


def test_the_decisions_explain_each_round(query: Any) -> None:
    rounds = query("SELECT * FROM rounds ORDER BY round")
    assert [r["round"] for r in rounds] == [0, 1]
    for round in rounds:
        (decision,) = query("SELECT * FROM decisions WHERE round = ? AND kind = 'gate'", [round["round"]])
        evidence = json.loads(decision["evidence"])
        assert decision["action"] == round["decision"] in ("PROMOTE", "REJECT", "INCONCLUSIVE")
        winner = round["challenger"] if round["decision"] == "PROMOTE" else round["champion_in"]
        assert round["champion_out"] == winner == evidence["policy_id"]
        assert "token_f1" in decision["reason"] and 0 < evidence["alpha"] < 1, "tests/tiny.toml leaves less than 1"
        gates = query("SELECT * FROM gates WHERE round = ?", [round["round"]])
        assert {(g["champion"], g["challenger"]) for g in gates} == {(round["champion_in"], round["challenger"])}
        assert {g["metric"] for g in gates} >= {"accuracy", "macro_f1", "token_f1"} and all(
            g["passed"] is not None for g in gates
        )
    assert rounds[1]["champion_in"] == rounds[0]["champion_out"]


def test_each_dpo_round_is_monitored_and_the_controller_acts(query: Any) -> None:
    found = {m["name"]: m for m in query("SELECT * FROM monitors WHERE round > 0")}
    assert {m["round"] for m in found.values()} == {1} and len(found) == 12
    assert found["kl_to_sft"]["value"] in (0.0, None), (
        "round 1 samples the SFT policy, or the base where that was not promoted"
    )
    assert found["judge_up"]["value"] is not None and found["pair_yield"]["value"] == 1.0
    of_round = "SELECT * FROM decisions WHERE kind = 'monitor' AND round = 1 ORDER BY seq"
    red = [d["action"] for d in query(of_round)]
    assert sorted(red) == sorted(m["name"] for m in found.values() if m["red"])
    (action,) = query("SELECT * FROM decisions WHERE kind = 'controller'")
    assert action["round"] == 1 and bool(red) == (action["action"] != "continue")
    guards = query("SELECT metric, passed FROM gates WHERE round = 1 AND condition = 'guard'")
    assert {g["metric"] for g in guards} == {m["name"] for m in found.values() if m["value"] is not None}


def test_sft_has_monitors_of_its_own(query: Any) -> None:
    found = {m["name"]: m for m in query("SELECT * FROM monitors WHERE round = 0")}
    assert found.keys() == {"loss_jump", "one_label"} and all(m["value"] is not None for m in found.values())
    red = query("SELECT action FROM decisions WHERE kind = 'monitor' AND round = 0")
    assert {d["action"] for d in red} == {m["name"] for m in found.values() if m["red"]}


def test_the_training_log_has_every_step(query: Any) -> None:
    for kind, stage, extra in (
        ("sft", "sft", {"loss/answer", "loss/label"}),
        ("dpo", "dpo", {"rewards/margins", "logps/chosen"}),
    ):
        steps = json.loads(query("SELECT detail FROM stages WHERE stage = ?", [stage])[0]["detail"])["steps"]
        log = query(
            "SELECT t.* FROM train_log t JOIN policies p USING (policy_id) WHERE p.kind = ? ORDER BY step", [kind]
        )
        assert sorted({r["step"] for r in log}) == list(range(1, steps + 1))
        assert {"loss", "learning_rate", "grad_norm"} | extra <= {r["name"] for r in log}


def test_config_toml_is_the_resolved_configuration(query: Any, run: Path) -> None:
    text = (run / "config.toml").read_text("utf-8")
    assert text == to_toml(load_config(str(TINY), TRACKED))
    assert tomllib.loads(text)["dpo"]["beta"] == 0.1, "defaults are written out"
    assert load_config(str(run / "config.toml")).config_hash == query("SELECT config_hash FROM runs")[0]["config_hash"]


def test_the_same_command_again_changes_nothing(run: Path) -> None:
    before = tables(run)
    said = loop(run, 1)
    assert tables(run) == before
    assert "Policies on the gate's items" in said and "champion" in said


def test_a_larger_number_of_rounds_goes_on(run: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    shutil.copytree(run, moved)
    before = tables(moved)
    loop(moved, 2)
    after = tables(moved)
    for table in before:
        grown = [r for r in after[table] if r not in before[table]] if table != "questions" else []
        assert [r for r in after[table] if r not in grown] == before[table], f"{table}: what was there has changed"
        new = {
            "sessions",
            "rounds",
            "stages",
            "policies",
            "policy_items",
            "candidates",
            "verdicts",
            "preferences",
            "eval_items",
            "gates",
        }
        assert bool(grown) == (table in new | {"decisions", "monitors", "train_log"}), table
    # Round 2 used what the controller set after round 1, and nothing else has changed.
    (action,) = [d for d in before["decisions"] if d["kind"] == "controller"]
    settings = flat(load_config(str(TINY))) | json.loads(action["evidence"])["settings"]
    recipes = {p["round"]: json.loads(p["recipe"]) for p in after["policies"] if p["kind"] == "dpo"}
    assert (recipes[2]["sft_weight"], recipes[2]["learning_rate"]) == (
        settings["dpo.sft_weight"],
        settings["dpo.learning_rate"],
    )
    assert max(c["sample_index"] for c in after["candidates"] if c["round"] == 2) == settings["sampling.k"] - 1
    assert (recipes[1] == recipes[2]) == (
        action["action"] not in ("add_nll_weight", "lower_learning_rate", "more_epochs")
    )
    stages = {s["stage"] for s in after["stages"] if s["round"] == 2}
    assert "drift" in stages, (
        "no later champion comes from an SFT policy, so that the stage is never run: take other settings in tiny.toml"
    )
    last = after["rounds"][-1]
    assert last["round"] == 2 and last["champion_in"] == before["rounds"][-1]["champion_out"]
    used = {q for (q,) in ((c["question_id"],) for c in before["candidates"])}
    assert not used & {c["question_id"] for c in after["candidates"] if c["round"] == 2}, "fresh questions first"


def test_another_configuration_is_refused(run: Path) -> None:
    before = tables(run)
    code, out, err = call("loop", "--rounds", 2, "--run", run, "--profile", TINY, "--set", "seed=1")
    assert (code, out) == (2, "") and len(err.splitlines()) == 1 and "seed: 6 there, 1 now" in err
    assert tables(run) == before


def evaluated(*arguments: object) -> dict[str, Any]:
    code, out, err = call("evaluate", *arguments, "--format", "json")
    assert code == 0, err
    result: dict[str, Any] = json.loads(out)
    assert {"policy", "benchmark", "split", "n", "metrics", "items"} <= result.keys()
    assert result["n"] == len(result["items"])
    for item in result["items"]:
        assert {"item_id", "prediction", "target", "value"} <= item.keys() and 0 <= item["value"] <= 1
    return result


@pytest.fixture
def copy(run: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(run, tmp_path / "copy"))


@pytest.mark.parametrize(
    ("benchmark", "policy", "metrics", "main"),
    [
        ("pubmedqa", "champion", {"accuracy", "macro_f1", "unparsed", "confusion.yes.no"}, "accuracy"),
        (
            "medquad",
            "base",
            {"token_f1", "rouge_l", "bleu", "loss", "perplexity", "labelling_quality", "labelling_quality.low"},
            "token_f1",
        ),
    ],
)
def test_evaluate_prints_the_contract(copy: Path, benchmark: str, policy: str, metrics: set[str], main: str) -> None:
    result = evaluated("--policy", policy, "--benchmark", benchmark, "--run", copy, "--limit", 6)
    assert (result["benchmark"], result["split"], result["n"]) == (f"{benchmark}_style", "gate", 6)
    assert result["metrics"].keys() >= metrics
    assert result["metrics"][main] == pytest.approx(sum(i["value"] for i in result["items"]) / 6)
    store = Store.open(copy)
    where = {
        "base": "policy_id AS p FROM policies WHERE kind = 'base'",
        "champion": "champion_out AS p FROM rounds ORDER BY round DESC",
    }
    assert result["policy"] == store.query(f"SELECT {where[policy]}")[0]["p"]
    stored = {
        r["item_id"]: r["value"]
        for r in store.query(
            "SELECT item_id, value FROM eval_items WHERE policy_id = ? AND metric = ?", [result["policy"], main]
        )
    }
    # Other items stand beside them in a batch here than in the loop, so only the greedy choice has to be the same, not
    # every bit.
    agree = [abs(stored[i["item_id"]] - i["value"]) < 0.5 for i in result["items"]]
    assert sum(agree) >= 5


def test_generated_answers_never_meet_the_gates_own(copy: Path) -> None:
    policy, before = (
        Store.open(copy).query("SELECT champion_out AS p FROM rounds ORDER BY round DESC")[0]["p"],
        tables(copy),
    )
    opened = open_run(copy)
    prompt = load_prompt(opened.config.prompts.policy)
    gated = results(opened, policy, prompt)
    same_items = ["--policy", policy, "--benchmark", "pubmedqa", "--limit", len(gated.accuracy.values), "--run", copy]
    for template in ("raw", "chat"):
        result = evaluated(*same_items, "--mode", "generate", "--template", template)
        assert {i["prediction"] for i in result["items"]} <= {"yes", "no", "maybe", "unparsed"}
        assert result["metrics"]["unparsed"] == sum(i["prediction"] == "unparsed" for i in result["items"])
        assert sum(n for name, n in result["metrics"].items() if name.startswith("confusion.")) == result["n"]
    grown = [r for r in tables(copy)["eval_items"] if r not in before["eval_items"]]
    assert len(grown) == 2 * len(gated.accuracy.values)
    assert len({r["protocol_hash"] for r in grown}) == 2
    assert {r["data_sha256"] for r in grown} == {gated.accuracy.data_sha256}, "the same items as the gate's"
    assert results(open_run(copy), policy, prompt) == gated


def test_evaluate_on_multiple_choice(copy: Path, tmp_path: Path) -> None:
    file = tmp_path / "medqa.jsonl"
    options = {"A": "Rest", "B": "An operation", "C": "Sport", "D": "Nothing at all"}
    rows = [
        {"question": f"What helps in case {i}?", "options": options, "answer_idx": "ABCD"[i % 4], "split": "test"}
        for i in range(5)
    ]
    steps = ["step1", "step2&3", "step1", "step1", "step1"]
    file.write_text(
        "".join(json.dumps(row | {"meta_info": step}) + "\n" for row, step in zip(rows, steps, strict=True))
    )
    result = evaluated("--policy", "base", "--benchmark", "medqa", "--data", file, "--run", copy)
    assert (result["benchmark"], result["split"], result["n"]) == ("medqa", "file", 5)
    means = {name for name in result["metrics"] if not name.endswith((".low", ".high"))}
    assert means == {"accuracy", "cloze_acc", "cloze_acc_norm"} and "accuracy.low" in result["metrics"]
    assert {kind: means["n"] for kind, means in result["by_type"].items()} == {"step1": 4, "step2&3": 1}
    assert [i["value"] for i in result["items"]] == [float(i["prediction"] == i["target"]) for i in result["items"]]
    code, out, err = call("evaluate", "--benchmark", "medqa", "--data", file, "--split", "dev", "--run", copy)
    assert (code, out) == (2, "") and "no dev items of medqa" in err


def test_evaluate_a_file_the_run_has_never_seen(copy: Path, tmp_path: Path) -> None:
    labels = ["yes", "no", "maybe", "yes", "no"]
    rows = [
        {
            "pubid": 900 + i,
            "question": f"Does treatment {i} shorten the stay in hospital?",
            "context": {
                "contexts": [
                    f"We compared {40 + i} patients with as many controls.",
                    f"The stay was {i} days shorter with treatment {i}.",
                ],
                "labels": ["METHODS", "RESULTS"],
                "meshes": ["Humans"],
            },
            "long_answer": "Perhaps it does.",
            "final_decision": label,
        }
        for i, label in enumerate(labels)
    ]
    file = tmp_path / "unseen.parquet"
    pq.write_table(pa.Table.from_pylist(rows), file)
    before = tables(copy)
    result = evaluated("--policy", "champion", "--benchmark", "pubmedqa", "--data", file, "--run", copy)
    assert (result["benchmark"], result["n"]) == ("pubmedqa", 5), "a file from outside is not called a style set"
    by_id = {i["source_id"]: i for i in result["items"]}
    assert {k: i["target"] for k, i in by_id.items()} == {str(900 + i): label for i, label in enumerate(labels)}
    assert all(
        i["prediction"] in ("yes", "no", "maybe") and i["value"] == float(i["prediction"] == i["target"])
        for i in by_id.values()
    )
    assert result["metrics"]["accuracy"] == sum(i["value"] for i in by_id.values()) / 5
    after = tables(copy)
    assert {t for t in after if after[t] != before[t]} == {"eval_items"}
    assert len(after["eval_items"]) == len(before["eval_items"]) + 5
    # ... and the gate must not take them for its own.
    assert {r["split"] for r in after["eval_items"] if r not in before["eval_items"]} != {"gate"}


def test_evaluate_has_the_answers_to_a_file_judged(copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a judge that fails on one of them: mean and interval are of the others, by kind of question too."""
    file = tmp_path / "unseen.csv"
    kinds = ["symptoms", "symptoms", "symptoms", "treatment"]
    rows = [
        f"{kind},Fever {i},What about fever {i}?,Rest and plenty of water help against fever {i}."
        for i, kind in enumerate(kinds)
    ]
    file.write_text("qtype,focus,question,answer\n" + "\n".join(rows), "utf-8")
    failed: list[str] = []
    judge = ScriptedJudge(lambda item: 0.25 if "0" in item.question else 0.75, failed)
    monkeypatch.setattr("rlaif.evals.quality.make_judge", lambda *_: judge)
    same = ("--policy", "champion", "--benchmark", "medquad", "--data", file, "--run", copy)
    unasked = evaluated(*same)
    assert "judge" not in unasked and not any("quality" in name for name in unasked["metrics"]), (
        "only reference is known to cost nothing"
    )
    failed += [f"{unasked['policy']}/{i['item_id']}" for i in unasked["items"] if "fever 3" in i["target"]]
    result = evaluated(*same, "--quality")
    found = result["metrics"]
    assert (
        found["labelling_quality"] == pytest.approx((0.25 + 0.75 + 0.75) / 3)
        and found["labelling_quality.unscored"] == 1
    )
    assert found["labelling_quality.low"] < found["labelling_quality"] < found["labelling_quality.high"]
    assert result["by_type"]["symptoms"]["labelling_quality"] == found["labelling_quality"]
    assert (
        "labelling_quality" not in result["by_type"]["treatment"]
        and result["by_type"]["treatment"]["labelling_quality.unscored"] == 1
    )
    assert result["judge"] == {
        "metric": "labelling_quality",
        "model": judge.identity.model,
        "judge_id": judge.identity.judge_id,
        "labels": True,
        "passed_exam": None,
    }
    kept = Store.open(copy).query(
        "SELECT value, reason FROM eval_items WHERE metric = 'labelling_quality' AND status <> 'scored'"
    )
    assert kept == [{"value": None, "reason": "failed: scripted failure"}]
