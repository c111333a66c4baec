"""The monitors of SFT."""

from __future__ import annotations

import pytest

from rlaif.config import MonitorConfig
from rlaif.loop.monitor_sft import loss_jump, one_label

LIMIT = MonitorConfig()


def test_a_loss_that_leaps_up_is_red_and_one_that_falls_is_not() -> None:
    falling = [3.0 - i / 20 for i in range(50)]
    assert not loss_jump({"loss": falling}, LIMIT).red
    leap = [*falling[:20], *[12.0] * 8, *falling[20:]]
    monitor = loss_jump({"answer": falling, "label": leap}, LIMIT)
    assert monitor.red and monitor.value == pytest.approx(12.0 - sum(falling[15:20]) / 5)
    assert "the loss of the labels rises by" in monitor.detail
    one_hard_batch = [*falling[:20], 4.0, *falling[20:]]
    assert not loss_jump({"loss": one_hard_batch}, LIMIT).red


def test_too_few_steps_are_not_measured() -> None:
    for losses in ({}, {"loss": [1.0, 9.0, 1.0, 9.0]}):
        monitor = loss_jump(losses, LIMIT)
        assert monitor.value is None and not monitor.red


def test_one_label_for_everything_is_red_where_the_right_ones_differ() -> None:
    targets = ["yes"] * 55 + ["no"] * 34 + ["maybe"] * 11
    monitor = one_label(["no"] * 100, targets, LIMIT)
    assert monitor.red and "'no' answers 100.0% of 100 questions, 34.0% of them rightly" in monitor.detail
    assert "does not read abstracts" in monitor.detail
    assert one_label(["no"] * 99 + ["yes"], targets, LIMIT).red
    assert not one_label(["no"] * 90 + ["yes"] * 10, targets, LIMIT).red
    assert not one_label(["yes"] * 100, ["yes"] * 100, LIMIT).red, "where it is right, it may be alike"
    assert one_label([], [], LIMIT).value is None
