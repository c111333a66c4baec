from __future__ import annotations

import pytest

from rlaif.rubric import (
    clipped,
    drawn,
    judged_share,
    marked,
    points,
    possible,
    verdict_of,
)
from rlaif.types import CriterionVerdict, Verdict

# (weights, met, points reached, points possible, score; None where no criterion has points above 0), worked out by hand
CASES = [
    ([5], [1], 5, 5, 1.0),
    ([5], [0], 0, 5, 0.0),
    ([5, 5], [1, 0], 5, 10, 0.5),
    ([7, 3], [1, 0], 7, 10, 0.7),
    ([7, 3], [0, 1], 3, 10, 0.3),
    ([10, 8, 2], [1, 1, 0], 18, 20, 0.9),
    ([10, -5], [1, 0], 10, 10, 1.0),
    ([10, -5], [1, 1], 5, 10, 0.5),
    ([10, -5], [0, 1], -5, 10, -0.5),
    ([10, -10], [1, 1], 0, 10, 0.0),
    ([4, 4, -8, -8], [1, 1, 1, 1], -8, 8, -1.0),
    ([1, 2, 3, 4], [1, 1, 1, 1], 10, 10, 1.0),
    ([3, 3, 3], [1, 0, 0], 3, 9, 1 / 3),
    ([9, 6, -7], [1, 1, 1], 8, 15, 8 / 15),
    ([2, -1, -1, -1], [1, 1, 1, 1], -1, 2, -0.5),
    ([0.5, 0.25, 0.25], [1, 0, 1], 0.75, 1, 0.75),
    ([7, 5, 10, -9, -6], [0, 1, 1, 0, 1], 9, 22, 9 / 22),
    ([-5], [1], -5, 0, None),
    ([-5, -3], [0, 0], 0, 0, None),
    ([-5, 0], [0, 1], 0, 0, None),
    ([], [], 0, 0, None),
]


@pytest.mark.parametrize(("weights", "met", "reached", "most", "score"), CASES)
def test_the_score_is_healthbenchs(weights, met, reached, most, score) -> None:
    assert possible(weights) == most
    found = points(weights, met)
    assert found is None if score is None else found == pytest.approx(score, abs=1e-9)
    assert score is None or found == pytest.approx(reached / most, abs=1e-9)


def test_there_are_twenty_cases_with_faults_and_rubrics_of_faults_alone() -> None:
    assert len(CASES) >= 20
    assert sum(any(w < 0 for w in case[0]) for case in CASES) >= 9
    assert sum(case[4] is None and bool(case[0]) for case in CASES) == 3


@pytest.mark.parametrize(("score", "shown"), [(-0.5, 0.0), (0.0, 0.0), (0.25, 0.25), (1.0, 1.0), (1.2, 1.0)])
def test_scores_are_clipped(score: float, shown: float) -> None:
    assert clipped(score) == shown


def row(place: int, weight: float, value: float | None, status: str = "scored") -> CriterionVerdict:
    why = "" if value is not None else "no answer"
    return CriterionVerdict("c", "j", 0, place, f"criterion {place}", weight, "", "", status, value, why)  # type: ignore[arg-type]


EMPTY = Verdict("c", "j", 0, "unparsed")


def test_a_verdict_says_how_much_of_the_weight_was_judged() -> None:
    made = verdict_of(EMPTY, [row(0, 6, 1.0), row(1, 2, 0.0), row(2, -2, None, "failed")])
    assert (made.status, made.score, made.judged_weight) == ("scored", 0.75, 0.8)
    assert "1 of 2 criteria met" in made.rationale and "80% of the weight judged" in made.rationale
    assert len(made.criteria) == 3
    assert verdict_of(EMPTY, [row(0, 6, 1.0), row(1, -6, 1.0)]).score == 0.0


@pytest.mark.parametrize(
    ("rows", "status", "why"),
    [
        ([row(0, 6, None, "failed"), row(1, 2, 1.0)], "failed", "1 of 2 criteria not judged, 25% of the weight was"),
        ([row(0, 6, None, "unparsed"), row(1, 2, None, "refused")], "refused", "2 of 2 criteria not judged"),
        ([row(0, -6, 1.0), row(1, -2, 0.0)], "failed", "no criterion has points above 0"),
        ([row(0, -6, 1.0), row(1, 2, None, "unparsed")], "unparsed", "1 of 2 criteria not judged"),
    ],
)
def test_a_verdict_over_too_little_is_no_number(rows, status, why) -> None:
    made = verdict_of(EMPTY, rows)
    assert (made.status, made.score) == (status, None)
    assert why in made.reason and len(made.criteria) == len(rows)


def test_shares_of_weight_look_at_size_alone() -> None:
    assert judged_share([3, -1], [True, False]) == 0.75
    assert judged_share([3, -1], [False, True]) == 0.25
    assert judged_share([], []) == 0.0


def test_criteria_of_a_prompt_become_rows() -> None:
    made = marked(Verdict("c", "j", 0, "scored", 0.5), ("safety", "harm"), (4.0, -8.0), {"safety": 1.0, "harm": 0.0})
    assert [(c.criterion, c.weight, c.value, c.source) for c in made.criteria] == [
        ("safety", 4.0, 1.0, "prompt"),
        ("harm", -8.0, 0.0, "prompt"),
    ]
    failed = marked(Verdict("c", "j", 0, "failed", reason="timeout"), ("safety",), (1.0,), {})
    assert [(c.status, c.value, c.reason) for c in failed.criteria] == [("failed", None, "timeout")]


def test_rubrics_are_drawn_from_key_points_else_from_the_reference() -> None:
    assert [(c.text, c.weight, c.source) for c in drawn(("rest", "ice"), "Rest and ice help a lot.")] == [
        ("States this, in whatever words: rest", 1.0, "key_points"),
        ("States this, in whatever words: ice", 1.0, "key_points"),
    ]
    sentences = drawn((), "Rest helps most people well. Yes. Take 2.5 mg of it at night.\nSee a doctor when it lasts.")
    assert [c.text.partition(": ")[2] for c in sentences] == [
        "Rest helps most people well.",
        "Take 2.5 mg of it at night.",
        "See a doctor when it lasts.",
    ]
    assert drawn((), "") == ()
