import json

import pytest

from rlaif.review.compare import compare, find_judge, show
from rlaif.types import Candidate, RlaifError, UsageError, Verdict


def test_all_figures(run, screen, second_judge):
    second_judge("j2", "model-two", "strict", a=0.4, b=0.6, c=0.9, d=0.9, e=0.6, f=0.5)
    run.store.write(
        {"verdicts": [Verdict("a", "j2", 1, "scored", 0.2), Verdict("b", "j2", 1, "failed", reason="timeout")]}
    )
    result = compare(run, "j1", "strict")
    assert (result["candidates"], result["questions"], result["preferences"], result["flipped"], result["tied"]) == (
        6,
        3,
        3,
        1,
        1,
    )
    assert result["flip_share"] == pytest.approx(1 / 3)
    assert result["mean_shift"] == pytest.approx((0.3 + 0.6 + 0.9 + 0.9 + 0.6 + 0.5) / 6 - 3.2 / 6)
    # within each question the second answer is one token longer: -0.7, -0.4, -0.1 for A, 0.3, 0, -0.1 for B
    assert result["length_slope_a"] == pytest.approx(-40) and result["length_slope_difference"] == pytest.approx(
        40 + 20 / 3
    )
    assert [r["candidate_id"] for r in result["most_different"]] == ["a", "d", "b", "c"]
    assert result["most_different"][0] | {"score_b": 0.3} == {
        "candidate_id": "a", "score_a": 0.9, "score_b": 0.3, "question": "Why q1?", "answer": "answer a [bold]x[/bold]",
        "rationale_a": "rationale a", "rationale_b": "",
    }  # fmt: skip
    json.dumps(result, allow_nan=False)
    show(result, screen)
    assert "A: model-one, prompt default (j1)" in screen.text() and "[bold]x[/bold]" in screen.text()


def test_an_answer_sampled_twice_is_shown_once(run, second_judge):
    twice = Candidate("a2", 1, "q1", "p", "s", 2, 0, 0, "answer a [bold]x[/bold]", 10, "stop", -1.0, {"k": 3})
    run.store.write({"candidates": [twice], "verdicts": [Verdict("a2", "j1", 0, "scored", 0.9)]})
    second_judge("j2", "model-two", "strict", a=0.5, a2=0.4, b=0.6)
    assert [r["candidate_id"] for r in compare(run, "j1", "j2")["most_different"]] == ["a2", "b"]


def test_a_judge_is_found_by_id_beginning_model_or_prompt(run, second_judge):
    second_judge("j2abc", "model-two", "default", a=0.1)
    for name in ("j2abc", "j2", "model-two", "model-two/default"):
        assert find_judge(run, name)["judge_id"] == "j2abc"
    with pytest.raises(UsageError, match="means several judges; name one of: j1 .*; j2abc"):
        find_judge(run, "default")
    with pytest.raises(UsageError, match="no judge with scores.*j1 "):
        find_judge(run, "zz")
    with pytest.raises(UsageError, match="judge_agreement"):
        find_judge(run, "person:anna")


def test_what_cannot_be_compared(run, second_judge):
    with pytest.raises(UsageError, match="same judge"):
        compare(run, "j1", "model-one")
    second_judge("j3", "m3", "p3", z=0.5)
    with pytest.raises(RlaifError, match="no candidate in common"):
        compare(run, "j1", "j3")


def test_judges_without_any_spread_give_none_not_nan(run, second_judge):
    second_judge("j2", "model-two", "strict", a=0.5, b=0.5)
    second_judge("j3", "model-three", "lax", a=0.5, b=0.5)
    result = compare(run, "j2", "j3")
    assert (result["quadratic_kappa"], result["spearman"], result["flip_share"], result["most_different"]) == (
        None,
        None,
        None,
        [],
    )
