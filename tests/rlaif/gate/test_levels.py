from __future__ import annotations

import pytest
import scipy.stats

from rlaif.gate.levels import Arm, Level, alone, alpha_for_look, least_p, shared
from rlaif.types import UsageError

ALPHA = 0.04


def test_the_least_p_counts_groups_that_hold_a_difference_and_no_direction() -> None:
    groups = ["a", "a", "b", "b", "c"]
    before = [0.0, 0.0, 1.0, 0.0, 1.0]
    after = [1.0, 1.0, 0.0, 0.0, 1.0]
    assert least_p(before, after, groups) == 2.0**-2
    assert least_p(after, before, groups) == 2.0**-2, "the same with the policies exchanged"
    assert least_p(before, before, groups) == 1.0


@pytest.mark.parametrize(
    ("least", "p", "levels"),
    [
        ((0.01, 0.01), (0.03, 0.015), (Level(0.5, 0.03), Level(0.5, 0.03))),  # Holm
        ((0.5, 1e-9), (0.5, 0.03), (Level(0.0, 0.5), Level(1.0, 0.03))),  # accuracy cannot: the score has all
        ((1e-9, 0.5), (0.03, 0.5), (Level(1.0, 0.03), Level(0.0, 0.5))),  # and the other way round
        ((0.03, 1e-9), (0.03, 0.035), (Level(0.0, 0.035), Level(1.0, 0.035))),  # second, after the first has passed
        ((0.5, 1e-9), (0.001, 0.5), (Level(0.0, 0.5), Level(1.0, 0.5))),  # resampling may not undercut the least p
        ((1.0, 1.0), (1.0, 1.0), (Level(1.0, 1.0), Level(0.0, 1.0))),
    ],
)
def test_how_alpha_is_shared(least: tuple[float, float], p: tuple[float, float], levels: tuple[Level, Level]) -> None:
    assert shared(*(Arm(*arm) for arm in zip(p, least, strict=True)), ALPHA) == levels


def test_a_test_alone_has_all_of_alpha() -> None:
    assert alone(Arm(0.03, 0.01)) == Level(1.0, 0.03)
    assert alone(Arm(0.001, 0.5)) == Level(1.0, 0.5), "resampling may not undercut the least p"


def test_alpha_is_spent_but_never_overspent() -> None:
    dpo = [alpha_for_look("dpo", look) for look in range(1, 2000)]
    assert alpha_for_look("sft", 1) == 0.01
    assert dpo[0] == pytest.approx(0.0243, abs=5e-5)
    assert dpo[1] == pytest.approx(dpo[0] / 4)
    assert 0.0499 < 0.01 + sum(dpo) < 0.05
    for kind, look in (("dpo", 0), ("sft", 2), ("ppo", 1)):
        with pytest.raises(UsageError, match="no alpha"):
            alpha_for_look(kind, look)


@pytest.mark.parametrize("rate", [0.002, 0.03, 0.2])
def test_a_look_without_a_gain_keeps_its_alpha(rate: float) -> None:
    """Exact: McNemar on 100 items, few, some or many of them discordant, beside a score whose p is uniform."""
    error = 0.0
    for m in range(40):
        for b in range(m + 1):
            accuracy = Arm(float(scipy.stats.binom.sf(b - 1, m, 0.5)), 2.0**-m)
            weight = scipy.stats.binom.pmf(m, 100, rate) * scipy.stats.binom.pmf(b, m, 0.5)
            # what passes at a larger p of the score passes at a smaller one: its p is below each with probability p
            passes = (p for p in (1.0, ALPHA, ALPHA / 2) if best(accuracy, p) <= ALPHA)
            error += weight * next(passes, 0.0)
    assert ALPHA / 2 < error <= ALPHA


def best(accuracy: Arm, p_score: float) -> float:
    return min(level.p_adjusted for level in shared(accuracy, Arm(p_score, 0.0), ALPHA))
