from __future__ import annotations

import random
import re
from collections import Counter

import pytest

from rlaif.exam import meaning
from rlaif.exam.corrupt import sentences

TEXT = "Smoke narrows the airways, and coughing follows. Most people need 40 mg of it in the morning. Rest helps."


def words(text: str) -> Counter[str]:
    return Counter(re.findall(r"\w+", text.lower()))


def rng(seed: int = 0) -> random.Random:
    return random.Random(seed)


def test_shuffled_sentences_keep_their_words_and_their_number() -> None:
    shuffled = meaning.shuffle(TEXT, rng())
    assert shuffled is not None and shuffled != TEXT and words(shuffled) == words(TEXT)
    assert len(sentences(shuffled)) == 3
    assert meaning.shuffle("Rest helps.", rng()) is None


@pytest.mark.parametrize(
    ("sentence", "turned"),
    [
        ("Smoke narrows the airways, and coughing follows.", "The airways narrows Smoke, and coughing follows."),
        ("Rest may reduce the pain.", "The pain may reduce Rest."),
        ("Tablets relieve fever and pain.", "Fever and pain relieve Tablets."),
        ("Smoke does not narrow the airways.", None),
        ("It is used to treat fever.", None),  # no subject of the verb stands before it
        ("The pain is worse at night.", None),
        ("", None),
    ],
)
def test_subject_and_object_change_places(sentence: str, turned: str | None) -> None:
    assert meaning.exchange(sentence) == turned


def test_order_takes_turns_and_always_keeps_the_words() -> None:
    made = [meaning.reorder(TEXT, rng(n), n) for n in range(4)]
    assert all(text and words(text) == words(TEXT) for text in made)
    assert made[1] == made[3] == meaning.exchange(TEXT) != made[0]


@pytest.mark.parametrize(
    ("text", "told", "expected"),
    [
        ("The pressure is high.", "high pressure", "The pressure is low."),
        ("Smoking raises the risk.", "raises the risk", "Smoking lowers the risk."),
        ("Slow breathing is advised.", "slow breathing", "Rapid breathing is advised."),
        ("The pressure is high.", "the pressure", None),  # nobody can say that it is not low
        ("It is high or low.", "high, low", None),  # both are said
        ("Rest.", "Rest.", None),
    ],
)
def test_an_opposite_has_no_negator(text: str, told: str, expected: str | None) -> None:
    made = meaning.opposite(text, rng(), told)
    if text.startswith("Slow"):
        assert made in ("Fast breathing is advised.", expected)
    else:
        assert made == expected


def test_negators_are_even_on_both_sides() -> None:
    texts = [
        "The pain is worse. Rest is good.",
        "It is not inherited. Rest helps.",
        "It cannot be cured at all.",
    ]
    for seed, text in enumerate(texts * 4):
        both = meaning.balanced(text, rng(seed))
        assert both is not None and both[0].startswith(text) and both[0] != both[1]
        assert meaning.negators(both[0]) == meaning.negators(both[1])
        assert len(sentences(both[0])) == len(sentences(both[1]))
    assert meaning.balanced("Fever, cough.", rng()) is None


def test_both_numbers_stand_on_both_sides() -> None:
    for seed in range(20):
        both = meaning.number_elsewhere("Take 40 mg every 6 hours.", rng(seed), "40 mg and 6 hours")
        assert both is not None
        good, bad = both
        assert good.startswith("Take 40 mg every 6 hours. ") and not bad.startswith("Take 40 mg every 6 hours.")
        assert words(good) == words(bad)
    assert meaning.number_elsewhere("Take a tablet.", rng(), "a tablet") is None
    assert meaning.number_elsewhere("Take 40 mg.", rng(), "tablets") is None


def test_a_claim_of_another_subject_stands_where_a_true_one_could() -> None:
    for number in range(8):
        good, bad = meaning.one_more("Rest helps.", "a dry cough", "a red nose", number)
        assert good.replace("dry cough", "red nose").lower() == bad.lower()
    replaced = meaning.foreign_sentence(TEXT, "The lungs are drained with a thin needle at once.", rng())
    assert replaced is not None and len(set(sentences(replaced)) - set(sentences(TEXT))) == 1
    assert meaning.foreign_sentence("Rest helps.", TEXT, rng()) is None


def test_the_short_answer_is_right_and_the_long_one_longer() -> None:
    both = meaning.short_and_long(TEXT, "Bananas are yellow fruit that grow in warm countries. " * 3, rng())
    assert both is not None and both[0] in TEXT and len(both[1].split()) >= 1.5 * len(both[0].split())
    assert meaning.short_and_long(TEXT, "Bananas.", rng()) is None
