"""Pairs against the greedy answer, which is what the gate reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rlaif.config import PairsConfig
from rlaif.loop.pairs import prefer
from rlaif.types import Candidate, Preference, Verdict

WORDS = ("fever", "cough", "rest", "water", "pain", "heart")


def answers(scores: list[float | None], greedy: float | None, question: str = "q") -> list[tuple[Candidate, Verdict]]:
    """Sampled answers s0, s1, ... and the greedy one, g, each with its verdict; None: the judge failed."""
    made = []
    for k, score in enumerate([*scores, greedy]):
        name = f"{question}-g" if k == len(scores) else f"{question}-s{k}"
        sampling = {"temperature": 0.0 if name.endswith("g") else 0.8}
        candidate = Candidate(name, 1, question, "p", "h", k, 0, 0, f"{WORDS[k]} {k}", 20, "stop", -1.0, sampling)
        status = "failed" if score is None else "scored"
        made.append((candidate, Verdict(name, "j", 0, status, score, reason="" if score is not None else "timeout")))
    return made


def pairs(given: list[tuple[Candidate, Verdict]], **changes: object) -> list[Preference]:
    settings = PairsConfig.model_validate({"against": "greedy", "min_best": 0.0} | changes)
    candidates, verdicts = [c for c, _ in given], [v for _, v in given]
    return prefer(candidates, verdicts, judge_id="j", round=1, sem=0.0, settings=settings)


def only(given: list[tuple[Candidate, Verdict]], **changes: object) -> tuple[str, str | None, str | None]:
    (made,) = pairs(given, **changes)
    return made.status, made.chosen_id, made.rejected_id


def test_what_is_better_than_the_greedy_answer_is_chosen_over_it() -> None:
    given = answers([0.9, 0.1, 0.7], 0.5)
    assert only(given) == ("kept", "q-s0", "q-g"), "its margin is less than that of the greedy answer over s1"
    assert only(given, against="worst") == ("kept", "q-s0", "q-s1")


def test_where_none_is_better_there_is_no_pair() -> None:
    (made,) = pairs(answers([0.5, 0.2, 0.6], 0.7))
    assert (made.status, made.reason) == ("dropped", "greedy_best: no sampled answer has its 0.7000")
    assert (made.chosen_id, made.rejected_id, made.margin) == (None, None, None)


def test_anchored_the_best_greedy_answer_is_chosen_and_else_rejected() -> None:
    anchored = {"against": "greedy_anchored"}
    assert only(answers([0.5, 0.2, 0.6], 0.7), **anchored) == ("kept", "q-g", "q-s1")
    assert only(answers([0.9, 0.1, 0.7], 0.5), **anchored) == ("kept", "q-s0", "q-g"), "though s1 is far below it"
    assert only(answers([0.7, 0.2], 0.7), **anchored) == ("kept", "q-g", "q-s1"), "a tie is no better answer"
    made = pairs(answers([0.5, 0.2, 0.6], 0.7), per_question=3, **anchored)
    assert [(p.chosen_id, p.rejected_id) for p in made] == [("q-g", "q-s1"), ("q-g", "q-s0"), ("q-g", "q-s2")]


def test_anchored_pairs_meet_the_rules_too() -> None:
    (made,) = pairs(answers([0.75, 0.1], 0.7), against="greedy_anchored")
    assert (made.status, made.reason) == ("dropped", "below_margin: 0.05 < 0.10"), (
        "nearly as good: nothing to hold on to"
    )
    (made,) = pairs(answers([0.65, 0.68], 0.7), against="greedy_anchored")
    assert (made.status, made.reason, made.chosen_id) == ("dropped", "below_margin: 0.05 < 0.10", "q-g")
    (made,) = pairs(answers([0.9, 0.1], None), against="greedy_anchored")
    assert made.reason == "no_greedy: the greedy answer has no score"


def test_where_the_best_falls_to_a_rule_another_that_is_better_is_chosen() -> None:
    long = [(replace(c, n_tokens=90), v) if c.candidate_id == "q-s0" else (c, v) for c, v in answers([0.9, 0.8], 0.5)]
    (made,) = pairs(long)
    assert (made.chosen_id, made.rejected_id) == ("q-s1", "q-g") and made.reason.startswith("fallback: length_ratio")


def test_the_rules_hold_against_the_greedy_answer_too() -> None:
    (made,) = pairs(answers([0.75, 0.68], 0.7))
    assert (made.status, made.reason) == ("dropped", "below_margin: 0.05 < 0.10")
    assert (made.chosen_id, made.rejected_id) == ("q-s0", "q-g")
    assert pairs(answers([0.7], 0.7))[0].reason == "tie: both 0.70"


def test_without_a_score_of_the_greedy_answer_there_is_no_pair() -> None:
    (made,) = pairs(answers([0.9, 0.1], None))
    assert (made.status, made.reason) == ("dropped", "no_greedy: the greedy answer has no score")
    assert (made.chosen_id, made.rejected_id, made.margin) == (None, None, None)


def test_further_pairs_are_against_the_greedy_answer_too() -> None:
    made = pairs(answers([0.9, 0.1, 0.7], 0.5), per_question=3)
    assert [(p.chosen_id, p.rejected_id) for p in made] == [("q-s0", "q-g"), ("q-s2", "q-g")]


@pytest.mark.parametrize("by_choice", [False, True])
def test_the_balance_of_lengths_takes_no_other_pairs(by_choice: bool) -> None:
    given = []
    for n in range(30):
        given += [
            (replace(c, n_tokens=30 if c.greedy else 25), v) for c, v in answers([0.9, 0.1, 0.8], 0.5, f"q{n:02}")
        ]
    made = pairs(given, length_by_choice=by_choice, length_min_pairs=20)
    kept = [p for p in made if p.status == "kept"]
    assert not kept, "each chosen answer is shorter: such a round teaches length"
