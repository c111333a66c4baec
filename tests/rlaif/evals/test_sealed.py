"""The sealed test as an event: who may open it, what is recorded, and what marks a run for ever. No model is loaded."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from rlaif.config_file import load_config
from rlaif.evals import sealed
from rlaif.evals.evaluate import benchmark_questions
from rlaif.evals.sealed_test import compare, contenders, in_words, sealed_questions
from rlaif.report import status
from rlaif.report.snapshot import take
from rlaif.run import Run, open_or_create
from rlaif.screen import Screen
from rlaif.types import Decision, EvalItem, Question, UsageError

POLICIES = {"base": "aaaa", "SFT": "bbbb", "champion": "cccc"}
ROWS = [
    {
        "benchmark": "medquad_style",
        "metric": "token_f1",
        "n": 4,
        "groups": 2,
        "unscored": 1,
        "means": {"base": 0.5, "SFT": 0.6, "champion": 0.7},
        "differences": {"champion - base": {"delta": 0.2, "ci_low": 0.1, "ci_high": 0.3}, "champion - SFT": None},
    }
]


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Two decided rounds; the challenger of the second is champion."""
    run = open_or_create(tmp_path / "run", load_config())
    kinds = {"aaaa": "base", "bbbb": "sft", "cccc": "dpo"}
    run.store.write(
        {
            "policies": [{"policy_id": p, "kind": kind, "round": int(p == "cccc")} for p, kind in kinds.items()],
            "rounds": [
                {"round": r, "champion_in": "aaaa", "challenger": c, "decision": "PROMOTE"}
                for r, c in enumerate(("bbbb", "cccc"))
            ],
            "decisions": [
                Decision(r, "gate", "PROMOTE", "better", {"policy_id": c}) for r, c in enumerate(("bbbb", "cccc"))
            ],
        }
    )
    return run


def opened(run: Run) -> sealed.Opening:
    return sealed.record_opening(
        run, f"session{len(run.store.query('FROM sealed_tests'))}", contenders(run), {"medquad": 4}
    )


def concluded(run: Run, number: int = 1) -> None:
    run.decide(
        Decision(1, sealed.KIND, "RESULT", in_words(ROWS), {"opening": number, "policies": POLICIES, "rows": ROWS})
    )


def marks(run: Run) -> list[str]:
    seen = take(run.store)
    return sealed.marks(seen.sealed, seen.decisions, seen.rounds, run.champion())


def shown(run: Run) -> str:
    out = io.StringIO()
    status.show(run, Screen(Console(file=out, width=80)))
    return out.getvalue()


def test_an_opening_is_on_record_everywhere(run: Run) -> None:
    assert sealed.last_opening(run) is None and sealed.may_open(run, False) is None and marks(run) == []
    opening = opened(run)
    assert (opening.number, opening.round, opening.policies, opening.unfinished) == (1, 1, POLICIES, True)
    assert run.store.query("SELECT sealed_opened_at_round AS r FROM runs") == [{"r": 1}]
    assert run.store.query("SELECT session_id, round, policies FROM sealed_tests") == [
        {"session_id": "session0", "round": 1, "policies": ["aaaa", "bbbb", "cccc"]}
    ]
    (decision,) = run.store.query("SELECT * FROM decisions WHERE kind = 'sealed'")
    assert (decision["seq"], decision["action"], decision["round"]) == (3, "OPENED", 1)
    assert "4 medquad items" in decision["reason"] and json.loads(decision["evidence"])["policies"] == POLICIES


def test_an_unfinished_opening_goes_on(run: Run) -> None:
    opened(run)
    assert "not finished: go on with rlaif test" in marks(run)[0]
    again = sealed.may_open(run, False)
    assert again is not None and (again.number, again.limit) == (1, 0)
    concluded(run)
    done = sealed.last_opening(run)
    assert done is not None and not done.unfinished and done.rows == ROWS and marks(run) == []


def test_a_part_that_an_older_version_opened_goes_on_as_that_part(run: Run) -> None:
    opened(run)
    evidence = {"opening": 1, "policies": POLICIES, "limit": 7}
    run.store.execute([("UPDATE decisions SET evidence = ? WHERE kind = 'sealed'", [json.dumps(evidence)])])
    again = sealed.may_open(run, False)
    assert again is not None and again.limit == 7


def test_a_second_opening_has_to_be_forced_and_marks_the_run(run: Run) -> None:
    opened(run)
    concluded(run)
    with pytest.raises(UsageError, match="opened already .* after round 1.*--force"):
        sealed.may_open(run, False)
    assert sealed.may_open(run, True) is None
    assert opened(run).number == 2
    concluded(run, 2)
    actions = run.store.query("SELECT action, reason FROM decisions WHERE kind = 'sealed' ORDER BY seq")
    assert [a["action"] for a in actions] == [
        "OPENED",
        "RESULT",
        "REOPENED",
        "RESULT",
    ] and "opening 2, forced" in actions[2]["reason"]
    assert marks(run) == ["the sealed test was opened 2 times: only the first result is an honest one"]
    assert marks(run)[0] in shown(run)


def test_an_opening_from_before_the_command_counts(run: Run) -> None:
    run.store.write({"sealed_tests": [{"session_id": "old", "round": 1, "policies": ["cccc"]}]})
    with pytest.raises(UsageError, match="--force"):
        sealed.may_open(run, False)
    assert opened(run).number == 2


def test_further_rounds_are_refused_or_marked_once(run: Run) -> None:
    assert sealed.goes_on_after(run, 9, allowed=False) is None  # still sealed
    opened(run)
    concluded(run)
    assert sealed.goes_on_after(run, 1, allowed=False) is None  # nothing to do
    with pytest.raises(UsageError, match="after round 1.*--after-sealed-test"):
        sealed.goes_on_after(run, 2, allowed=False)
    assert marks(run) == []
    for _ in range(2):  # a killed loop is started again with the same command
        opening = sealed.goes_on_after(run, 3, allowed=True)
        assert opening is not None
        sealed.record_going_on(run, opening, 3)
    assert [d["action"] for d in run.store.query("SELECT action FROM decisions WHERE kind = 'sealed' ORDER BY seq")][
        2:
    ] == ["WENT_ON"]
    assert marks(run) == [
        "the loop went on after the sealed test was opened at round 1: later champions have no untouched test"
    ]
    assert marks(run)[0] in shown(run)


def test_another_champion_than_the_tested_one_is_said(run: Run) -> None:
    opened(run)
    concluded(run)
    run.decide(Decision(1, "manual", "PROMOTE", "I like it", {"policy_id": "bbbb"}))
    assert marks(run) == ["the champion is not the one of the sealed test (cccc)"]


def test_nothing_is_opened_before_sft_or_within_a_round(run: Run) -> None:
    run.store.write({"rounds": [{"round": 2, "champion_in": "cccc"}]})
    with pytest.raises(UsageError, match="round 2 is not finished.*loop --rounds 2"):
        opened(run)
    run.store.execute([("DELETE FROM rounds", [])])
    with pytest.raises(UsageError, match="SFT has not met the gate"):
        sealed.last_round(run)
    with pytest.raises(UsageError, match="no SFT policy has met the gate"):
        contenders(run)
    assert sealed.last_opening(run) is None


def test_sealed_items_are_no_benchmark_for_anything_else(run: Run) -> None:
    with pytest.raises(UsageError, match="by the command test alone"):
        benchmark_questions(run, "medquad", "sealed")


def test_the_items_need_two_groups(run: Run) -> None:
    with pytest.raises(UsageError, match="no sealed items"):
        sealed_questions(run, 0)
    questions = [
        Question(f"q{i}", "medquad_style", "sealed", "s", f"g{i // 2}", "What?", reference="this") for i in range(4)
    ]
    run.store.write({"questions": questions})
    assert [q.question_id for q in sealed_questions(run, 3)["medquad"]] == ["q0", "q1", "q2"]
    with pytest.raises(UsageError, match="one group"):
        sealed_questions(run, 2)


def test_the_table_has_means_differences_and_what_is_unscored(run: Run) -> None:
    opened(run)
    concluded(run)
    text = shown(run)
    for part in (
        "Sealed test, opened after round 1",
        "token_f1",
        "1 unscored",
        "champion cccc",
        "0.7000",
        "+0.2000",
        "+0.100..+0.300",
    ):
        assert part in text
    assert "the same policy" in text


def items(policy_id: str, metric: str, cells: dict[str, tuple[Any, str, str]]) -> list[EvalItem]:
    return [
        EvalItem(
            policy_id,
            "pubmedqa" if metric == "accuracy" else "medquad",
            "sealed",
            i,
            metric,
            said,
            target,
            value,
            "scored" if value is not None else "failed",
            "why",
        )
        for i, (value, said, target) in cells.items()
    ]


def test_compare_pairs_the_items_and_clusters_them() -> None:
    labels = {f"i{k}": ("yes", "no", "maybe")[k % 3] for k in range(60)}
    groups = {i: f"g{k // 2}" for k, i in enumerate(labels)}
    all_yes = items("p0", "accuracy", {i: (float(t == "yes"), "yes", t) for i, t in labels.items()})
    right = items("p1", "accuracy", {i: (1.0, t, t) for i, t in labels.items()})
    accuracy, f1 = compare({"base": all_yes, "SFT": right, "champion": right}, groups, seed=1)
    assert (accuracy["metric"], accuracy["n"], accuracy["groups"], accuracy["unscored"]) == ("accuracy", 60, 30, 0)
    assert accuracy["means"] == {"base": pytest.approx(1 / 3), "SFT": 1.0, "champion": 1.0}
    gain = accuracy["differences"]["champion - base"]
    assert gain["delta"] == pytest.approx(2 / 3) and gain["ci_low"] < 2 / 3 < gain["ci_high"]
    assert accuracy["differences"]["champion - SFT"] is None, "one policy under two names has no difference"
    assert f1["metric"] == "macro_f1" and f1["means"]["champion"] == 1.0 and f1["means"]["base"] == pytest.approx(1 / 6)


def test_what_one_policy_has_no_value_for_is_left_out_for_all() -> None:
    groups = {f"i{k}": f"g{k}" for k in range(4)}
    low = items("p0", "quality", {i: (0.1, "", "") for i in groups})
    mid = items("p1", "quality", {i: (None if i == "i0" else 0.2, "", "") for i in groups})
    top = items("p2", "quality", {i: (1.0 if i == "i0" else 0.4, "", "") for i in groups})
    (row,) = compare({"base": low, "SFT": mid, "champion": top}, groups, seed=1)
    assert (row["n"], row["unscored"]) == (3, 1) and row["means"]["champion"] == pytest.approx(0.4)
    assert row["differences"]["champion - SFT"]["delta"] == pytest.approx(0.2)


def test_a_look_by_evaluate_is_on_record_and_shown(run: Run) -> None:
    sealed.record_look(run, "aaaa", "items.parquet", 3)
    (row,) = run.store.query("SELECT * FROM decisions WHERE action = 'LOOKED'")
    assert "3 sealed items from items.parquet" in row["reason"]
    assert marks(run) == ["sealed items were looked at once outside of the sealed test, by evaluate --data"]
    assert sealed.last_opening(run) is None, "looking is not opening"
