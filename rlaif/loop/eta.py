"""How long the whole run will still take: an estimate from the stages that are done, for a person who waits.

A stage that an earlier round had is expected to take as long again. One that no round had yet is expected in proportion
to the others, as in `USUAL`; what the policy does and what the judge does are scaled apart, because they are different
models.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from rlaif.run import Run
from rlaif.screen import Screen

# Seconds of each kind of stage in the default run on two cores: only their proportions count, and only until this run
# has its own.
USUAL = {
    0: {"exam": 60.0, "sft": 72.0, "evaluate": 34.0},
    1: {"sample": 25.0, "judge": 16.0, "dpo": 24.0, "evaluate": 18.0, "labelled": 8.0},
}
BY_JUDGE = ("exam", "judge", "labelled")
Done = Mapping[tuple[int, str], float]  # (round, kind of stage) -> seconds


def seconds_left(done: Done, finished: int, rounds: int, judge_tells: bool) -> float | None:
    """Seconds until round `rounds` is finished, from the beginning of the next stage. `finished`: the last finished
    round, -1 for none. None where nothing is known yet.

    `judge_tells`: whether the time of a judge says something about the policy, as where both are on this machine.
    """
    scales = {judged: _scale(done, judged) for judged in (False, True)}
    if judge_tells:
        scales = {judged: scale or scales[not judged] for judged, scale in scales.items()}
    total = 0.0
    for round in range(finished + 1, rounds + 1):
        for kind, usual in USUAL[min(round, 1)].items():
            if (round, kind) in done:
                continue
            same = [seconds for (r, k), seconds in done.items() if k == kind and min(r, 1) == min(round, 1)]
            scale = scales[kind in BY_JUDGE]
            if not same and scale is None:
                return None
            total += sum(same) / len(same) if same else usual * (scale or 0.0)
    return total


def _scale(done: Done, judged: bool) -> float | None:
    """How many times the usual time the finished stages of the judge, or of the policy, took."""
    known = {key: s for key, s in done.items() if key[1] in USUAL[min(key[0], 1)] and (key[1] in BY_JUDGE) == judged}
    usual = sum(USUAL[min(round, 1)][kind] for round, kind in known)
    return sum(known.values()) / usual if usual else None


def in_words(seconds: float) -> str:
    """About how long: 40 s, 4 min, 2 h 10 min."""
    if seconds < 55:
        return f"about {max(round(seconds, -1), 10):.0f} s"
    minutes = round(seconds / 60)
    if minutes < 60:
        return f"about {minutes} min"
    minutes = round(minutes, -1)
    return f"about {minutes // 60} h" + (f" {minutes % 60} min" if minutes % 60 else "")


class Forecast:
    """What a terminal shows of the whole run: the round, and the time left; `refresh` reads the finished stages."""

    def __init__(self, run: Run, rounds: int, judge_tells: bool, clock: Callable[[], float] = time.monotonic) -> None:
        self._run, self._rounds, self._judge_tells, self._clock = run, rounds, judge_tells, clock
        self._left: float | None = None
        self._round, self._asked = 0, clock()
        self.refresh()

    def refresh(self) -> None:
        rows = self._run.store.query(
            "SELECT round, split_part(stage, ':', 1) AS kind, sum(seconds) AS seconds FROM stages "
            "WHERE status = 'done' AND seconds IS NOT NULL AND NOT starts_with(stage, 'sealed') GROUP BY ALL"
        )
        decided = self._run.store.query("SELECT coalesce(max(round), -1) AS r FROM rounds WHERE decision IS NOT NULL")
        finished = int(decided[0]["r"])
        self._round = min(finished + 1, self._rounds)
        self._left = seconds_left(_done(rows), finished, self._rounds, self._judge_tells)
        self._asked = self._clock()

    def __call__(self) -> str:
        left = self.left
        where = f"round {self._round} of {self._rounds}" if self._round else f"SFT, then {self._rounds} rounds"
        return where + (f", {left} left of the whole run" if left else "")

    @property
    def left(self) -> str:
        """Such as "about 4 min"; "" where it is not known."""
        if self._left is None:
            return ""
        return in_words(max(self._left - (self._clock() - self._asked), 0.0))


def time_left(screen: Screen) -> str:
    """For the heading of a round: "  (about 4 min left)", or nothing where that is not known."""
    forecast = screen.forecast
    if not isinstance(forecast, Forecast):
        return ""
    forecast.refresh()
    return f"  ({forecast.left} left)" if forecast.left else ""


def _done(rows: list[dict[str, Any]]) -> dict[tuple[int, str], float]:
    return {(row["round"], row["kind"]): float(row["seconds"]) for row in rows}
