"""A judge labels only with a licence: that of the embedded exam, for exactly this judge_id."""

from __future__ import annotations

import json
import shlex

from judges.settings import JudgeStopped
from rlaif.config import flat
from rlaif.exam.embedded import embedded_exam
from rlaif.exam.hold import hold, rows
from rlaif.exam.rules import TYPES
from rlaif.judging.server import changed_servers
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Decision, Judge, RlaifError, UsageError

EXAM = "embedded"  # the exam that licenses; medquad and human are reported


def ensure_licence(run: Run, judge: Judge, screen: Screen, *, hold_here: bool, work: str = "labels") -> None:
    """Returns when `judge` may do its `work` in `run`: it labels, or it marks for the gate.

    It may with a passed exam on record. Without one, a judge that is local and free (`hold_here`) sits the exam now:
    stage `exam:<judge_id>` of round 0. `judge.require_licence=false` lets any judge label, and is recorded in
    `decisions` (kind "licence"). A licence that was got at another server is none.

    Raises UsageError for a judge that has not been examined, RlaifError for one that was refused; both say the command.
    """
    judge_id, name = judge.identity.judge_id, judge.identity.model
    if check_licence(run, judge_id) is True or not run.config.judge.require_licence:
        try:
            lapse(run, judge, screen)
        except JudgeStopped as error:  # the stage that asks it says so too, and what comes before needs no judge
            screen.line(f"warning: whether {name} is the model that was examined is not known: {error}", style="yellow")
    if check_licence(run, judge_id) is True:
        if lacking := _not_asked(run, judge_id):
            screen.line(
                f"warning: {name} has its licence from an exam without {', '.join(lacking)}; "
                f"it stands; to examine it by today's rules: {command(run)}",
                style="yellow",
            )
        return
    if not run.config.judge.require_licence:
        _record_override(run, judge_id, name, work)
        screen.line(
            f"warning: {name} {work} without a licence (judge.require_licence=false); recorded in decisions",
            style="yellow",
        )
        return
    if hold_here:
        _sit(run, judge, screen)
    passed = check_licence(run, judge_id)
    if passed is None:
        raise UsageError(
            f"the judge {name} ({judge_id}) has sat no exam, and a judge {work} only with a licence; "
            f"examine it: {command(run)}"
        )
    if not passed:
        found = run.store.query("SELECT reasons FROM licences WHERE judge_id = ? AND exam = ?", [judge_id, EXAM])[0][
            "reasons"
        ]
        raise RlaifError(
            f"the judge {name} ({judge_id}) was refused a licence ({'; '.join(found)}); see {command(run)}; "
            "choose another judge or prompt, or override with --set judge.require_licence=false"
        )


def lapse(run: Run, judge: Judge, screen: Screen) -> None:
    """Withdraw the licence of a judge that is asked at another server than it was examined at, with a warning and a
    decision (kind "licence", action "LAPSED"). Raises JudgeStopped when nobody answers there.
    """
    changed = changed_servers(run, judge)
    if not changed:
        return
    judge_id = judge.identity.judge_id
    for line in changed:
        screen.line(f"warning: {line}; its licence and its kept answers hold no longer", style="yellow")
    if check_licence(run, judge_id) is None:
        return
    passed = check_licence(run, judge_id)
    run.store.execute([("DELETE FROM licences WHERE judge_id = ? AND exam = ?", [judge_id, EXAM])])
    run.decide(Decision(_round(run), "licence", "LAPSED", "; ".join(changed), {"judge_id": judge_id, "passed": passed}))


def check_licence(run: Run, judge_id: str) -> bool | None:
    """Whether the judge passed the exam that licenses; None when it has not sat it."""
    found = run.store.query("SELECT passed FROM licences WHERE judge_id = ? AND exam = ?", [judge_id, EXAM])
    return bool(found[0]["passed"]) if found else None


def _not_asked(run: Run, judge_id: str) -> list[str]:
    """The types of item that the exam on record did not have: it was held by an older version."""
    asked = run.store.query(
        "SELECT DISTINCT item_type FROM exam_items WHERE judge_id = ? AND exam = ?", [judge_id, EXAM]
    )
    known = {row["item_type"] for row in asked}
    return [t for t in TYPES[EXAM] if t not in known] if known else []


def command(run: Run) -> str:
    """The command that examines this session's judge: the run knows its configuration, so only what differs has to be
    said.
    """
    stored = json.loads(run.store.query("SELECT config FROM runs")[0]["config"])
    changed = {k: v for k, v in flat(run.config).items() if k.startswith("judge.") and stored.get(k) != v}
    options = "".join(f" --set {shlex.quote(f'{key}={value}')}" for key, value in changed.items())
    return f"python cli.py judge exam --run {shlex.quote(str(run.folder))}{options}"


def _sit(run: Run, judge: Judge, screen: Screen) -> None:
    judge_id = judge.identity.judge_id
    with run.stage(0, f"exam:{judge_id}") as stage:
        with stage.model_time():
            held = hold(embedded_exam(), judge, screen)
        forget(run, judge_id, EXAM)
        stage.rows = rows(held, judge)
        result = held.result
        stage.detail = {
            "judge_id": judge_id,
            "passed": result.passed,
            "pair_accuracy": result.pair_accuracy,
            "lower_bound": result.lower_bound,
        }


def forget(run: Run, judge_id: str, exam: str) -> None:
    """Drop what is on record of an exam that was held again: its items may be others."""
    tables = ("exam_items", "licences")
    run.store.execute([(f"DELETE FROM {table} WHERE judge_id = ? AND exam = ?", [judge_id, exam]) for table in tables])


def _record_override(run: Run, judge_id: str, name: str, work: str) -> None:
    known = run.store.query("SELECT evidence FROM decisions WHERE kind = 'licence' AND action = 'OVERRIDE'")
    if any(json.loads(row["evidence"]).get("judge_id") == judge_id for row in known):
        return
    reason = f"judge.require_licence=false: {name} {work} without a licence"
    evidence = {"judge_id": judge_id, "passed": check_licence(run, judge_id)}
    run.decide(Decision(_round(run), "licence", "OVERRIDE", reason, evidence))


def _round(run: Run) -> int:
    return int(run.store.query("SELECT coalesce(max(round), 0) AS round FROM rounds")[0]["round"])
