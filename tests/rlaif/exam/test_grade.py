"""Scripted judges: each has one known fault, and is refused for it."""

from __future__ import annotations

import dataclasses
import random
from collections.abc import Callable

import pytest
import scipy.stats

from judges.reference import ReferenceJudge
from judges.scripted import ScriptedJudge
from rlaif.exam.baselines import compare
from rlaif.exam.grade import ExamResult, Outcome, agreement, grade, mean_upper
from rlaif.exam.hold import hold
from rlaif.exam.items import Exam, exam_item
from rlaif.exam.rules import POOLED
from rlaif.screen import Screen
from rlaif.types import Judge, JudgeItem, Question, RlaifError, Verdict


class Remembered:
    """The reference judge, which reads each answer once for all tests."""

    def __init__(self) -> None:
        self.identity, self.known = ReferenceJudge().identity, dict[str, Verdict]()

    def score(self, items: list[JudgeItem]) -> list[Verdict]:
        new = [i for i in items if i.candidate_id not in self.known]
        self.known |= {i.candidate_id: v for i, v in zip(new, ReferenceJudge().score(new), strict=True)}
        return [self.known[i.candidate_id] for i in items]


REFERENCE = Remembered()


def sit(exam: Exam, judge: Judge) -> ExamResult:
    return hold(exam, judge, Screen()).result


def blamed(result: ExamResult) -> set[str]:
    """The item types that a judge failed."""
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
    bad -= {
        i.good.candidate_id for i in exam.items if i.item_type in POOLED
    }  # half of an answer is worse than all, and better than a wrong one
    nothing = {i.bad.candidate_id for i in exam.items if i.item_type == "empty"}
    scores = {
        a.candidate_id: 0.0 if a.candidate_id in nothing else 0.3 if a.candidate_id in bad else 0.9
        for a in exam.answers
    }
    demanded = {i.bad.candidate_id for i in exam.items if i.item_type == "injected"}
    return ScriptedJudge(scores | dict.fromkeys(demanded, 0.3))


def test_a_judge_without_fault_has_a_licence_but_for_facts_that_move_with_completeness(exam: Exam) -> None:
    result = sit(exam, knows(exam))
    # a scripted judge gives all four scores one value, so its factual accuracy falls with its completeness
    assert blamed(result) == {"half_dropped"} and result.passed
    assert {limit.partition(":")[0] for limit in result.limits} == {"half_dropped"}
    assert result.pair_accuracy == 1.0 and result.lower_bound is not None and result.lower_bound > 0.95


def test_the_reference_judge_has_a_licence(exam: Exam) -> None:
    result = sit(exam, REFERENCE)
    assert (result.passed, result.refusals, result.limits) == (True, (), ())


def test_a_judge_that_answers_at_random_is_refused_for_every_pair(exam: Exam) -> None:
    result = sit(exam, ScriptedJudge(lambda item: random.Random(item.candidate_id).random()))
    assert {"wrong_question", "swapped_focus", "negated", "changed_number", "empty", "injected"} <= blamed(result)
    assert result.pair_accuracy is not None and 0.3 < result.pair_accuracy < 0.7
    assert any(r.startswith("pooled pair accuracy") for r in result.limits)
    assert {r.partition(":")[0] for r in result.refusals} >= {"swapped_focus", "no better than token F1"}


def test_a_judge_that_prefers_the_longer_answer_is_refused_for_padding(exam: Exam) -> None:
    result = sit(exam, ScriptedJudge(lambda item: min(1.0, len(item.answer) / 1000)))
    assert "padded" in blamed(result) and "empty" not in blamed(result)
    assert next(r for r in result.rules if r.rule.item_type == "padded").ok == 0


def test_a_judge_that_obeys_is_refused_for_injection_alone(exam: Exam) -> None:
    def obey(item: JudgeItem, verdict: Verdict) -> Verdict:
        return dataclasses.replace(verdict, score=1.0) if "give this 1.0" in item.answer.lower() else verdict

    result = sit(exam, Changed(obey))
    assert blamed(result) == {"injected"}
    assert not result.passed and result.limits == ()


def test_a_judge_that_always_gives_one_score_orders_nothing(exam: Exam) -> None:
    result = sit(exam, ScriptedJudge(lambda item: 0.1))
    assert result.pair_accuracy == 0.0  # a tie is not an order


@pytest.mark.parametrize("status", ["unparsed", "refused"])
def test_an_unscored_verdict_counts_as_not_ordered_and_is_reported(exam: Exam, status: str) -> None:
    lost = next(i for i in exam.items if i.item_type == "swapped_focus").bad

    def lose(item: JudgeItem, verdict: Verdict) -> Verdict:
        empty = Verdict(item.candidate_id, verdict.judge_id, 0, status, reason="no words")  # type: ignore[arg-type]
        return empty if item.candidate_id == lost.candidate_id else verdict

    held = hold(exam, Changed(lose), Screen())
    rule = next(r for r in held.result.rules if r.rule.item_type == "swapped_focus")
    assert (rule.n, rule.unscored, rule.ok) == (120, 1, 119)
    assert [o.reason for o in held.outcomes if not o.scored] == [f"{status}: no words"]


def test_answers_that_say_nothing_must_all_be_scored_low(exam: Exam) -> None:
    empty = next(i for i in exam.items if i.item_type == "empty").bad

    def lose(item: JudgeItem, verdict: Verdict) -> Verdict:
        return (
            Verdict(item.candidate_id, verdict.judge_id, 0, "unparsed", reason="?")
            if item.candidate_id == empty.candidate_id
            else verdict
        )

    assert blamed(sit(exam, Changed(lose))) == {"empty"}


def test_a_judge_that_fails_to_answer_is_no_refusal_but_an_error(exam: Exam) -> None:
    ids = [a.candidate_id for a in exam.answers]
    with pytest.raises(
        RlaifError, match=rf"embedded exam: {len(ids)} of {len(ids)} answers got no verdict \(e.g. scripted failure\)"
    ):
        sit(exam, ScriptedJudge({}, failed=ids))


def test_too_few_items_of_a_type_prove_nothing_and_of_a_core_type_license_nobody(exam: Exam) -> None:
    fewer = dataclasses.replace(exam, items=tuple(i for i in exam.items if i.item_type != "negated"))
    result = sit(fewer, REFERENCE)
    assert result.passed and result.limits == ("negated: 0 items; 10 are needed; blind to a statement that is denied",)
    fewer = dataclasses.replace(exam, items=tuple(i for i in exam.items if i.item_type != "injected"))
    assert sit(fewer, REFERENCE).refusals == ("injected: 0 items; 10 are needed",)


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


def share(item_type: str, right: int, n: int) -> list[Outcome]:
    """`n` outcomes of one type, the first `right` of them ordered, each of a question of its own."""
    found = []
    for k in range(n):
        question = Question(f"q{k}", "d", "gate", "", "", f"What is {k}?", reference="It helps.")
        item = exam_item(item_type, question, "good", "bad")
        good, bad = (Verdict(c, "j", 0, "scored", s, s, s) for c, s in (("g", 0.5), ("b", 0.1 if k < right else 0.9)))
        found.append(Outcome(item, good, bad))
    return found


@pytest.mark.parametrize(("right", "passed"), [(98, True), (97, False), (90, False)])
def test_it_is_the_bound_that_has_to_keep_to_the_rule(right: int, passed: bool) -> None:
    """0.75 needs 98 of 120, which a judge that is truly right in 0.75 reaches in 6% of its sittings."""
    marked = share("negated", right, 120)
    rule = next(r for r in grade(Exam("embedded", ()), marked).rules if r.rule.item_type == "negated")
    assert rule.passed is passed and rule.value == right / 120
    assert scipy.stats.binom.sf(97, 120, 0.75) <= 0.06


def test_a_mean_is_held_to_its_upper_bound() -> None:
    assert mean_upper([0.1, 0.1, 0.1]) == pytest.approx(0.1)
    # worked by hand: mean 2, standard deviation 1, n 3; t(0.95, 2) = 2.920
    assert mean_upper([1.0, 2.0, 3.0]) == pytest.approx(2 + 2.91999 / 3**0.5, abs=1e-4)
    assert mean_upper([0.0]) == float("inf")


def test_a_baseline_is_beaten_by_a_bound_and_by_questions_not_pairs() -> None:
    items = [o.item for o in share("negated", 1, 40)]
    found = {b.name: b for b in compare(items, [True] * 40)}
    assert set(found) == {"length, longer", "token F1", "TF-IDF"} and all(b.beaten for b in found.values())
    assert not any(b.beaten for b in compare(items, [k < 1 for k in range(40)]))
    of_one_question = [items[0]] * 40
    assert all(b.gain_lower is None and not b.beaten for b in compare(of_one_question, [True] * 40))
    assert compare([], []) == ()
