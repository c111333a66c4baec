from __future__ import annotations

import numpy as np
import pytest

from rlaif.power import least_promoted, promoted_for, unselected

ROW = {"delta": 0.0154, "ci_low": 0.0027, "ci_high": 0.0278, "n_clusters": 55, "alpha": 0.0343, "threshold": 0.005}


@pytest.mark.parametrize("true", [0.005, 0.01, 0.02])
def test_the_mean_of_promoted_gains_leads_back_to_the_true_one(true: float) -> None:
    drawn = np.random.default_rng(0).normal(true, 0.006, 400_000)
    promoted = drawn[drawn >= 0.011]
    assert promoted.mean() > true
    assert unselected(float(promoted.mean()), 0.011, 0.006) == pytest.approx(true, abs=2e-4)


def test_a_gain_far_above_the_least_is_left_and_one_just_above_it_is_nothing() -> None:
    assert unselected(0.58, 0.05, 0.02) == pytest.approx(0.58, abs=1e-6)
    assert unselected(0.0111, 0.011, 0.006) == 0.0
    assert unselected(0.1, 0.05, 0.0) == 0.1
    for tiny in (1e-4, 1e-18):
        assert unselected(0.5, 0.1, tiny) == pytest.approx(0.5), "thousands of standard errors away"


def test_the_least_gain_follows_from_alpha_and_from_what_is_worth_having() -> None:
    least, error = least_promoted(ROW, 1.0)
    assert error == pytest.approx(0.0251 / 2 / 2.005, rel=1e-3) and least == pytest.approx(1.821 * error, rel=1e-3)
    assert least_promoted(ROW, 0.5)[0] > least
    assert least_promoted(ROW | {"threshold": 0.02}, 1.0)[0] == 0.02


def test_only_gains_that_a_look_promoted_on_are_estimated() -> None:
    gained = ROW | {"condition": "better", "metric": "quality", "passed": True}
    rows = [gained, gained | {"metric": "accuracy", "passed": False}, gained | {"condition": "not_worse"}]
    (found,) = promoted_for("PROMOTE", {"alpha_shares": {"quality": 1.0}}, rows)
    assert (found.row, found.least) == (gained, least_promoted(ROW, 1.0)[0])
    assert 0 < found.true < ROW["delta"]
    assert promoted_for("REJECT", {}, rows) == []
    assert promoted_for("PROMOTE", {}, [gained | {"alpha": None}]) == [], "a look of a gate that kept no alpha"
