from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rlaif.evals.consistency import consistency

REFERENCE = (
    "Gout is a form of arthritis. It is caused by crystals of uric acid in the joints. It is not contagious. "
    "Adults take 2 tablets 3 times per day for 10 days. Doctors may use an ultrasound scan."
)


def turned(before: str, after: str) -> str:
    assert before in REFERENCE
    return REFERENCE.replace(before, after)


@pytest.mark.parametrize(
    "answer",
    [
        REFERENCE,
        "",
        "Gout is a form of arthritis.",
        "Joints of people with gout hold uric acid crystals.",
        "It isn't contagious.",
        "Asthma is treated with an inhaler, and it does not spread.",  # resembles nothing that is told
        "Rest and plenty of water help.",
        "Adults take 2 tablets.",
        "Do not smoke. Gout is a form of arthritis.",
        turned("Doctors may use", "Doctors use"),  # how sure it is of it is no contradiction
    ],
)
def test_what_agrees_or_speaks_of_something_else_contradicts_nothing(answer: str) -> None:
    assert consistency(answer, REFERENCE) == 1.0


@pytest.mark.parametrize(
    "answer",
    [
        turned("Gout is a form", "Gout is not a form"),
        turned("It is caused by", "It isn't caused by"),
        turned("It is caused by", "It is never caused by"),
        turned("It is not contagious", "It is contagious"),
        turned("Doctors may use", "Doctors cannot use"),
        turned("2 tablets", "8 tablets"),
        turned("2 tablets 3 times", "3 tablets 2 times"),
        turned("It is caused", "It is a myth that it is caused"),
    ],
)
def test_one_of_five_sentences_turned_round_is_one_fifth(answer: str) -> None:
    assert consistency(answer, REFERENCE) == pytest.approx(0.8)


def test_a_word_that_stands_for_a_negator_excuses_one() -> None:
    assert consistency("People do not smoke cigarettes.", "People stop smoking cigarettes.") == 1.0
    assert consistency("People do not stop smoking cigarettes.", "People stop smoking cigarettes.") == 0.0


def test_denials_from_outside_the_sentence_are_seen() -> None:
    assert consistency(f"The following is false: {REFERENCE}", REFERENCE) < 0.5
    assert consistency(f"{REFERENCE} None of this is true.", REFERENCE) < 0.5


def test_what_the_reference_itself_denies_may_be_denied() -> None:
    told = "It is a myth that gout comes from cold water. Gout does not spread."
    assert consistency(told, told) == 1.0
    assert consistency("Gout comes from cold water. Gout does not spread.", told) == 0.5


@given(st.text(st.sampled_from("no not is 2 5 mg gout.,:\n"), max_size=60))
def test_it_is_a_share_and_nothing_contradicts_itself(text: str) -> None:
    assert consistency(text, text) == 1.0
    assert 0.0 <= consistency(text, "gout is 2 mg. not 5 mg") <= 1.0
