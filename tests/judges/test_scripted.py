from __future__ import annotations

import pytest

from judges.scripted import ScriptedJudge
from rlaif.types import JudgeItem, RlaifError


def item(name: str, answer: str = "text", replicate: int = 0) -> JudgeItem:
    return JudgeItem(name, "question", answer, replicate=replicate)


def test_scores_come_from_the_id_else_from_the_answer_in_order() -> None:
    verdicts = ScriptedJudge({"a": 0.25, "good": 1.0}).score([item("b", "good", 3), item("a", "good")])
    assert [(v.candidate_id, v.score, v.replicate, v.status) for v in verdicts] == [
        ("b", 1.0, 3, "scored"),
        ("a", 0.25, 0, "scored"),
    ]


def test_a_function_of_the_item() -> None:
    assert ScriptedJudge(lambda i: len(i.answer) / 10).score([item("a", "four")])[0].key_point_coverage == 0.4


def test_told_failures_have_a_reason_and_no_score() -> None:
    verdicts = ScriptedJudge(lambda _: 1.0, failed=["a"], unparsed=["b"]).score([item("a"), item("b"), item("c")])
    assert [(v.status, v.score) for v in verdicts] == [("failed", None), ("unparsed", None), ("scored", 1.0)]
    assert all(v.reason for v in verdicts[:2])


def test_an_unknown_item_or_a_score_out_of_range_is_an_error() -> None:
    with pytest.raises(RlaifError, match="no score for candidate 'z'"):
        ScriptedJudge({}).score([item("z")])
    with pytest.raises(RlaifError, match="outside 0-1"):
        ScriptedJudge({"z": 1.5}).score([item("z")])


def test_the_identity_says_it_is_made_up_and_names_differ() -> None:
    assert "made up" in ScriptedJudge({}).identity.decoding["kind"]
    assert ScriptedJudge({}, name="one").identity.judge_id != ScriptedJudge({}, name="two").identity.judge_id
