from __future__ import annotations

import numpy as np
import pytest

from rlaif.gate.reading import Reading, reading

LABELS = np.array(["yes", "no", "maybe"])
RNG = np.random.default_rng(3)


def read(targets: np.ndarray, first: np.ndarray, second: np.ndarray, per_group: int = 1) -> Reading:
    return reading(targets, first, second, np.arange(len(targets)) // per_group)


def drawn(n: int, shares: tuple[float, ...]) -> np.ndarray:
    return LABELS[RNG.choice(3, n, p=shares)]


def test_accuracy_and_chance_are_those_of_a_hand_calculation() -> None:
    targets = np.array(["yes", "yes", "no", "no"])
    found = read(targets, np.array(["yes", "yes", "no", "yes"]), np.array(["yes", "no", "no", "yes"]))
    # five of eight labels are right; yes is said in 5 of 8 and right in 2 of 4
    assert (found.accuracy, found.by_chance) == (pytest.approx(5 / 8), pytest.approx(0.5))


@pytest.mark.parametrize("shares", [(1.0, 0.0, 0.0), (0.9, 0.1, 0.0), (0.5, 0.3, 0.2)])
def test_guesses_are_shown_to_read_in_one_case_of_twenty_at_most(shares: tuple[float, ...]) -> None:
    shown = [read(drawn(250, (0.55, 0.34, 0.11)), drawn(250, shares), drawn(250, shares), 2).shown for _ in range(400)]
    assert np.mean(shown) <= 0.09


def test_an_accuracy_of_three_quarters_is_reading() -> None:
    targets = drawn(250, (0.55, 0.34, 0.11))
    first = np.where(RNG.random(250) < 0.75, targets, "yes")
    assert read(targets, first, np.full(250, "yes")).shown, "one of the two is enough"


def test_who_said_what_makes_no_difference() -> None:
    targets, a, b = (drawn(60, (0.5, 0.3, 0.2)) for _ in range(3))
    swap = (RNG.random(30) < 0.5).repeat(2)
    one, other = read(targets, a, b, 2), read(targets, np.where(swap, b, a), np.where(swap, a, b), 2)
    assert one.lower == pytest.approx(other.lower, abs=1e-12)


@pytest.mark.parametrize(("yes", "no", "maybe"), [(1, 16, 10), (6, 1, 20), (11, 6, 10), (55, 34, 11)])
def test_two_policies_that_each_say_one_label_do_not_read(yes: int, no: int, maybe: int) -> None:
    """Their accuracy is chance itself, and the last digit of a float is no evidence."""
    targets = LABELS.repeat([yes, no, maybe])
    assert not read(targets, np.full(len(targets), "yes"), np.full(len(targets), "no")).shown


def test_one_group_shows_nothing() -> None:
    targets = drawn(40, (0.5, 0.3, 0.2))
    assert not read(targets, targets, targets, 40).shown


def test_words_say_what_was_found() -> None:
    said = Reading(0.528, 0.527, -0.0133, -0.02).words
    assert said.startswith("0.528 of both policies' labels are right, and labels as frequent as theirs reach 0.527")
    assert said.endswith("(lower 95% bound of the difference -0.013 <= 0)")
