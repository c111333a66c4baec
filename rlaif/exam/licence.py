"""A judge labels only with a licence: that of an exam made of the run's own data (`sources`), for exactly this
judge_id."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from judges import NEED_REFERENCE, jury_names
from judges.settings import JudgeStopped
from rlaif.config import Config, flat
from rlaif.exam.hold import hold, rows
from rlaif.exam.items import Exam
from rlaif.exam.published import PUBLISHED, preferences, published_exam
from rlaif.exam.rules import TYPES
from rlaif.exam.sittings import counted, sitting
from rlaif.exam.sources import EMBEDDED, WORTH, licensing_exam, names
from rlaif.judging.server import changed_servers
from rlaif.run import Run
from rlaif.screen import Screen
from rlaif.types import Decision, Judge, RlaifError, UsageError
from rlaif.wording import program


@dataclass(frozen=True, slots=True)
class Licence:
    """What is on record of a judge and the exam that licenses in a run. `limits`: the rules that it failed and may
    label without; `older`: of a version in which the embedded exam licensed for every data.
    """

    exam: str
    passed: bool
    limits: tuple[str, ...]
    reasons: tuple[str, ...]
    older: bool = False


def ensure_licence(run: Run, judge: Judge, screen: Screen, *, hold_here: bool, work: str = "labels") -> None:
    """Returns when `judge` may do its `work` in `run`: it labels, or it marks for the gate.

    It may with a passed exam on record. Without one, a judge that is local and free (`hold_here`) sits the exam now:
    stage `exam:<judge_id>` of round 0. A licence with limits is shown and recorded (`decisions`, kind "licence", action
    "RESTRICTED"), and so is one of other data than the run's ("OTHER_DATA"). `judge.require_licence=false` lets any
    judge label, and is recorded too. A licence that was got at another server is none.

    Raises UsageError for a judge that has not been examined on the run's data, RlaifError for one that was refused;
    both say the command.
    """
    judge_id, name = judge.identity.judge_id, judge.identity.model
    if check_licence(run, judge_id) is True or not run.config.judge.require_licence:
        try:
            lapse(run, judge, screen)
        except JudgeStopped as error:  # the stage that asks it says so too, and what comes before needs no judge
            screen.line(f"warning: whether {name} is the model that was examined is not known: {error}", style="yellow")
    licence = licence_of(run, judge_id)
    if run.config.judge.require_licence and not (licence and licence.passed):
        licence = _examined(run, judge, screen, hold_here, work)
    if licence is None or not licence.passed:
        evidence = {"judge_id": judge_id, "passed": licence.passed if licence else None}
        reason = f"judge.require_licence=false: {name} {work} without a licence"
        _record(run, "OVERRIDE", reason, evidence)
        words = f"{name} {work} without a licence (judge.require_licence=false); recorded in decisions"
        screen.line(f"warning: {words}", style="yellow")
        return
    if lacking := _not_asked(run, judge_id, licence.exam):
        screen.line(
            f"warning: {name} has its licence from an exam without {', '.join(lacking)}; "
            f"it stands; to examine it by today's rules: {command(run)}",
            style="yellow",
        )
    if licence.exam == EMBEDDED != names(run.config)[0] and not licence.older:
        if run.config.judge.require_licence and licensing_exam(run.config).name != EMBEDDED:
            raise UsageError(
                f"the licence of the judge {name} ({judge_id}) is of the {EMBEDDED} exam, and this run's data make one "
                f"of their own; examine it: {command(run)}"
            )
        words = f"{name} {work} {WORTH}"
        screen.line(f"warning: {words}", style="yellow")
        _record(run, "OTHER_DATA", words, {"judge_id": judge_id, "exam": licence.exam})
    if licence.older:
        words = f"the licence of {name} is of the {licence.exam} exam, not of this run's data; it stands"
        screen.line(f"warning: {words}; to examine it on the data: {command(run)}", style="yellow")
    if licence.limits:
        words = f"{name} {work} with a restricted licence: {said_nothing_of(licence.limits)}"
        screen.line(f"warning: {words} ({licence.exam} exam; judge exam shows the table)", style="yellow")
        _record(run, "RESTRICTED", words, {"judge_id": judge_id, "exam": licence.exam, "limits": list(licence.limits)})


def _examined(run: Run, judge: Judge, screen: Screen, hold_here: bool, work: str) -> Licence:
    """The licence of a judge that had none, after an exam where it may sit one here. Raises as ensure_licence."""
    judge_id, name = judge.identity.judge_id, judge.identity.model
    if hold_here and licence_of(run, judge_id) is None:
        with screen.busy("making an exam of the data"):
            exam = licensing_exam(run.config)
        _sit(run, judge, exam, screen)
    licence = licence_of(run, judge_id)
    if licence is None:
        raise UsageError(
            f"the judge {name} ({judge_id}) has sat no exam, and a judge {work} only with a licence; "
            f"examine it: {command(run)}"
        )
    return _passed(run, judge, licence)


def _passed(run: Run, judge: Judge, licence: Licence) -> Licence:
    if not licence.passed:
        raise RlaifError(
            f"the judge {judge.identity.model} ({judge.identity.judge_id}) was refused a licence "
            f"({'; '.join(licence.reasons)}); see {command(run)}; "
            "choose another judge or prompt, or override with --set judge.require_licence=false"
        )
    return licence


def ensure_agreement(run: Run, judge: Judge, screen: Screen, *, hold_here: bool) -> None:
    """Returns when `judge` may label the prompts of published preferences, where the run has such a set.

    It has to agree with the set's own pairs (`published_exam`); a judge that is local and free sits that exam now. A
    judge that compares with a reference answer cannot be asked, which is shown and recorded ("OTHER_DATA"), and so is
    an agreement with limits ("RESTRICTED") and `judge.require_licence=false` ("OVERRIDE").

    Raises as :func:`ensure_licence`.
    """
    found = preferences(run.config)
    if found is None:
        return
    identity, where = judge.identity, found[1].path
    evidence: dict[str, Any] = {"judge_id": identity.judge_id, "exam": PUBLISHED}

    def tell(action: str, words: str) -> None:
        screen.line(f"warning: {words}", style="yellow")
        _record(run, action, words, evidence)

    if any(name in NEED_REFERENCE for name in jury_names(run.config.judge.model)):
        tell(
            "OTHER_DATA",
            f"{identity.model} labels prompts of {where}, and how far it agrees with the pairs published there is not "
            "known: it compares with a reference answer, and they have none",
        )
        return
    licence = licence_of(run, identity.judge_id, (PUBLISHED,))
    if not run.config.judge.require_licence:
        if licence is None or not licence.passed:
            tell(
                "OVERRIDE", f"judge.require_licence=false: {identity.model} labels prompts of {where} without agreement"
            )
        return
    if licence is None:
        with screen.busy("making an exam of the published pairs"):
            exam = published_exam(run.config)
        if exam is None:
            tell("OTHER_DATA", f"{identity.model} labels prompts of {where}, which has too few pairs to agree with")
            return
        if hold_here:
            _sit(run, judge, exam, screen)
            licence = licence_of(run, identity.judge_id, (PUBLISHED,))
    if licence is None:
        raise UsageError(
            f"the judge {identity.model} ({identity.judge_id}) labels prompts of {where} only if it agrees with the "
            f"pairs published there, and has not been asked; ask it: {command(run)}"
        )
    if _passed(run, judge, licence).limits:
        evidence["limits"] = list(licence.limits)
        tell("RESTRICTED", f"{identity.model} labels prompts of {where}: {said_nothing_of(licence.limits)}")


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
    passed = check_licence(run, judge_id)
    if passed is None:
        return
    run.store.execute([("DELETE FROM licences WHERE judge_id = ? AND exam <> 'human'", [judge_id])])
    run.decide(Decision(_round(run), "licence", "LAPSED", "; ".join(changed), {"judge_id": judge_id, "passed": passed}))


def said_nothing_of(limits: Sequence[str]) -> str:
    """What the marks of a judge with these limits say nothing of, in words; each rule names it behind "blind to"."""
    blind = dict.fromkeys(limit.partition("; blind to ")[2] for limit in limits if "; blind to " in limit)
    rest = [limit for limit in limits if "; blind to " not in limit]
    return "; ".join([*([f"its marks say nothing of {', '.join(blind)}"] if blind else []), *rest])


def check_licence(run: Run, judge_id: str) -> bool | None:
    """Whether the judge passed the exam that licenses in this run; None when it has not sat it."""
    licence = licence_of(run, judge_id)
    return licence.passed if licence else None


def licence_of(run: Run, judge_id: str, exams: Sequence[str] = ()) -> Licence | None:
    """What is on record of the exams that license in this run (`sources.names`, or `exams`), the one of its own data
    first.

    An exam of MedQuAD or own rows counts only if it was made of the files that the run was prepared from. A run that
    an older version began has only the embedded exam: that stands.
    """
    prepared = run.done(0, "prepare") or {}
    hashes = {str(s["data_sha256"]) for s in prepared.values() if isinstance(s, dict) and "data_sha256" in s}
    found = {
        row["exam"]: row
        for row in run.store.query("SELECT * FROM licences WHERE judge_id = ?", [judge_id])
        if row["exam"] == EMBEDDED or not hashes or row["data_sha256"] in hashes
    }
    wanted = exams or names(run.config)
    first = wanted[0]
    for exam in wanted:
        if exam in found:
            older = exam == EMBEDDED != first and "baselines" not in json.loads(found[exam]["bounds"])
            return _licence(found[exam], older=older)
    return None


def _licence(row: dict[str, Any], older: bool) -> Licence:
    return Licence(row["exam"], bool(row["passed"]), tuple(row["limits"] or ()), tuple(row["reasons"]), older)


def _not_asked(run: Run, judge_id: str, exam: str) -> list[str]:
    """The types of item that the exam on record did not have: it was held by an older version."""
    asked = run.store.query(
        "SELECT DISTINCT item_type FROM exam_items WHERE judge_id = ? AND exam = ?", [judge_id, exam]
    )
    known = {row["item_type"] for row in asked}
    return [t for t in TYPES[exam] if t not in known] if known else []


def command(run: Run) -> str:
    """The command that examines this session's judge: the run knows its configuration, so only what differs has to be
    said.
    """
    stored = json.loads(run.store.query("SELECT config FROM runs")[0]["config"])
    stored = flat(Config()) | stored  # an older run's has no keys that came later
    changed = {k: v for k, v in flat(run.config).items() if k.startswith("judge.") and stored[k] != v}
    options = "".join(f" --set {shlex.quote(f'{key}={value}')}" for key, value in changed.items())
    return f"{program()} judge exam --run {shlex.quote(str(run.folder))}{options}"


def _sit(run: Run, judge: Judge, exam: Exam, screen: Screen) -> None:
    judge_id = judge.identity.judge_id
    with run.stage(0, f"exam:{judge_id}" if exam.name == EMBEDDED else f"exam:{exam.name}:{judge_id}") as stage:
        with stage.model_time():
            held = hold(exam, judge, screen)
        forget(run, judge_id, exam.name)
        stage.rows = rows(held, judge) | {"exam_sittings": [sitting(run, held, judge)]}
        result = held.result
        stage.detail = {
            "judge_id": judge_id,
            "passed": result.passed,
            "limits": len(result.limits),
            "pair_accuracy": result.pair_accuracy,
            "lower_bound": result.lower_bound,
        }
    screen.line(f"  {counted(run, held, judge)}")


def forget(run: Run, judge_id: str, exam: str) -> None:
    """Drop what is on record of an exam that was held again: its items may be others."""
    tables = ("exam_items", "licences")
    run.store.execute([(f"DELETE FROM {table} WHERE judge_id = ? AND exam = ?", [judge_id, exam]) for table in tables])


def _record(run: Run, action: str, reason: str, evidence: dict[str, Any]) -> None:
    """A decision of the kind "licence", once for each action, judge and exam."""
    known = run.store.query("SELECT evidence FROM decisions WHERE kind = 'licence' AND action = ?", [action])
    same = ("judge_id", "exam")
    if not any(all(json.loads(row["evidence"]).get(k) == evidence.get(k) for k in same) for row in known):
        run.decide(Decision(_round(run), "licence", action, reason, evidence))


def _round(run: Run) -> int:
    return int(run.store.query("SELECT coalesce(max(round), 0) AS round FROM rounds")[0]["round"])
