import math

import pytest

from rlaif.config import MonitorConfig
from rlaif.loop import monitors

LIMIT = MonitorConfig()


def test_logps_falling_counts_the_last_third_in_nats_a_token():
    rewards = [0.0, 0.0, -0.9]  # beta 0.1: 9 nats off each chosen answer, of 30 tokens
    found = monitors.logps_falling(rewards, [0.0, 0.0, -2.0], 0.1, 30, LIMIT)
    assert found.red and found.value == pytest.approx(-0.3)
    assert "-0.300 nat/token" in found.detail


def test_chosen_answers_may_fall_a_little_or_alone():
    assert not monitors.logps_falling([0.0, 0.0, -0.5], [0.0, 0.0, -2.0], 0.1, 30, LIMIT).red
    assert not monitors.logps_falling([0.0, 0.0, -0.9], [0.0, 0.0, 0.1], 0.1, 30, LIMIT).red


def test_overfit_needs_pairs_that_were_seen_before():
    epoch = [0.25, 0.5, 0.75, 1.0]
    once = monitors.overfit([0.0, 0.5, 1.0, 1.0], epoch, LIMIT)
    assert not once.red and once.value == 1.0 and "each pair was seen once" in once.detail
    twice = monitors.overfit([0.0, 0.5, 0.5, 0.5, 1.0, 1.0, 1.0, 1.0], epoch + [1.25, 1.5, 1.75, 2.0], LIMIT)
    assert twice.red and twice.value == 1.0 and "0.50 on new ones" in twice.detail
    learned = monitors.overfit([0.0, 0.5, 0.8, 0.9, 1.0, 1.0, 1.0, 1.0], epoch + [1.25, 1.5, 1.75, 2.0], LIMIT)
    assert not learned.red, "high on both is learning, not memory"


@pytest.mark.parametrize(("words", "red"), [(8, False), (10, False), (12, False), (13, True), (20, True), (7, True)])
def test_length_ratio_is_the_median_over_items(words: int, red: bool):
    champion = ["a " * 10] * 3
    found = monitors.length_ratio(champion, ["a " * words, "a " * words, "a " * 500], LIMIT)
    assert found.red == red and found.value == pytest.approx(words / 10)


def test_an_empty_champion_answer_divides_by_nothing():
    assert monitors.length_ratio([""], ["two words"], LIMIT).value == 2.0


def test_distinct_2_falls_when_answers_repeat_themselves():
    champion = [
        "rest and water help most people",
        "a doctor should see a high fever",
        "take the tablets with food twice daily",
    ]
    found = monitors.distinct_2(champion, ["rest and water help most people"] * 3, LIMIT)
    assert found.red and found.value is not None and found.value < 0.5
    assert monitors.distinct_2(champion, champion[::-1], LIMIT).value == pytest.approx(1.0)


def test_distinct_2_is_not_a_matter_of_length():
    """The same words drawn at the same rates, four times as many: the plain share falls by half, this one stays."""
    import random

    rng = random.Random(0)
    words = [f"w{i}" for i in range(12)]
    short, long = ([" ".join(rng.choices(words, k=n)) for _ in range(20)] for n in (10, 40))
    found = monitors.distinct_2(short, long, LIMIT)
    assert not found.red and found.value == pytest.approx(1.0, abs=0.1)


def test_rarefaction_is_exact():
    """Kinds of counts (2, 1), 2 drawn of 3: the pairs are aa, ab, ab, so (1 + 2 + 2) / 3."""
    import numpy as np

    assert monitors._kinds(np.array([2.0, 1.0]), 2) == pytest.approx(5 / 3)
    assert monitors._kinds(np.array([2.0, 1.0]), 3) == pytest.approx(2)


def test_pair_yield_against_round_1():
    assert monitors.pair_yield(20, 100, 80, 100, LIMIT).red
    found = monitors.pair_yield(40, 100, 80, 100, LIMIT)
    assert not found.red and found.value == 0.5, "half is not under half"


def test_score_spread_against_round_1():
    first = [[0.2, 0.8], [0.4, 0.6]]
    alike = [[0.5, 0.55], [0.5, 0.52], [0.9]]
    found = monitors.score_spread(alike, first, LIMIT)
    assert found.red and found.value == pytest.approx((0.05 + 0.02) / 2 / 0.4)
    assert not monitors.score_spread(first, first, LIMIT).red


@pytest.mark.parametrize(
    ("judge", "measures", "red"),
    [
        ((0.6, 0.7), {"token_f1": (0.5, 0.5)}, True),
        ((0.6, 0.7), {"quality": (0.5, 0.5), "token_f1": (0.5, 0.49)}, True),
        ((0.6, 0.7), {"quality": (0.5, 0.45), "token_f1": (0.5, 0.51)}, False),
        ((0.6, 0.7), {"quality": (0.5, 0.51), "token_f1": (0.5, 0.49)}, False),
        ((0.6, 0.61), {"token_f1": (0.5, 0.4)}, False),
        ((0.6, 0.7), {}, False),
    ],
)
def test_judge_up_while_no_independent_measure_is(judge, measures, red):
    found = monitors.judge_up(judge, measures, 150, LIMIT)
    assert found.red == red and found.value == pytest.approx(judge[1] - judge[0])
    assert found.detail.endswith(", on 150 gate questions")


def test_a_low_yield_is_one_that_was_low_in_round_1_too():
    assert monitors.yield_low(30, 100, 30, 100, LIMIT).red
    assert not monitors.yield_low(40, 100, 30, 100, LIMIT).red, "40% is not under 40%"
    later = monitors.yield_low(30, 100, 55, 100, LIMIT)
    assert not later.red and later.value == 0.3, "a better champion's answers differ less: pair_yield watches that"
    assert monitors.yield_low(0, 0, 0, 0, LIMIT).value is None


def test_the_reason_that_takes_most_questions_is_named_where_the_yield_is_low():
    lost = {"all_bad": 44, "truncated": 18, "length_ratio": 12}
    found = monitors.lost_to(lost, 100, True, LIMIT)
    assert (found.red, found.value, found.cause) == (True, 0.44, "all_bad")
    assert found.detail == "all_bad: 44 of 100 questions, 44%"
    assert not monitors.lost_to(lost, 100, False, LIMIT).red
    assert not monitors.lost_to({"tie": 30}, 100, True, LIMIT).red
    assert monitors.lost_to({}, 100, True, LIMIT).value == 0.0
    assert monitors.lost_to({}, 0, True, LIMIT).value is None


def test_few_steps():
    assert monitors.steps_low(4, 30, LIMIT).red and not monitors.steps_low(5, 40, LIMIT).red
    assert monitors.steps_low(4, 30, LIMIT).detail == "4 steps on 30 pairs"
    assert monitors.steps_low(0, 0, LIMIT).value is None


def test_kl_is_a_mean_over_tokens():
    found = monitors.kl_to_sft([3.0, 5.0], 40, LIMIT)
    assert found.red and found.value == pytest.approx(0.2)
    assert not monitors.kl_to_sft([1.0, 1.0], 40, LIMIT).red


def test_truncated_over_two_percent():
    assert monitors.truncated(3, 100, LIMIT).red
    assert not monitors.truncated(2, 100, LIMIT).red


@pytest.mark.parametrize(
    "found",
    [
        monitors.logps_falling([], [], 0.1, 0.0, LIMIT),
        monitors.overfit([], [], LIMIT),
        monitors.length_ratio([], [], LIMIT),
        monitors.distinct_2(["one"], ["two"], LIMIT),
        monitors.pair_yield(0, 0, 5, 10, LIMIT),
        monitors.pair_yield(5, 10, 0, 10, LIMIT),
        monitors.score_spread([[0.5]], [[0.5, 0.6]], LIMIT),
        monitors.score_spread([[0.5, 0.6]], [[0.5, 0.5]], LIMIT),
        monitors.kl_to_sft([], 0, LIMIT),
        monitors.truncated(0, 0, LIMIT),
    ],
    ids=lambda m: m.name,
)
def test_what_cannot_be_measured_has_no_number_and_is_not_red(found):
    assert found.value is None and not found.red and found.detail
    assert "not measured: " in found.row["threshold"]


def test_thresholds_come_from_the_configuration():
    strict = MonitorConfig(truncated=0.001, length_high=1.0, pair_yield=1.0)
    assert monitors.truncated(2, 100, strict).red
    assert monitors.length_ratio(["a b c d e f g h i j"], ["a b c d e f g h i j k"], strict).red
    assert monitors.pair_yield(70, 100, 80, 100, strict).red
    assert math.isclose(strict.logps_chosen, -0.2)
