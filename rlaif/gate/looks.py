"""Which look at the gate's items comes next in a run, and what alpha it has: read from the run's own record, and from
the ledger of looks by other runs.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any, Literal

from rlaif.evals.evaluate import gate_questions
from rlaif.evals.results import PolicyResults
from rlaif.gate import ledger
from rlaif.gate.decide import RULE, Look, own_alpha
from rlaif.gate.ppi import Labels
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import RlaifError, content_id


def next_look(run: Run, round: int) -> Look:
    """The look at which `round` (0: SFT against the base) is decided.

    Looks are counted in `gates`, those that promoted nothing too. The last look before the round hands on the alpha
    that is recorded for it where it promoted, and nothing where it did not. That holds for a look of an older rule as
    well: what it spent is spent, and what it had when it promoted is less than the present rule would have given it.
    A champion whom a person named is no look. `share` is the one that the run's last look had, 1 before any.
    """
    before = run.store.query(
        "SELECT round, count(DISTINCT challenger) AS looks, max(alpha) AS alpha FROM gates WHERE round < ? "
        "GROUP BY round ORDER BY round",
        [round],
    )
    number = 1 + sum(row["looks"] for row in before if row["round"] > 0)
    kind: Literal["sft", "dpo"] = "dpo" if round else "sft"
    if not before:
        return Look(kind, number)
    decided = run.store.query(
        "SELECT action, evidence FROM decisions WHERE kind = 'gate' AND round = ?", [before[-1]["round"]]
    )
    share = json.loads(decided[-1]["evidence"]).get("ledger_share", 1.0) if decided else 1.0
    promoted = any(row["action"] == "PROMOTE" for row in decided) and before[-1]["alpha"] is not None
    return Look(kind, number, before[-1]["alpha"] if promoted else 0.0, share)


def entered(
    run: Run,
    round: int,
    look: Look,
    compared: tuple[PolicyResults, PolicyResults],
    screen: Screen,
    labels: Labels | None = None,
) -> Look:
    """`look`, of the results `compared` and the `labels` that correct them, with the share of its alpha that the ledger
    leaves it, which knows it now.

    The row is written before the look decides. A run that does not spend has all of its alpha, and goes on where the
    ledger cannot be written; one that spends stops there: RlaifError. Where the look before was one that another run
    had first, with a larger share, what it hands on is cut to this look's share: the other run hands it on too.
    """
    settings = run.config.gate
    if settings.ledger == "off":
        return look
    entry = ledger.Entry(
        items=gate_items(run),
        look_id=content_id([_compared(side) for side in compared], *([sorted(labels.items())] if labels else [])),
        run=key_of(run),
        folder=str(run.folder.absolute()),
        round=round,
        alpha=own_alpha(replace(look, share=1.0), settings),
        total=settings.alpha_sft + settings.alpha_dpo,
        share=look.share if look.share != 1 else None,
    )
    try:
        share = ledger.enter(entry, spends=settings.ledger == "spend")
        return replace(look, share=share, inherited=look.inherited * min(share / look.share, 1.0))
    except RlaifError as error:
        if settings.ledger == "spend":
            raise
        screen.line(f"  ledger                 {error}; this look is not counted over runs", style="yellow")
        return look


def tell_others(run: Run, screen: Screen) -> None:
    """Say what other runs have spent on the gate's items. RlaifError where they leave nothing to a run that spends."""
    settings = run.config.gate
    if settings.ledger == "off":
        return
    total = settings.alpha_sft + settings.alpha_dpo
    items, me = gate_items(run), key_of(run)
    try:
        found = ledger.others(items, me)
        rest = ledger.left(items, me, total)
    except RlaifError as error:
        if settings.ledger == "spend":
            raise
        screen.line(f"  ledger                 {error}", style="yellow")
        return
    if found is None:
        return
    said = f"{_times(found.all, 'look')} by {_times(found.runs, 'other run')} spent alpha {found.alpha_all:.4f}"
    if settings.ledger == "spend":
        known = "SELECT 1 FROM decisions WHERE kind = 'gate' AND evidence->>'ledger_share' IS NOT NULL"
        if rest <= 1e-9 and not run.store.query(known) and me not in ledger.counts():
            raise RlaifError(ledger.nothing_left(total))
        screen.line(f"  same gate items        {said}; this run may use half of what they leave, or what it had before")
        return
    at_most = min(found.at_most + total, 1.0)
    screen.line(
        f"  same gate items        {said}; a false promotion in any of these runs has probability up to {at_most:.1%} "
        f"now (gate.ledger=spend keeps {total:.0%})",
        style="yellow",
    )


def gate_items(run: Run) -> str:
    """The ledger's key of the run's gate items."""
    return ledger.items_key(q for questions in gate_questions(run).values() for q in questions)


def key_of(run: Run) -> str:
    """The ledger's key of the run."""
    return ledger.run_key(run.store.query("SELECT run_id, created_at FROM runs")[0])


def _compared(side: PolicyResults) -> list[Any]:
    """The values that the tests of `better` see: two looks with the same ones, and the same labels, are one."""
    return [metric and [metric.metric, metric.values] for metric in (side.accuracy, side.score)]


def _times(n: int, what: str) -> str:
    return f"{n} {what}{'' if n == 1 else 's'}"


def follows_older_rule(run: Run, round: int) -> bool:
    """Was the last look before `round` decided by another rule than the present one?"""
    last = run.store.query(
        "SELECT evidence FROM decisions WHERE kind = 'gate' AND round < ? AND round IN (SELECT round FROM gates) "
        "ORDER BY round DESC LIMIT 1",
        [round],
    )
    return bool(last) and json.loads(last[0]["evidence"]).get("rule") != RULE
