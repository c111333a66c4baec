from __future__ import annotations

import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rlaif.exam import corrupt

PROSE = "Doctors may look at the retina, check urine, send a patient home or repeat readings."
ANSWER = "Take 400 mg every 6 hours. Rest helps. The pain is worse at night. Most people recover within two weeks."


@pytest.mark.parametrize(
    ("sentence", "turned"),
    [
        ("Doctors may look at the retina.", "Doctors cannot look at the retina."),
        ("Blood can be checked for cholesterol.", "Blood cannot be checked for cholesterol."),
        ("The pain is worse at night.", "The pain is not worse at night."),
        ("It is not inherited.", "It is inherited."),
        ("It cannot be prevented.", "It can be prevented."),
        ("You should rest.", "You should not rest."),
        ("Fluids and calf exercises help stop clots.", "Fluids and calf exercises do not help stop clots."),
        ("The gland makes too much hormone.", "The gland does not make too much hormone."),
        ("The virus has two forms.", "The virus does not have two forms."),
        ("People who smoke develop it more often.", None),  # which verb is the main one is not known
        ("No test is decisive.", None),  # a second negation would not turn it round
        ("Wheezing, coughing, fever.", None),
        ("", None),
    ],
)
def test_one_sentence_is_turned_round_where_its_verb_is_known(sentence: str, turned: str | None) -> None:
    assert corrupt.negate_sentence(sentence) == turned


def test_one_sentence_in_three_is_turned_round_and_the_others_stay() -> None:
    text = " ".join(["The pain is worse.", "Rest is good."] * 3)
    negated = corrupt.negate(text, random.Random(0))
    assert negated is not None and negated.count(" not ") == 2
    assert len(corrupt.sentences(negated)) == 6


def test_a_number_that_is_told_is_changed_to_one_that_is_nowhere() -> None:
    for seed in range(20):
        changed = corrupt.change_number(ANSWER, random.Random(seed), "It takes 400 mg and two weeks.")
        assert changed is not None and changed != ANSWER and "every 6 hours" in changed
        different = set(changed.split()) ^ set(ANSWER.split())
        assert different & {"400", "two"} and len(different) == 2
    assert corrupt.change_number(ANSWER, random.Random(0), "Nothing of it.") is None


@pytest.mark.parametrize(
    "text", ["Type 2 diabetes and vitamin B12.", "In 1998 it was found.", "COVID-19 spreads.", "Step 3 follows."]
)
def test_names_and_years_are_no_numbers_to_change(text: str) -> None:
    assert corrupt.change_number(text, random.Random(0), text) is None


def test_a_share_stays_a_share() -> None:
    for seed in range(30):
        changed = corrupt.change_number("About 50 percent recover.", random.Random(seed), "50 percent")
        assert changed is not None and float(changed.split()[1]) <= 100


def test_half_of_the_sentences_go_and_the_rest_keeps_its_order() -> None:
    half = corrupt.drop_half(ANSWER, random.Random(3))
    assert half is not None
    kept = corrupt.sentences(half)
    assert len(kept) == 2 and ANSWER.index(kept[0]) < ANSWER.index(kept[1])


def test_of_one_sentence_the_half_with_the_verb_stays() -> None:
    assert corrupt.drop_half(PROSE, random.Random(0)) == "Doctors may look at the retina, check urine."
    late = "Water pills, salty food, poor sleep and heavy meals can raise it."
    assert (
        corrupt.drop_half("Old water pills, salty food, poor sleep and heavy meals can raise it.", random.Random(0))
        is not None
    )
    assert str(corrupt.drop_half(late, random.Random(0))).endswith("can raise it.")
    assert corrupt.drop_half("Rest helps.", random.Random(0)) is None


def test_padding_adds_and_layout_keeps_every_word() -> None:
    assert corrupt.pad(PROSE, random.Random(0)).startswith(PROSE + " ")
    seen = set()
    for seed in range(40):
        changed = corrupt.reformat(PROSE, random.Random(seed))
        seen.add(changed)
        words = [w.strip("*#-1234567890. ") for w in changed.replace("Answer", "").split()]
        assert [w for w in words if w] == PROSE.replace(".", "").split()
    assert len(seen) == 7 and PROSE not in seen


def test_demands_take_turns_and_the_plain_one_comes_often() -> None:
    said = [corrupt.demand("Bad.", n) for n in range(80)]
    assert all(s.startswith("Bad. ") for s in said)
    assert sum("give this 1.0" in s.lower() for s in said) >= 14
    assert len(set(said)) == 38, "eight demands and thirty claims"


def test_a_frame_stands_around_the_whole_text() -> None:
    made = [corrupt.framed(PROSE, n) for n in range(30)]
    assert len(set(made)) == 30 and all(PROSE.rstrip(".") in text for text in made)
    assert corrupt.framed("Rest.", 30) == corrupt.framed("Rest.", 0)


def test_a_soup_has_the_words_that_say_something_and_no_sentence() -> None:
    made = [corrupt.soup("a dry cough, shortness of breath and fever", random.Random(n), n) for n in range(4)]
    for text in made:
        words = text.lower().replace("keywords:", "").replace(",", " ").strip(". ").split()
        assert sorted(words) == ["breath", "cough", "dry", "fever", "shortness"]
    assert len(set(made)) == 4 and made[2].startswith("Keywords: ")


@settings(max_examples=60)
@given(
    st.text(max_size=200) | st.lists(st.sampled_from([*ANSWER.split(), *PROSE.split(), "\n", "not", ","])).map(" ".join)
)
def test_any_text_is_spoiled_or_refused_without_a_crash(text: str) -> None:
    for function in (corrupt.negate, corrupt.drop_half, corrupt.pad):
        made = function(text, random.Random(0))
        assert made is None or isinstance(made, str)
    assert isinstance(corrupt.reformat(text, random.Random(0)), str)
    changed = corrupt.change_number(text, random.Random(0), text)
    assert changed is None or changed != text
