"""What judging will take, said before any of it is done."""

from __future__ import annotations

from collections.abc import Sequence

from judges.jury import Jury
from rlaif.judging import describe, language_judge
from rlaif.run import Run
from rlaif.types import Judge, JudgeItem


def estimate(run: Run, judge: Judge, items: Sequence[JudgeItem]) -> list[str]:
    """Lines for a person: calls, tokens, cost and time of `judge.score(items)`; for a jury one line a member.

    A language model's come from its own forecast (tokens by text length, prices from the configuration, seconds a call as
    measured in this run). Any other judge works on this machine: its time is what its verdicts here have taken, if it is known.
    """
    if isinstance(judge, Jury):
        return [line for member in judge.members for line in estimate(run, member, items)]
    model = judge.identity.model
    asks = language_judge(judge)
    if asks is not None:
        return [f"{model}, at {asks.endpoint.host}: {describe(asks.forecast(items))}"]
    each = run.store.query("SELECT avg(seconds) AS each FROM verdicts WHERE judge_id = ? AND seconds > 0", [judge.identity.judge_id])
    seconds = each[0]["each"]
    time = "time not measured yet" if seconds is None else f"about {seconds * len(items):,.0f} s"
    return [f"{model}: {len(items):,} answers scored on this machine, no calls, no cost, {time}"]
