"""Denials outside the clause, in wordings that neither the exam nor the tiny judge's corpus has."""

from __future__ import annotations

import pytest

from judges.reference import ReferenceJudge
from rlaif.types import JudgeItem, Verdict

POINTS = ("a dry cough", "a mild fever", "aching muscles", "no appetite")
LIST = ", ".join(POINTS)
REFERENCE = "Common symptoms are a dry cough, a mild fever, aching muscles and no appetite."
PROSE = "People cough dryly, run a mild temperature, feel their muscles ache and have no appetite."


def judge(answer: str, question: str = "What are the symptoms of flu?", points: tuple[str, ...] = POINTS) -> Verdict:
    return ReferenceJudge().score([JudgeItem("c", question, answer, REFERENCE, "", points)])[0]


def score(answer: str) -> float:
    found = judge(answer).score
    assert found is not None
    return found


@pytest.mark.parametrize("body", [LIST, REFERENCE.rstrip("."), PROSE.rstrip(".")], ids=["list", "sentence", "prose"])
@pytest.mark.parametrize(
    "frame",
    [
        "Fairy tales: {p}.",
        "**Untrue:**\n- {p}",
        "Hoaxes that go around: {p}.",
        "Not a word of the following is correct. {p}.",
        "These claims have been debunked: {p}.",
        "It is a fallacy that {p}.",
        "{p}. All of these are false.",
        "{p}: every one of them made up.",
        "{p}. But none of that is so.",
        "{p}. Never believe such claims.",
        "{p} (pure fiction).",
        "Old books say: {p}. This has been refuted.",
        "You may hear the following, but it is a lie: {p}.",
        "{p}. Trials have disproved all this.",
    ],
)
def test_a_frame_leaves_nothing_of_what_it_denies(frame: str, body: str) -> None:
    verdict = judge(frame.format(p=body))
    assert verdict.score is not None and verdict.score < 0.2 < score(PROSE)
    assert "denied" in verdict.flags and "contradicts (denied)" in verdict.rationale


@pytest.mark.parametrize(
    "frame",
    [
        "Symptoms include: {p}.",
        "The facts: {p}.",
        "The following is true: {p}.",
        "{p}. None of this is wrong.",
        "{p}. There is no doubt about it.",
        "{p}. These are not all.",
        "{p}. Not everyone has all of them.",
        "{p}. It is not known why.",
        "{p}. Other illnesses have to be ruled out.",
        "{p}. Lying down helps.",
        "{p}. It is sometimes mistaken for a cold.",
        "Myths: it comes from wet hair. Facts: {p}.",
        "It is a myth that wet hair brings it. {p}.",
    ],
)
def test_headings_and_ordinary_negation_deny_nothing(frame: str) -> None:
    verdict = judge(frame.format(p=REFERENCE.rstrip(".")))
    assert verdict.score is not None and verdict.score > 0.6
    assert not {"denied", "negation"} & set(verdict.flags)


def test_a_frame_denies_what_it_stands_for_and_no_more() -> None:
    half = "Myths: a dry cough, a mild fever. Facts: aching muscles, no appetite and more."
    assert 0.1 < score(half) < score("Symptoms are aching muscles and no appetite.")
    last = "Symptoms are a dry cough, a mild fever and aching muscles. Some say there is no appetite. That is wrong."
    assert score(last) > 0.4


def test_clauses_that_call_their_own_subject_false_are_denied() -> None:
    assert score("A dry cough, a mild fever and aching muscles are myths.") < 0.2
    assert score("That there is a mild fever is untrue.") < 0.2


@pytest.mark.parametrize(
    "soup", ["cough dry fever mild aching muscles appetite", "appetite, muscles, mild, dry, fever, cough, aching",
             "Index: aching cough dry appetite mild muscles fever."],
)  # fmt: skip
def test_key_words_without_a_sentence_earn_less_than_good_prose(soup: str) -> None:
    verdict = judge(soup)
    assert verdict.score is not None and verdict.score < 0.5 < score(PROSE)
    assert "no_sentence" in verdict.flags and "key words without a sentence" in verdict.rationale


@pytest.mark.parametrize(
    "fine",
    [PROSE, REFERENCE, "Symptoms include:\n- a dry cough\n- a mild fever\n- aching muscles\n- no appetite", "Fever."],
)
def test_sentences_lists_with_a_verb_and_short_answers_are_as_they_were(fine: str) -> None:
    assert "no_sentence" not in judge(fine).flags


def test_words_after_a_soup_make_no_sentence_of_it() -> None:
    soup = "cough dry fever mild aching muscles appetite"
    assert score(f"{soup}. All of this is as it should be, and it has been checked.") <= score(soup)


def test_the_denial_of_a_denial_is_no_frame_for_the_key_points() -> None:
    verdict = judge("Nothing said above or below is wrong.")
    assert "denied" not in verdict.flags
