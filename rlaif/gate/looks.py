"""Which look at the gate's items comes next in a run, and what alpha it inherits: read from the run's own record."""

from __future__ import annotations

import json
from typing import Literal

from rlaif.gate.decide import RULE, Look
from rlaif.run import Run


def next_look(run: Run, round: int) -> Look:
    """The look at which `round` (0: SFT against the base) is decided.

    Looks are counted in `gates`, those that promoted nothing too. The last look before the round hands on the alpha
    that is recorded for it where it promoted, and nothing where it did not. That holds for a look of an older rule as
    well: what it spent is spent, and what it had when it promoted is less than the present rule would have given it.
    A champion whom a person named is no look.
    """
    before = run.store.query(
        "SELECT round, count(DISTINCT challenger) AS looks, max(alpha) AS alpha FROM gates WHERE round < ? "
        "GROUP BY round ORDER BY round",
        [round],
    )
    number = 1 + sum(row["looks"] for row in before if row["round"] > 0)
    kind: Literal["sft", "dpo"] = "dpo" if round else "sft"
    if not before or before[-1]["alpha"] is None:
        return Look(kind, number)
    promoted = run.store.query(
        "SELECT 1 FROM decisions WHERE kind = 'gate' AND action = 'PROMOTE' AND round = ?", [before[-1]["round"]]
    )
    return Look(kind, number, before[-1]["alpha"] if promoted else 0.0)


def follows_older_rule(run: Run, round: int) -> bool:
    """Was the last look before `round` decided by another rule than the present one?"""
    last = run.store.query(
        "SELECT evidence FROM decisions WHERE kind = 'gate' AND round < ? AND round IN (SELECT round FROM gates) "
        "ORDER BY round DESC LIMIT 1",
        [round],
    )
    return bool(last) and json.loads(last[0]["evidence"]).get("rule") != RULE
