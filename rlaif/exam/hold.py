"""An exam is held here: the judge is asked, its answers are marked, and the rows for the database are made."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from rlaif.exam.baselines import ROUNDING
from rlaif.exam.grade import ExamResult, Outcome, fine, grade, outcomes
from rlaif.exam.items import Exam
from rlaif.exam.rules import MAX_UNSCORED, RULES
from rlaif.judging.configured import judge_rows
from rlaif.screen import Screen
from rlaif.types import Judge, RlaifError, Verdict

CHUNK = 128  # answers between two steps of the progress bar


@dataclass(frozen=True, slots=True)
class Held:
    """An exam that a judge has sat."""

    exam: Exam
    outcomes: tuple[Outcome, ...]
    result: ExamResult


def hold(exam: Exam, judge: Judge, screen: Screen) -> Held:
    """Let `judge` score every answer of `exam` once.

    Raises RlaifError when more than MAX_UNSCORED of the answers got no verdict at all (status "failed": endpoint,
    transport): that says nothing about the judge, and what was answered is in its cache for the next time.
    """
    answers = exam.answers
    bar = screen.bar(f"exam ({exam.name})", len(answers))
    verdicts: dict[str, Verdict] = {}
    for start in range(0, len(answers), CHUNK):
        chunk = answers[start : start + CHUNK]
        verdicts |= {a.candidate_id: v for a, v in zip(chunk, judge.score(chunk), strict=True)}
        bar.step(len(chunk))
    failed = [v for v in verdicts.values() if v.status == "failed"]
    if len(failed) > MAX_UNSCORED * len(answers):
        raise RlaifError(
            f"{exam.name} exam: {len(failed)} of {len(answers)} answers got no verdict (e.g. {failed[0].reason}); "
            "mend the judge and give the same command again"
        )
    exam_outcomes = outcomes(exam, verdicts)
    result = grade(exam, exam_outcomes, [(verdicts[item.candidate_id], people) for item, people in exam.graded])
    bar.finish(f"{len(answers)} answers by {judge.identity.model}: {word(result).lower()}")
    return Held(exam, tuple(exam_outcomes), result)


def word(result: ExamResult) -> str:
    """LICENSED, RESTRICTED or REFUSED; PASSED or NOT PASSED for the exam of people's scores, which licenses nobody."""
    if result.exam == "human":
        return "PASSED" if result.passed else "NOT PASSED"
    return "REFUSED" if not result.passed else "RESTRICTED" if result.limits else "LICENSED"


def rows(held: Held, judge: Judge) -> dict[str, Sequence[Any]]:
    """What the tables `judges`, `prompts`, `exam_items` and `licences` keep of it."""
    identity, exam, result = judge.identity, held.exam, held.result
    items = [
        {
            "exam": exam.name,
            "judge_id": identity.judge_id,
            "item_type": o.item.item_type,
            "pair": o.item.pair,
            "outcome": outcome_word(o),
            "good_score": o.good.score,
            "bad_score": o.bad.score,
            "reason": o.reason,
            "question": o.item.good.question,
            "good": o.item.good.answer,
            "bad": o.item.bad.answer,
        }
        for o in held.outcomes
    ]
    licence = {
        "exam": exam.name,
        "judge_id": identity.judge_id,
        "passed": result.passed,
        "n": result.n,
        "pair_accuracy": result.pair_accuracy,
        "lower_bound": result.lower_bound,
        "kappa": result.kappa,
        "reasons": list(result.refusals),
        "limits": list(result.limits),
        "bounds": {
            "about": dict(exam.about),
            "rules": rule_dicts(result),
            "baselines": [dataclasses.asdict(b) for b in result.baselines],
        },
        "exam_sha256": exam.sha256,
        "data_sha256": exam.data_sha256,
    }
    return {**judge_rows(judge), "exam_items": items, "licences": [licence]}


def outcome_word(outcome: Outcome) -> str:
    """ordered, tie or reversed for a pair whose order is asked; passed or failed for the others; unscored."""
    if not outcome.scored:
        return "unscored"
    rules = [rule for rule in RULES if rule.item_type == outcome.item.item_type]
    if rules[0].measure == "pair accuracy":
        return "ordered" if outcome.ordered else "reversed" if outcome.rise > ROUNDING else "tie"
    return "passed" if all(fine(rule, outcome) for rule in rules) else "failed"


def rule_dicts(result: ExamResult) -> list[dict[str, Any]]:
    """The result's rules as plain values, for JSON."""
    return [
        {
            "item_type": r.rule.item_type,
            "measure": r.rule.measure,
            "n": r.n,
            "unscored": r.unscored,
            "value": r.value,
            "threshold": r.rule.threshold,
            "ok": r.ok,
            "bound": None if r.bound is None or math.isinf(r.bound) else r.bound,
            "core": r.rule.core,
            "passed": r.passed,
            "why": r.why,
        }
        for r in result.rules
    ]
