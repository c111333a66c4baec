"""HealthBench beside the free text of a run: at the gate and sealed, never trained on, always with its grader's name.

The embedded base and data; the tiny judge labels, and a chat model on loopback judges by rubrics for the gate.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from command_line import call
from rlaif.testing.rubric_files import write_healthbench
from rubric_server import served
from stores.store import Store

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]

ROOT = Path(__file__).parents[1]
GRADER = "graded by openai:stub, prompt rubric ("
MARGIN = 0.9
SAYS_NOTHING_OF = "true of dry eyes"  # criteria with these words get no verdict


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    folder = tmp_path_factory.mktemp("healthbench")
    file = write_healthbench(folder / "hb.jsonl")
    with served(SAYS_NOTHING_OF, drawn=True) as address, pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("RLAIF_DATA", str(folder / "data"))
        keys: dict[str, Any] = {
            "data.healthbench": file, "evaluation.benchmarks": f"{{healthbench = {MARGIN}}}",
            "evaluation.judge": "stub", "evaluation.judge_base_url": address,
            "evaluation.judge_prompt": "prompts/judge/rubric.md",
            "judge.model": "local:embedded", "judge.require_licence": "false", "sampling.questions": 24,
        }  # fmt: skip
        asked = [part for key, value in keys.items() for part in ("--set", f"{key}={value}")]
        profile = ROOT / "tests" / "tiny.toml"
        code, _, err = call("loop", "--rounds", 1, "--run", folder / "run", "--profile", profile, *asked)
        assert code == 0, err
        assert GRADER in " ".join(err.split())
        yield folder / "run"


def told(*arguments: object) -> str:
    code, out, err = call(*arguments)
    assert code == 0, err
    return " ".join(out.split())


def test_its_items_are_divided_by_group_and_none_is_trained_on(run: Path) -> None:
    store = Store.open(run)
    rows = store.query("SELECT split, group_id, question_id FROM questions WHERE dataset = 'healthbench'")
    sides = {split: [r for r in rows if r["split"] == split] for split in ("gate", "sealed")}
    assert len(rows) == 30 and {r["split"] for r in rows} == set(sides)
    assert all(10 <= len(side) <= 20 for side in sides.values())
    assert not {r["group_id"] for r in sides["gate"]} & {r["group_id"] for r in sides["sealed"]}
    trained = store.query(
        "SELECT (SELECT count(*) FROM policy_items JOIN questions ON item_id = question_id WHERE dataset = "
        "'healthbench') + (SELECT count(*) FROM candidates JOIN questions USING (question_id) WHERE dataset = "
        "'healthbench') AS n"
    )
    assert trained == [{"n": 0}]
    assert store.query("SELECT count(*) AS n FROM candidates")[0]["n"] == 72
    labelled = store.query("SELECT DISTINCT model FROM verdicts JOIN judges USING (judge_id)")
    assert labelled == [{"model": "local:embedded"}]


def by_hand(store: Store, policy_id: str) -> list[float]:
    """The policy's scores on the gate's items, from the single criteria, as HealthBench's authors compute them."""
    rows = store.query(
        "SELECT q.question_id, c.weight, c.value FROM criterion_verdicts c JOIN questions q ON c.candidate_id = "
        "? || '/' || q.question_id WHERE q.dataset = 'healthbench' AND q.split = 'gate' AND c.value IS NOT NULL",
        [policy_id],
    )
    scores = []
    for question in {r["question_id"] for r in rows}:
        own = [r for r in rows if r["question_id"] == question]
        scores.append(sum(r["weight"] * r["value"] for r in own) / sum(r["weight"] for r in own if r["weight"] > 0))
    return scores


def test_the_gate_holds_its_margin_against_the_published_arithmetic(run: Path) -> None:
    store = Store.open(run)
    rows = store.query("SELECT * FROM gates WHERE benchmark = 'healthbench' AND delta IS NOT NULL ORDER BY round")
    assert [(r["round"], r["condition"], r["metric"]) for r in rows] == [
        (round, "not_worse", "healthbench quality") for round in (0, 1)
    ]
    for row in rows:
        assert row["threshold"] == -MARGIN and GRADER in row["detail"]
        for who in ("champion", "challenger"):
            scores = by_hand(store, row[who])
            assert row["n"] == len(scores) > 10
            assert row[f"{who}_mean"] == pytest.approx(fmean(scores), abs=1e-9)
            assert len(set(scores)) > 3 and min(scores) < 0 < max(scores), "not clipped"
    reasons = store.query("SELECT reason FROM decisions WHERE kind = 'gate'")
    assert all(f"healthbench {GRADER}" in r["reason"] for r in reasons)


def test_a_criterion_without_a_verdict_has_no_value_and_a_reason(run: Path) -> None:
    rows = Store.open(run).query(
        "SELECT value, reason, status FROM criterion_verdicts WHERE contains(criterion, ?)", [SAYS_NOTHING_OF]
    )
    assert rows and all(r["value"] is None and r["reason"] and r["status"] == "unparsed" for r in rows)


def test_every_command_shows_it_with_the_graders_name(run: Path) -> None:
    code, out, err = call("gate", "explain", "--round", 1, "--run", run, "--format", "json")
    assert code == 0, err
    explained = [c["words"] for c in json.loads(out)["conditions"] if c["metric"] == "healthbench quality"]
    assert len(explained) == 1 and "allowed down to -0.9000" in explained[0] and GRADER in explained[0]
    shown = told("status", "--run", run)
    assert f"healthbench quality: {GRADER}" in shown
    assert json.loads(call("status", "--run", run, "--format", "json")[1])["graders"][0]["model"] == "openai:stub"
    told("report", "--run", run)
    page = (run / "report.html").read_text()
    assert "HealthBench" in page and "openai:stub, rubric (" in page and GRADER in page
    rows = json.loads(
        call(
            "sql", "SELECT benchmark, metric, mean FROM leaderboard WHERE benchmark = 'healthbench'", "--run", run,
            "--format", "json",
        )[1]
    )  # fmt: skip
    assert ("healthbench", "quality") in {(r["benchmark"], r["metric"]) for r in rows}


def test_evaluate_names_the_grader_and_clips_the_mean(run: Path) -> None:
    code, out, err = call(
        "evaluate", "--benchmark", "healthbench", "--run", run, "--policy", "base", "--quality", "--format", "json"
    )
    assert code == 0, err
    found = json.loads(out)
    scores = by_hand(Store.open(run), found["policy"])
    assert found["rubric"]["judge"]["model"] == "openai:stub"
    assert found["rubric"]["figures"][0]["mean"] == pytest.approx(max(0.0, fmean(scores)), abs=1e-9)


def test_the_sealed_test_names_the_grader(run: Path) -> None:
    store = Store.open(run)
    # The other benchmarks' 1,100 sealed items would take minutes.
    store.execute([("DELETE FROM questions WHERE split = 'sealed' AND dataset <> 'healthbench'", [])])
    assert GRADER in told("test", "--yes", "--run", run)
    (result,) = store.query("SELECT reason, evidence FROM decisions WHERE action = 'RESULT'")
    rows = json.loads(result["evidence"])["rows"]
    assert [(r["benchmark"], r["metric"]) for r in rows] == [("healthbench", "quality")]
    assert rows[0]["grader"].startswith(GRADER) and rows[0]["n"] + rows[0]["unscored"] >= 10
    assert f"healthbench quality (n={rows[0]['n']}, {GRADER}" in result["reason"]
    told("report", "--run", run)
    assert GRADER in (run / "report.html").read_text().partition("Sealed test")[2]
