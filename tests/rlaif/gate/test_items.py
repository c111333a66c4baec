from __future__ import annotations

from dataclasses import replace

import pytest

from rlaif import stats
from rlaif.config import GateConfig
from rlaif.gate.conditions import Measured
from rlaif.gate.items import items_to_settle

SETTINGS = GateConfig()
ALPHA = 0.0061


def estimate(delta: float, error: float, n: int = 400) -> stats.PairedBootstrap:
    low, high = delta - 1.645 * error, delta + 1.645 * error
    return stats.PairedBootstrap(n, n // 10, 0.5, 0.5 + delta, delta, low, high, low, high, error, 0.1)


def measured(score: stats.PairedBootstrap, accuracy: stats.PairedBootstrap | None = None) -> Measured:
    flat = accuracy or estimate(-0.001, 0.002)
    return Measured(stats.McNemar(0, 1, 1.0), flat, flat, score, None, "quality", "", ("a", "b"), (0.5, 1e-9))


def settled(m: Measured, better: bool = False, open_bounds: tuple[str, ...] = ()) -> tuple[int, int | None] | None:
    return items_to_settle(m, better, list(open_bounds), ALPHA, SETTINGS)


def test_the_range_is_that_of_the_interval_of_the_gain() -> None:
    """z of the whole alpha and of 80% power, over 0.01 and 1.28 errors more; a gain under 0.005 is not asked for."""
    z = 2.506 + 0.8416
    low, high = settled(measured(estimate(0.01, 0.005))) or (0, 0)
    assert low == pytest.approx(400 * (z * 0.005 / (0.01 + 1.2816 * 0.005)) ** 2, rel=0.06)
    assert high == pytest.approx(400 * (z * 0.005 / 0.005) ** 2, rel=0.06)


def test_nothing_is_said_without_a_gain() -> None:
    assert settled(measured(estimate(0.0, 0.005))) is None
    assert settled(measured(estimate(-0.002, 0.006))) is None, "though a gain worth having is not ruled out"


def test_nothing_or_a_lower_end_is_said_where_the_range_is_wide() -> None:
    assert settled(measured(estimate(0.01, 0.0095))) == (800, None)
    assert settled(measured(estimate(0.013, 0.008))) is None, "from 550 to over 20 times these"


def test_the_cheaper_gain_counts_and_the_dearest_bound() -> None:
    score = estimate(0.01, 0.005)
    sure = estimate(0.03, 0.008)
    assert settled(measured(score, sure)) == settled(measured(estimate(-0.001, 0.005), sure))
    open_bound = replace(estimate(-0.03, 0.007), n=500)
    m = replace(measured(score), macro_f1=open_bound)
    bound, gain = settled(m, True, ("macro_f1",)), settled(m)
    assert bound and gain and settled(m, False, ("macro_f1",)) == tuple(map(max, bound, gain))
    beyond = replace(measured(score), macro_f1=estimate(-0.051, 0.01))
    assert settled(beyond, True, ("macro_f1",)) is None
