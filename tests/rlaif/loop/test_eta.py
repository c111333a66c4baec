"""The time left, from stages that are done."""

from __future__ import annotations

import pytest

from rlaif.loop.eta import USUAL, Forecast, in_words, seconds_left, time_left
from rlaif.run import Run
from rlaif.screen import Screen

FIRST = {(0, kind): seconds for kind, seconds in USUAL[0].items()}
ROUND = sum(USUAL[1].values())


def of_round(round: int, factor: float = 1.0) -> dict[tuple[int, str], float]:
    return {(round, kind): factor * seconds for kind, seconds in USUAL[1].items()}


def test_nothing_is_known_before_anything_is_done() -> None:
    assert seconds_left({}, -1, 3, True) is None


def test_after_the_first_round_the_usual_proportions_count() -> None:
    assert seconds_left(FIRST, 0, 3, True) == pytest.approx(3 * ROUND)
    twice = {key: 2 * seconds for key, seconds in FIRST.items()}
    assert seconds_left(twice, 0, 3, True) == pytest.approx(6 * ROUND)


def test_what_a_round_took_counts_more_than_proportions() -> None:
    assert seconds_left(FIRST | of_round(1, 5.0), 1, 3, True) == pytest.approx(2 * 5 * ROUND)


def test_stages_of_the_round_under_way_are_not_counted_again() -> None:
    done = FIRST | of_round(1) | {(2, "sample"): 30.0}
    assert seconds_left(done, 1, 2, True) == pytest.approx(ROUND - USUAL[1]["sample"])


def test_a_slow_judge_says_nothing_about_the_policy_unless_both_are_here() -> None:
    exam = {(0, "exam"): 600.0}
    assert seconds_left(exam, -1, 1, False) is None
    both = seconds_left(exam, -1, 1, True)
    assert both == pytest.approx(10 * (72 + 34 + ROUND))
    apart = {(0, "exam"): 600.0, (0, "sft"): 72.0, (0, "evaluate"): 34.0}
    judged = 10 * (USUAL[1]["judge"] + USUAL[1]["labelled"])
    own = sum(USUAL[1][kind] for kind in ("sample", "dpo", "evaluate"))
    assert seconds_left(apart, 0, 1, False) == pytest.approx(judged + own)


def test_a_finished_run_has_nothing_left() -> None:
    assert seconds_left(FIRST | of_round(1), 1, 1, True) == 0.0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "10 s"), (31, "30 s"), (54, "50 s"), (58, "1 min"), (200, "3 min"), (3600, "1 h"), (7900, "2 h 10 min")],
)
def test_in_words(seconds: float, words: str) -> None:
    assert in_words(seconds) == f"about {words}"


def test_the_forecast_reads_the_run_and_counts_down(judged_run: Run) -> None:
    now = [0.0]
    forecast = Forecast(judged_run, 3, True, lambda: now[0])
    assert forecast() == "SFT, then 3 rounds"
    stages = [
        {"round": r, "stage": f"{kind}:x", "status": "done", "seconds": s}
        for (r, kind), s in (FIRST | of_round(1)).items()
    ]
    stages.append({"round": 0, "stage": "prepare", "status": "done"})  # of a run that did not time it
    rounds = [{"round": r, "champion_in": "a", "decision": "REJECT"} for r in (0, 1)]
    judged_run.store.write({"stages": stages, "rounds": rounds})
    forecast.refresh()
    assert forecast() == "round 2 of 3, about 3 min left of the whole run"
    now[0] = 120.0
    assert forecast() == "round 2 of 3, about 1 min left of the whole run"
    now[0] = 9999.0
    assert forecast.left == "about 10 s"
    screen = Screen()
    assert time_left(screen) == ""
    screen.forecast = forecast
    assert time_left(screen) == "  (about 3 min left)"
