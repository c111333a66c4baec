"""The sealed test as a recorded event: whether it was opened, what came out, and what marks a run for ever. Needs no
torch.

An opening is a row of `sealed_tests` and a decision OPENED (a forced one REOPENED); it is finished when its decision
RESULT is there. A run goes on after it with a decision WENT_ON. Decisions are never deleted, so these marks stay.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rlaif.run import Run
from rlaif.types import Decision, UsageError
from rlaif.wording import program

KIND = "sealed"
OPENINGS = ("OPENED", "REOPENED")
LEGEND = "  paired differences with two-sided 95% intervals, bootstrap clustered by group; no gate has seen these items"
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Opening:
    """The latest opening. `policies`: base, SFT and champion by name, None for one that an older version recorded
    without them.

    `limit`: items per benchmark, 0 for all; an older version could open a part. `rows`: what came out (see
    `sealed_test.compare`), None while it is unfinished.
    """

    number: int
    round: int
    opened_at: datetime
    policies: Mapping[str, str] | None
    limit: int
    rows: Rows | None

    @property
    def unfinished(self) -> bool:
        return self.policies is not None and self.rows is None


def last_opening(run: Run) -> Opening | None:
    """The latest opening of the run's sealed test; None while it is sealed."""
    tests = run.store.query("SELECT round, opened_at FROM sealed_tests ORDER BY opened_at")
    return latest(tests, run.store.query("SELECT kind, action, evidence FROM decisions ORDER BY seq"))


def latest(tests: Rows, decisions: Rows) -> Opening | None:
    """The same from rows of `sealed_tests` and `decisions`, each in the order of time."""
    if not tests:
        return None
    number, test = len(tests), tests[-1]
    said = [(d["action"], json.loads(d["evidence"])) for d in decisions if d["kind"] == KIND]
    found = {action: evidence for action, evidence in said if evidence.get("opening") == number}
    opened: dict[str, Any] = next((found[action] for action in OPENINGS if action in found), {})
    rows = found["RESULT"]["rows"] if "RESULT" in found else None
    return Opening(number, test["round"], test["opened_at"], opened.get("policies"), opened.get("limit", 0), rows)


def last_round(run: Run) -> int:
    """The latest decided round. UsageError when there is none, or when another one has begun: a round must not end
    after the test.
    """
    rounds = run.store.query("SELECT round, decision FROM rounds ORDER BY round")
    decided = [r["round"] for r in rounds if r["decision"]]
    if not decided:
        raise UsageError(
            f"{run.folder}: SFT has not met the gate yet, so there is nothing to test; continue the run "
            "with the command loop"
        )
    if under_way := [r["round"] for r in rounds if not r["decision"]]:
        raise UsageError(
            f"{run.folder}: round {under_way[0]} is not finished, and the sealed test comes after the last round; "
            f"finish it with loop --rounds {under_way[0]}"
        )
    return int(decided[-1])


def may_open(run: Run, force: bool) -> Opening | None:
    """The unfinished opening that goes on, or None for a new one.

    UsageError for a second opening that is not forced.
    """
    opening = last_opening(run)
    if opening is None or opening.unfinished:
        return opening
    if not force:
        raise UsageError(
            f"the sealed test of {run.folder} was opened already ({opening.opened_at:%Y-%m-%d %H:%M} UTC, after round "
            f"{opening.round}); see status or report. Only its first result is an honest one: "
            "--force opens it again and marks the run for ever"
        )
    return None


def record_opening(run: Run, session_id: str, policies: Mapping[str, str], sizes: Mapping[str, int]) -> Opening:
    """Write, in one transaction, that the sealed items are about to be looked at. Nothing of them may be shown
    before.
    """
    round, before = last_round(run), last_opening(run)
    number = 1 if before is None else before.number + 1
    action = OPENINGS[number > 1]
    items = ", ".join(f"{n:,} {name} items" for name, n in sizes.items())
    who = ", ".join(f"{name} {policy_id[:8]}" for name, policy_id in policies.items())
    reason = f"sealed test opened after round {round} for {who}: {items}"
    if number > 1:
        reason = f"opening {number}, forced: {reason}; only the first opening's result is an honest one"
    evidence = {"opening": number, "policies": policies, "items": sizes}
    ids = list(dict.fromkeys(policies.values()))
    run.store.execute(
        [
            ("INSERT INTO sealed_tests (session_id, round, policies) VALUES (?, ?, ?)", [session_id, round, ids]),
            ("UPDATE runs SET sealed_opened_at_round = coalesce(sealed_opened_at_round, ?)", [round]),
            (
                "INSERT INTO decisions (seq, round, kind, action, reason, evidence) "
                "SELECT coalesce(max(seq), 0) + 1, ?, ?, ?, ?, ? FROM decisions",
                [round, KIND, action, reason, json.dumps(evidence)],
            ),
        ]
    )
    opening = last_opening(run)
    assert opening is not None  # written above
    return opening


def goes_on_after(run: Run, rounds: int, allowed: bool) -> Opening | None:
    """The opening after which the command loop would go on to `rounds`; None where it is still sealed, or nothing is
    left to do.

    UsageError when going on is not `allowed`.
    """
    opening = last_opening(run)
    done = run.store.query("SELECT max(round) AS r FROM rounds WHERE decision IS NOT NULL")[0]["r"]
    if opening is None or (done is not None and done >= rounds):
        return None
    if not allowed:
        raise UsageError(
            f"the sealed test of {run.folder} was opened after round {opening.round}: later champions "
            "would have no untouched test. "
            "Start a new run with --run DIR; --after-sealed-test goes on all the same and marks the run for ever"
        )
    return opening


def record_going_on(run: Run, opening: Opening, rounds: int) -> None:
    """The decision WENT_ON, once for each opening however often the loop is killed and started again."""
    known = run.store.query("SELECT evidence FROM decisions WHERE kind = ? AND action = 'WENT_ON'", [KIND])
    if not any(json.loads(d["evidence"])["opening"] == opening.number for d in known):
        reason = (
            f"the loop went on to round {rounds} after the sealed test was opened: later champions have no "
            "untouched test"
        )
        run.decide(Decision(opening.round, KIND, "WENT_ON", reason, {"opening": opening.number, "rounds": rounds}))


def record_look(run: Run, policy_id: str, source: str, items: int) -> None:
    """The decision LOOKED: sealed items were read from a file, for one policy, outside of the test. Written before
    anything is shown.
    """
    round = run.store.query("SELECT coalesce(max(round), 0) AS r FROM rounds WHERE decision IS NOT NULL")[0]["r"]
    reason = f"evaluate read {items:,} sealed items from {source} for {policy_id[:8]}, outside of the sealed test"
    run.decide(Decision(round, KIND, "LOOKED", reason, {"policy": policy_id, "source": source, "items": items}))


def marks(tests: Rows, decisions: Rows, rounds: Rows, champion: str) -> list[str]:
    """What a reader of the sealed results has to know, in sentences without a full stop. Rows of tables, in the order
    of time.
    """
    found: list[str] = []
    if looks := sum(d["kind"] == KIND and d["action"] == "LOOKED" for d in decisions):
        times = "once" if looks == 1 else f"{looks} times"
        found.append(f"sealed items were looked at {times} outside of the sealed test, by evaluate --data")
    opening = latest(tests, decisions)
    if opening is None:
        return found
    if opening.unfinished:
        found.append(
            f"the sealed test was opened after round {opening.round} and is not finished: go on with {program()} test"
        )
    if opening.number > 1:
        found.append(f"the sealed test was opened {opening.number} times: only the first result is an honest one")
    first = tests[0]["round"]
    if any(d["kind"] == KIND and d["action"] == "WENT_ON" for d in decisions) or any(
        r["round"] > first for r in rounds
    ):
        found.append(
            f"the loop went on after the sealed test was opened at round {first}: later champions have "
            "no untouched test"
        )
    if opening.policies and opening.policies["champion"] != champion:
        found.append(f"the champion is not the one of the sealed test ({opening.policies['champion'][:8]})")
    return found


def result_table(opening: Opening) -> tuple[list[str], list[list[str]]]:
    """Columns and rows of text: a column a metric, a row a policy's means and then a row a paired difference. Needs
    results.
    """
    rows = opening.rows or []
    columns = ["sealed items"]
    for row in rows:
        unscored = f"\n{row['unscored']} unscored" if row["unscored"] else ""
        named = f"\n{row['grader']}" if row.get("grader") else ""
        columns.append(f"{row['benchmark']}\n{row['metric']}\nn={row['n']}, {row['groups']} groups{unscored}{named}")
    policies = opening.policies or {}
    table = [
        [f"{name} {policy_id[:8]}", *(f"{r['means'][name]:.4f}" for r in rows)] for name, policy_id in policies.items()
    ]
    for pair in rows[0]["differences"] if rows else ():
        table.append([pair, *(difference(r["differences"][pair]) for r in rows)])
    return columns, table


def difference(found: Mapping[str, float] | None) -> str:
    """A paired difference with its two-sided 95% interval; None stands for two names of one policy."""
    return (
        "the same policy"
        if found is None
        else f"{found['delta']:+.4f}\n{found['ci_low']:+.3f}..{found['ci_high']:+.3f}"
    )
