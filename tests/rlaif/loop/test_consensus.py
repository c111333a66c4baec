from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.loop.consensus import consensus
from rlaif.types import Candidate


def said(question: str, *texts: str) -> list[Candidate]:
    return [
        Candidate(f"{question}-{k}", 1, question, "p", "h", k, 0, 0, text, 5, "stop", -1.0, {})
        for k, text in enumerate(texts)
    ]


def test_it_is_the_mean_agreement_with_the_others_of_the_question() -> None:
    found = consensus([*said("q", "rest water", "rest sleep", "salt"), *said("r", "rest water", "rest water")])
    assert found == pytest.approx({"q-0": 0.25, "q-1": 0.25, "q-2": 0.0, "r-0": 1.0, "r-1": 1.0})


def test_an_answer_alone_agrees_with_nobody() -> None:
    assert consensus(said("q", "rest")) == {} and consensus([]) == {}


@given(st.lists(st.text("ab c", max_size=8), min_size=2, max_size=5), st.randoms())
def test_it_is_a_share_and_does_not_depend_on_the_order(texts: list[str], rng: object) -> None:
    answers = said("q", *texts)
    found = consensus(answers)
    assert len(found) == len(texts) and all(0 <= value <= 1 for value in found.values())
    assert consensus(answers[::-1]) == pytest.approx(found)
