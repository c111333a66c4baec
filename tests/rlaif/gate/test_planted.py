"""Challengers that were spoiled on purpose, on embedded and on real items, before the gate's own `decide`.

Every answer is made from the references by a rule; metrics and judge are the real ones. The champion leaves sentences
out. Each regression is rejected for the reason that is meant to see it, and a real gain is promoted. The planted
policies of tests/test_planted.py go through database and stages too.
"""

from __future__ import annotations

import random
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import pytest

from judges.reference import ReferenceJudge
from rlaif.config import GateConfig
from rlaif.data import load_questions
from rlaif.data.questions import cut_reference, says_something
from rlaif.evals.medquad import SCORES
from rlaif.evals.quality import mark
from rlaif.evals.results import MetricResults, PolicyResults
from rlaif.evals.stored import shuffled
from rlaif.exam.corrupt import negate_sentence, sentences
from rlaif.gate.decide import Checks, GateResult, Look, decide
from rlaif.types import EvalItem, JudgeItem, Question

pytestmark = pytest.mark.slow

ITEMS = 400
SETTINGS = GateConfig(resamples=1000)
LABELS = [Question(f"l{i}", "pubmedqa", "gate", f"s{i}", f"g{i}", "Is it so?", label="yes") for i in range(50)]
JUDGE = ReferenceJudge()
Answers = dict[str, str]  # by question id
NUMBER = re.compile(r"\d+")
SMALL = ("two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
WORD = re.compile(rf"\b(?:{'|'.join(SMALL)})\b", re.IGNORECASE)


def rng(q: Question, salt: str) -> random.Random:
    return random.Random(f"{salt}/{q.question_id}")


@dataclass(frozen=True)
class Items:
    questions: list[Question]
    champion: Answers
    every: list[Question]  # to take neighbours from

    def __post_init__(self) -> None:
        assert len(self.questions) <= ITEMS and len(self.champion) == len(self.questions)


def champion_answers(questions: Sequence[Question]) -> Answers:
    """The references, each sentence after the first left out in one case of four."""
    kept = {}
    for q in questions:
        first, *rest = sentences(q.reference)
        draw = rng(q, "champion")
        kept[q.question_id] = " ".join([first, *(s for s in rest if draw.random() < 0.75)])
    return kept


def embedded_items() -> Items:
    """Questions about one topic with references of three sentences: those of the embedded set, put together."""
    told: dict[str, dict[str, Question]] = defaultdict(dict)
    every = [q for q in load_questions("medquad", "embedded").questions if q.split != "sealed"]
    for q in every:
        told[q.group_id].setdefault(q.reference, q)
    made = []
    for group, by_text in told.items():
        texts, one = sorted(by_text), next(iter(by_text.values()))
        for i in range(0, len(texts) - 2, 3):
            asked = replace(one, question_id=f"{group}{i}", split="gate", question=f"What is known about {one.focus}?")
            made.append(replace(asked, reference=" ".join(texts[i : i + 3]), key_points=()))
    chosen = sorted(made, key=lambda q: rng(q, "order").random())[:ITEMS]
    return Items(chosen, champion_answers(chosen), every)


def real_items(shared: Path) -> Items:
    loaded = load_questions("medquad", str(shared / "data" / "medquad.parquet")).questions
    every = [q for q in (cut_reference(q, 80) for q in loaded) if q.split == "gate" and says_something(q)]
    chosen = [q for q in sorted(every, key=lambda q: q.question_id) if len(sentences(q.reference)) > 1][:ITEMS]
    assert len(chosen) == ITEMS
    return Items(chosen, champion_answers(chosen), every)


@pytest.fixture(scope="module", params=["embedded", "real"])
def items(request: pytest.FixtureRequest) -> Items:
    return embedded_items() if request.param == "embedded" else real_items(request.getfixturevalue("shared"))


Policy = Callable[[Items], Answers]


# What a policy says ---------------------------------------------------------------------------------------------------


def champion(items: Items) -> Answers:
    return items.champion


def denying(items: Items) -> Answers:
    """Nothing is left out, and every sentence that a rule can turn round says the opposite."""
    return {q.question_id: " ".join(negate_sentence(s) or s for s in sentences(q.reference)) for q in items.questions}


def renumbering(items: Items) -> Answers:
    """Nothing is left out, and every number is another one."""

    def text(q: Question) -> str:
        digits = NUMBER.sub(lambda m: str(3 * int(m[0]) + 1), q.reference)
        return WORD.sub(lambda m: SMALL[(SMALL.index(m[0].lower()) + 3) % len(SMALL)], digits)

    return {q.question_id: text(q) for q in items.questions}


def neighbour(items: Items) -> Answers:
    """Right on the topic, to another question; where the topic has a single one, as the champion."""
    by_topic: dict[str, list[Question]] = defaultdict(list)
    for q in items.every:
        by_topic[q.group_id].append(q)
    found = dict(items.champion)
    for q in items.questions:
        others = [o for o in by_topic[q.group_id] if o.reference not in q.reference]
        if others:
            found[q.question_id] = rng(q, "neighbour").choice(others).reference
    assert sum(found[i] != items.champion[i] for i in found) > len(found) / 3
    return found


def stranger(items: Items) -> Answers:
    """The answer to a question on another topic."""
    moved = items.questions[1:] + items.questions[:1]
    return {q.question_id: o.reference for q, o in zip(items.questions, moved, strict=True)}


def repeating(items: Items) -> Answers:
    """One good sentence, as often as the reference has sentences."""
    parts = {q.question_id: sentences(q.reference) for q in items.questions}
    return {i: " ".join(found[:1] * len(found)) for i, found in parts.items()}


def shuffling(items: Items) -> Answers:
    """All words of the reference, in any order."""
    return {q.question_id: " ".join(rng(q, "words").sample(w := q.reference.split(), len(w))) for q in items.questions}


def first_sentence(items: Items) -> Answers:
    return {q.question_id: sentences(q.reference)[0] for q in items.questions}


def completing(items: Items) -> Answers:
    """As the champion, and in half of the answers a sentence of the reference that it had left out is there."""
    found = dict(items.champion)
    for q in items.questions:
        missing = [s for s in sentences(q.reference) if s not in found[q.question_id]]
        if missing and rng(q, "gain").random() < 0.5:
            found[q.question_id] += f" {missing[0]}"
    return found


# The gate -------------------------------------------------------------------------------------------------------------


def results(items: Items, answers: Answers) -> dict[str, PolicyResults]:
    """What the gate sees of a policy with these answers, by the score that it reads; all know the same labels."""
    groups = {q.question_id: q.group_id for q in (*items.questions, *LABELS)}
    said = [(q, answers[q.question_id]) for q in items.questions]

    def row(q: Question, metric: str, text: str, value: float | None) -> EvalItem:
        return EvalItem.of(q, metric, text, value, policy_id="p", protocol_hash="h", data_sha256="d")

    rows = {metric: [row(q, metric, text, f(text, q.reference)) for q, text in said] for metric, f in SCORES.items()}
    verdicts = JUDGE.score([JudgeItem(q.question_id, q.question, text, q.reference) for q, text in said])
    rows["quality"] = [mark(answer, verdict) for answer, verdict in zip(rows["token_f1"], verdicts, strict=True)]
    found = {metric: MetricResults.of(of_metric, groups) for metric, of_metric in rows.items()}
    labels = MetricResults.of([row(q, "accuracy", q.label, 1.0) for q in LABELS], groups)
    order = found["rouge_l"]
    beside = {"order": order, "shuffled": shuffled(order), "consistency": found["consistency"]}
    return {score: PolicyResults("p", labels, found[score], **beside) for score in ("token_f1", "quality")}


def meet(champion: PolicyResults, challenger: PolicyResults) -> GateResult:
    return decide(champion, challenger, look=Look("dpo", 1), settings=SETTINGS, checks=Checks(), seed=0)


def reasons(result: GateResult) -> set[str]:
    """The metrics with a loss that is shown, and "ordered"."""
    failed = [row for row in result.rows if not row.passed]
    lost = {r.metric for r in failed if r.condition == "not_worse" and r.ci_high is not None and r.ci_high < 0}
    return lost | {"ordered" for r in failed if r.condition == "ordered"}


@pytest.fixture(scope="module")
def policy(items: Items) -> Callable[[Policy], dict[str, PolicyResults]]:
    """The results of a policy on the items, made once."""
    return cache(lambda answer: results(items, answer(items)))


@pytest.mark.parametrize(
    ("challenger", "seen_by"),
    [
        (denying, {"consistency"}),
        (renumbering, {"consistency"}),
        (neighbour, {"SCORE", "rouge_l"}),
        (stranger, {"SCORE", "rouge_l"}),
        (repeating, {"SCORE", "rouge_l"}),
        (shuffling, {"ordered"}),
        (first_sentence, {"SCORE", "rouge_l"}),
    ],
)
@pytest.mark.parametrize("score", ["token_f1", "quality"])
def test_a_planted_regression_is_rejected_for_its_own_reason(
    policy: Callable[[Policy], dict[str, PolicyResults]], challenger: Policy, seen_by: set[str], score: str
) -> None:
    result = meet(policy(champion)[score], policy(challenger)[score])
    assert result.action == "REJECT", result.reason
    assert reasons(result) >= {score if name == "SCORE" else name for name in seen_by}, result.reason


@pytest.mark.parametrize("score", ["token_f1", "quality"])
def test_a_planted_gain_is_promoted(policy: Callable[[Policy], dict[str, PolicyResults]], score: str) -> None:
    result = meet(policy(champion)[score], policy(completing)[score])
    assert result.action == "PROMOTE" and reasons(result) == set(), result.reason


@pytest.mark.parametrize("challenger", [denying, renumbering])
def test_token_f1_alone_would_promote_what_only_consistency_sees(
    policy: Callable[[Policy], dict[str, PolicyResults]], challenger: Policy
) -> None:
    """All words but a few are those of the reference, in their order."""
    before, after = policy(champion)["token_f1"], policy(challenger)["token_f1"]
    assert reasons(meet(before, after)) == {"consistency"}
    blind = meet(replace(before, consistency=None), replace(after, consistency=None))
    assert blind.action == "PROMOTE", blind.reason
