"""Scripted judges: each has one known fault, and is refused for it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest

from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from rlaif.exam.grade import ExamResult, agreement
from rlaif.exam.hold import hold
from rlaif.exam.items import Exam
from rlaif.exam.rules import POOLED
from rlaif.screen import Screen
from rlaif.types import Judge, JudgeItem, RlaifError, Verdict

REFERENCE = ReferenceJudge()


def sit(exam: Exam, judge: Judge) -> ExamResult:
    return hold(exam, judge, Screen()).result


def blamed(result: ExamResult) -> set[str]:
    """The item types for which a judge was refused."""
    return {r.rule.item_type for r in result.rules if not r.passed}


class Changed:
    """The reference judge, with each verdict changed by a function of the item."""

    def __init__(self, change: Callable[[JudgeItem, Verdict], Verdict]) -> None:
        self.change = change
        self.identity = dataclasses.replace(REFERENCE.identity, model="changed")

    def score(self, items: list[JudgeItem]) -> list[Verdict]:
        return [self.change(item, verdict) for item, verdict in zip(items, REFERENCE.score(items), strict=True)]


def knows(exam: Exam) -> ScriptedJudge:
    """A judge without fault: 0.9 for the answers that are good somewhere, 0.3 for their spoiled forms, 0 for those that
    say nothing.
    """
    bad = {i.bad.candidate_id for i in exam.items if i.item_type in (*POOLED, "half_dropped")}
    nothing = {i.bad.candidate_id for i in exam.items if i.item_type == "empty"}
    scores = {
        a.candidate_id: 0.0 if a.candidate_id in nothing else 0.3 if a.candidate_id in bad else 0.9
        for a in exam.answers
    }
    demanded = {i.bad.candidate_id for i in exam.items if i.item_type == "injected"}
    return ScriptedJudge(scores | dict.fromkeys(demanded, 0.3))


def test_a_judge_without_fault_has_a_licence_but_for_facts_that_move_with_completeness(small_exam: Exam) -> None:
    result = sit(small_exam, knows(small_exam))
    # a scripted judge gives all four scores one value, so its factual accuracy falls with its completeness
    assert blamed(result) == {"half_dropped"}
    assert result.pair_accuracy == 1.0 and result.lower_bound is not None and result.lower_bound > 0.95


def test_the_reference_judge_has_a_licence_on_the_small_exam(small_exam: Exam) -> None:
    result = sit(small_exam, REFERENCE)
    assert (result.passed, result.refusals) == (True, ())


def test_a_judge_that_answers_at_random_is_refused_for_every_pair(small_exam: Exam) -> None:
    result = sit(small_exam, ScriptedJudge(lambda item: random.Random(item.candidate_id).random()))
    assert {"wrong_question", "swapped_focus", "negated", "changed_number", "empty", "injected"} <= blamed(result)
    assert result.pair_accuracy is not None and 0.3 < result.pair_accuracy < 0.7
    assert any(r.startswith("pooled pair accuracy") for r in result.refusals)


def test_a_judge_that_prefers_the_longer_answer_is_refused_for_padding(small_exam: Exam) -> None:
    result = sit(small_exam, ScriptedJudge(lambda item: min(1.0, len(item.answer) / 1000)))
    assert "padded" in blamed(result) and "empty" not in blamed(result)
    assert next(r for r in result.rules if r.rule.item_type == "padded").ok == 0


def test_a_judge_that_obeys_is_refused_for_injection_alone(small_exam: Exam) -> None:
    def obey(item: JudgeItem, verdict: Verdict) -> Verdict:
        return dataclasses.replace(verdict, score=1.0) if "give this 1.0" in item.answer.lower() else verdict

    result = sit(small_exam, Changed(obey))
    assert blamed(result) == {"injected"}
    assert not result.passed


def test_a_judge_that_always_gives_one_score_orders_nothing(small_exam: Exam) -> None:
    result = sit(small_exam, ScriptedJudge(lambda item: 0.1))
    assert result.pair_accuracy == 0.0  # a tie is not an order


@pytest.mark.parametrize("status", ["unparsed", "refused"])
def test_an_unscored_verdict_counts_as_not_ordered_and_is_reported(small_exam: Exam, status: str) -> None:
    lost = next(i for i in small_exam.items if i.item_type == "swapped_focus").bad

    def lose(item: JudgeItem, verdict: Verdict) -> Verdict:
        empty = Verdict(item.candidate_id, verdict.judge_id, 0, status, reason="no words")  # type: ignore[arg-type]
        return empty if item.candidate_id == lost.candidate_id else verdict

    held = hold(small_exam, Changed(lose), Screen())
    rule = next(r for r in held.result.rules if r.rule.item_type == "swapped_focus")
    assert (rule.n, rule.unscored, rule.ok) == (20, 1, 19)
    assert [o.reason for o in held.outcomes if not o.scored] == [f"{status}: no words"]


def test_answers_that_say_nothing_must_all_be_scored_low(small_exam: Exam) -> None:
    empty = next(i for i in small_exam.items if i.item_type == "empty").bad

    def lose(item: JudgeItem, verdict: Verdict) -> Verdict:
        return (
            Verdict(item.candidate_id, verdict.judge_id, 0, "unparsed", reason="?")
            if item.candidate_id == empty.candidate_id
            else verdict
        )

    assert blamed(sit(small_exam, Changed(lose))) == {"empty"}


def test_a_judge_that_fails_to_answer_is_no_refusal_but_an_error(small_exam: Exam) -> None:
    ids = [a.candidate_id for a in small_exam.answers]
    with pytest.raises(
        RlaifError, match=rf"embedded exam: {len(ids)} of {len(ids)} answers got no verdict \(e.g. scripted failure\)"
    ):
        sit(small_exam, ScriptedJudge({}, failed=ids))


def test_too_few_items_of_a_type_license_nobody(small_exam: Exam) -> None:
    fewer = dataclasses.replace(small_exam, items=tuple(i for i in small_exam.items if i.item_type != "negated"))
    result = sit(fewer, REFERENCE)
    assert result.refusals == ("negated: 0 items; 10 are needed",)


def graded(*pairs: tuple[float | None, int]) -> list[tuple[Verdict, int]]:
    return [
        (Verdict("c", "j", 0, "scored" if s is not None else "failed", s, reason="x"), people) for s, people in pairs
    ]


def test_kappa_of_agreement_reversal_and_of_a_case_worked_by_hand() -> None:
    assert agreement(graded((0.0, 1), (1 / 3, 2), (2 / 3, 3), (1.0, 4), (None, 1))) == 1.0
    assert agreement(graded((0.0, 4), (1.0, 1))) == -1.0
    # judge 1 1 4 4, people 1 4 1 4: observed (0 + 9 + 9 + 0) / 4, expected 9 / 2
    assert agreement(graded((0.0, 1), (0.0, 4), (1.0, 1), (1.0, 4))) == 0.0
    assert agreement([]) is None and agreement(graded((1.0, 4), (1.0, 4))) is None
