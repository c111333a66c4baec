from __future__ import annotations

from itertools import combinations
from statistics import fmean

import pytest

from benchmarks.spread import Answer, best_of, repeated, within


def answers(*of: tuple[float, float]) -> list[Answer]:
    return [Answer(judged, 0.0, f1, 1, 0.0, -1.0) for judged, f1 in of]


FOUR = answers((0.3, 0.1), (0.9, 0.4), (0.5, 0.8), (0.1, 0.2))


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_best_of_k_is_the_mean_over_all_choices(k: int) -> None:
    by_hand = fmean(max(some, key=lambda a: a.judged).f1 for some in combinations(FOUR, k))
    assert best_of(FOUR, "judged", k) == pytest.approx(by_hand)
    assert best_of(FOUR, "f1", k) >= best_of(FOUR, "judged", k) - 1e-12


def test_one_is_the_mean_and_all_is_the_best() -> None:
    assert best_of(FOUR, "judged", 1) == pytest.approx(0.375)
    assert (best_of(FOUR, "judged", 4), best_of(FOUR, "f1", 4)) == (0.4, 0.8)


def test_correlation_is_within_questions() -> None:
    """Across the two questions the judge's scores rise with token F1; within each they fall."""
    questions = [answers((0.1, 0.2), (0.2, 0.1)), answers((0.8, 0.9), (0.9, 0.8))]
    assert within(questions, "judged", "f1") == pytest.approx(-1)
    assert within(questions, "words", "f1") == 0.0, "a constant"


def test_repeated_trigrams() -> None:
    assert repeated("rest rest") == 0 and repeated("a b c a b c") == pytest.approx(0.25)
