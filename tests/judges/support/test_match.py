from __future__ import annotations

import pytest

from judges.reference.text import statements
from judges.support.match import NOT_WEIGHT, best_matches, sentences, shared_weight, total
from judges.support.words import COMMON


def read(text: str):
    return sentences(statements(text))


def test_similarity_is_the_dice_coefficient_of_words_and_pairs() -> None:
    (mine,), (theirs,) = read("Colchicine eases gout."), read("Colchicine eases pneumonia.")
    # three words and two pairs each; two words and one pair are shared
    assert best_matches([mine], [theirs]) == ([pytest.approx(6 / 10)], [pytest.approx(6 / 10)])


def test_each_side_takes_its_best_match() -> None:
    mine, theirs = read("Colchicine eases gout."), read("Bananas ripen. Colchicine eases gout.")
    assert best_matches(mine, theirs) == ([1.0], [0.0, 1.0])
    assert best_matches([], theirs) == ([], [0.0, 0.0])


def test_a_common_word_weighs_less_and_a_negator_counts_as_a_word() -> None:
    assert "blood" in COMMON
    assert total(["blood"]) < total(["colchicin"]) == 1.0
    (plain,), (denied,) = read("Colchicine eases gout."), read("Colchicine does not ease gout.")
    assert denied.words[0] == "not" and denied.weight == pytest.approx(plain.weight + NOT_WEIGHT)


def test_what_is_wrong_or_repeated_is_kept_out_but_counts_in_the_length() -> None:
    told = statements("Colchicine eases gout, and bananas ripen quickly. Colchicine eases gout.")
    first, second = sentences(told, [s for s in told if "bananas" in s.text])
    assert set(first.kept) == {"colchicin", "eas", "gout"} and len(first.words) > len(first.kept)
    assert second.repeats and second.kept == () and second.weight == pytest.approx(3.0)
    assert not first.repeats


def test_words_are_shared_as_multisets() -> None:
    assert shared_weight(["gout", "gout", "beer"], ["gout", "wine"]) == 1.0
    assert shared_weight([], ["gout"]) == 0.0
