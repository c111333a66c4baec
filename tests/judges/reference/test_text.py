from __future__ import annotations

import pytest

from judges.reference.text import content_words, number, plain, statements, stem


@pytest.mark.parametrize(
    "same",
    [
        ("wheeze", "wheezing", "wheezes"),
        ("swollen", "swelling", "swell"),
        ("infection", "infected", "infections"),
        ("allergy", "allergic", "allergies"),
        ("fatigue", "tiredness", "tired"),
        ("diabetes", "diabetic"),
    ],
)
def test_inflections_and_synonyms_share_a_stem(same: tuple[str, ...]) -> None:
    assert len({stem(w) for w in same}) == 1


def test_different_words_keep_different_stems() -> None:
    words = ("wheezing", "coughing", "swelling", "bleeding", "hearing", "heartburn", "heart", "kidney", "liver", "rash")
    assert len({stem(w) for w in words}) == len(words)


def test_markup_accents_and_list_marks_go() -> None:
    assert plain("1. **Ménière’s** disease\n- `Vertigo`") == "menieres disease\nvertigo"
    assert plain("24-hour monitor") == "24-hour monitor"


@pytest.mark.parametrize(("token", "spelled"), [("1,000", "1000"), ("2.50", "2.5"), ("400", "400"), ("3.0", "3")])
def test_numbers_have_one_spelling(token: str, spelled: str) -> None:
    assert number(token) == spelled


def test_decimals_are_not_cut_and_clauses_are() -> None:
    assert [s.text for s in statements("Take 2.5 mg, then rest. Fever and chills")] == [
        "take 2.5 mg",
        "then rest",
        "fever",
        "chills",
    ]


def test_polarity_of_a_clause() -> None:
    by_text = {s.text: s for s in statements("Not only fever. No cough. Without a rash; quitting tobacco")}
    assert [s.negated for s in by_text.values()] == [False, True, True, False]
    assert by_text["quitting tobacco"].softened


@pytest.mark.parametrize(
    ("text", "denied"),
    [
        ("Smoking, old age and stress do not raise the risk.", 3),
        ("Smoking, old age and stress never raise the risk.", 3),
        ("Smoking raises it, stress can add to it and age does not matter.", 1),  # each has a verb of its own
        ("Not only smoking, but stress too.", 0),
    ],
)
def test_a_denial_after_several_subjects_holds_for_each(text: str, denied: int) -> None:
    assert sum(s.negated for s in statements(text)) == denied


def test_stop_words_say_nothing() -> None:
    assert content_words("the common symptoms of this are") == []
