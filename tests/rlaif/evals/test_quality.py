"""The gate's own judge: which one it may be, and what its marks become. The stages are in tests/test_planted.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from judges.jury import Jury
from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from rlaif.config import Config
from rlaif.config_file import load_config
from rlaif.evals.quality import make_gate_judge, mark, mark_answers, measuring_judge, rubric_mark
from rlaif.judging.configured import gate_judge_config
from rlaif.rubric import verdict_of
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import CriterionVerdict, EvalItem, Question, UsageError, Verdict

ANSWER = EvalItem(
    "p", "medquad_style", "gate", "q", "token_f1", "Rest.", "Rest and water.", 0.5, protocol_hash="h", data_sha256="d"
)
LABELS = ScriptedJudge({})


def config(*texts: str) -> Config:
    return load_config("embedded", ["judge.model=reference", "evaluation.judge=", *texts])


def test_without_a_name_there_is_none() -> None:
    assert make_gate_judge(config(), ReferenceJudge()) is None


def test_a_judge_that_does_not_label_is_taken() -> None:
    judge = make_gate_judge(config("evaluation.judge=reference"), LABELS)
    assert judge is not None and judge.identity == ReferenceJudge().identity


@pytest.mark.parametrize(
    "labelling", [ReferenceJudge(), Jury((LABELS, ReferenceJudge()))], ids=["itself", "of the jury"]
)
def test_the_judge_that_labels_is_refused(labelling: Any) -> None:
    with pytest.raises(UsageError, match=r"evaluation\.judge = 'reference' is the judge that labels .* token_f1"):
        make_gate_judge(config("evaluation.judge=reference"), labelling)


@pytest.mark.parametrize("key", ["judge_prompt", "judge_base_url"])
def test_a_prompt_or_an_address_without_a_judge_is_a_mistake(key: str) -> None:
    with pytest.raises(UsageError, match=r"name it with evaluation\.judge"):
        make_gate_judge(config(f"evaluation.{key}=x"), LABELS)


def test_it_has_its_own_name_prompt_and_address_and_shares_the_rest() -> None:
    texts = ["judge.model=openai:a", "judge.prompt=p.md", "judge.temperature=0.5", "judge.retries=7"]
    own = gate_judge_config(
        config(*texts, "evaluation.judge=served", "evaluation.judge_base_url=http://127.0.0.1:1/v1")
    ).judge
    assert (own.model, own.prompt, own.base_url, own.temperature, own.retries) == (
        "served",
        "",
        "http://127.0.0.1:1/v1",
        0.5,
        7,
    )


def test_the_servers_of_the_judge_that_labels_are_not_its_own() -> None:
    served = 'judge.urls=["http://127.0.0.1:1/v1", "http://127.0.0.1:2/v1"]'
    own = gate_judge_config(config("judge.model=a", served, "evaluation.judge=reference")).judge
    assert own.addresses == ()
    at = gate_judge_config(config("judge.model=a", served, "evaluation.judge_base_url=http://127.0.0.1:3/v1")).judge
    assert at.addresses == ("http://127.0.0.1:3/v1",)


def test_a_mark_stands_beside_the_answers_other_metrics() -> None:
    row = mark(ANSWER, Verdict("p/q", "j", 0, "scored", 0.75, 0.7, 0.8, 0.8))
    assert (row.metric, row.value, row.status, row.judge_id, row.reason) == ("quality", 0.75, "scored", "j", "")
    assert (row.item_id, row.prediction, row.protocol_hash, row.data_sha256) == ("q", "Rest.", "h", "d")


@pytest.mark.parametrize(("said", "status"), [("failed", "failed"), ("refused", "failed"), ("unparsed", "unparsed")])
def test_an_answer_without_a_verdict_has_no_value_and_says_why(said: Any, status: str) -> None:
    row = mark(ANSWER, Verdict("p/q", "j", 0, said, reason="no digits"))
    assert (row.value, row.status, row.reason) == (None, status, f"{said}: no digits")


def test_evaluate_asks_the_gates_judge_else_the_one_that_labels(paired_run: Run) -> None:
    judge, metric = measuring_judge(paired_run)
    assert (judge.identity, metric) == (ReferenceJudge().identity, "labelling_quality")
    gated = replace(paired_run, config=load_config("embedded", ["judge.model=openai:a", "evaluation.judge=reference"]))
    judge, metric = measuring_judge(gated)
    assert (judge.identity.model, metric) == ("reference", "quality")


def test_marks_are_stored_as_they_come_and_failed_ones_without_a_number(
    paired_run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rlaif.evals.quality.CHUNK", 2)
    questions = [
        Question(f"q{i}", "medquad_style", "gate", "s", "g", "What helps?", reference="Rest and water.")
        for i in range(5)
    ]
    answers = [replace(ANSWER, item_id=q.question_id) for q in questions]
    judge = ScriptedJudge(lambda item: 0.5, failed=["p/q3"])
    made = mark_answers(paired_run, judge, "labelling_quality", answers, questions, Screen())
    assert [(m.item_id, m.value, m.status) for m in made] == [
        (f"q{i}", None if i == 3 else 0.5, "failed" if i == 3 else "scored") for i in range(5)
    ]
    kept = paired_run.store.query(
        "SELECT item_id, value, reason, judge_id FROM eval_items WHERE metric = 'labelling_quality' ORDER BY 1"
    )
    assert [(k["item_id"], k["value"]) for k in kept] == [(m.item_id, m.value) for m in made]
    assert kept[3]["reason"] == "failed: scripted failure" and {k["judge_id"] for k in kept} == {
        judge.identity.judge_id
    }
    judges = paired_run.store.query("SELECT model FROM judges WHERE judge_id = ?", [judge.identity.judge_id])
    assert judges == [{"model": judge.identity.model}], "who gave them is on record"


def criterion(place: int, weight: float, value: float | None, source: str = "healthbench") -> CriterionVerdict:
    why = "" if value is not None else "no answer came"
    status: Any = "scored" if value is not None else "failed"
    return CriterionVerdict("p/q", "j", 0, place, f"criterion {place}", weight, "", source, status, value, why)


def rubric_verdict(*criteria: CriterionVerdict) -> Verdict:
    return verdict_of(Verdict("p/q", "j", 0, "unparsed"), criteria)


def test_a_mark_of_healthbench_is_the_answers_score_below_0_too() -> None:
    verdict = rubric_verdict(criterion(0, 5, 1.0, "prompt"), criterion(1, 4, 0.0), criterion(2, -6, 1.0))
    row = rubric_mark(ANSWER, verdict)
    assert verdict.score == 0.0, "a verdict's own score is clipped, and the prompt's criteria count there"
    assert (row.metric, row.value, row.status, row.judge_id) == ("quality", -1.5, "scored", "j")
    assert row.protocol_hash not in ("", ANSWER.protocol_hash), "never held against marks of another arithmetic"
    assert rubric_mark(ANSWER, rubric_verdict(criterion(0, 3, 0.6), criterion(1, 1, 0.4))).value == 0.75


def test_a_mark_of_healthbench_without_enough_criteria_has_no_value_and_a_reason() -> None:
    part = rubric_mark(ANSWER, rubric_verdict(criterion(0, 6, 1.0), criterion(1, 2, None)))
    assert (part.value, part.status) == (1.0, "scored"), "of the criteria that were judged"
    of_the_prompt = rubric_verdict(criterion(0, 9, 1.0, "prompt"), criterion(1, 1, 1.0), criterion(2, 5, None))
    little = rubric_mark(ANSWER, of_the_prompt)
    assert (of_the_prompt.status, little.value, little.status) == ("scored", None, "unparsed")
    assert little.reason == "too little of the question's own rubric was judged"
    none = rubric_mark(ANSWER, rubric_verdict(criterion(0, 6, None)))
    assert (none.value, none.status) == (None, "failed") and "1 of 1 criteria not judged" in none.reason
    faults = rubric_mark(ANSWER, rubric_verdict(criterion(0, -6, 0.0)))
    assert faults.value is None and "no criterion has points above 0" in faults.reason


def test_a_judge_that_does_not_judge_by_rubrics_gives_its_own_score() -> None:
    assert rubric_mark(ANSWER, Verdict("p/q", "j", 0, "scored", 0.75)).value == 0.75
