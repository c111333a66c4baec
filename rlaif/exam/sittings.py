"""How often judges of one family have sat an exam in a run: who tries many prompts will find one that passes."""

from __future__ import annotations

from typing import Any

from rlaif.exam.hold import Held
from rlaif.run import Run
from rlaif.types import Judge


def sitting(run: Run, held: Held, judge: Judge) -> dict[str, Any]:
    """The row of `exam_sittings` for an exam that `judge` has just sat."""
    identity, sha256 = judge.identity, held.exam.sha256
    before = run.store.query(
        "SELECT coalesce(max(number), 0) AS n FROM exam_sittings WHERE exam_sha256 = ? AND judge_id = ?",
        [sha256, identity.judge_id],
    )
    return {
        "exam_sha256": sha256,
        "judge_id": identity.judge_id,
        "number": int(before[0]["n"]) + 1,
        "exam": held.exam.name,
        "family": identity.model,
        "passed": held.result.passed,
        "limits": list(held.result.limits),
    }


def counted(run: Run, held: Held, judge: Judge) -> str:
    """In words, how often the family has sat this kind of exam in the run, and as how many judges."""
    (row,) = run.store.query(
        "SELECT count(*) AS n, count(DISTINCT judge_id) AS judges, count_if(passed) AS passed "
        "FROM exam_sittings WHERE exam = ? AND family = ?",
        [held.exam.name, judge.identity.model],
    )
    n, judges = int(row["n"]), int(row["judges"])
    words = f"sitting {n} of {judge.identity.model} in the {held.exam.name} exam of this run, {row['passed']} passed"
    if judges > 1:
        words += (
            f"; {judges} judges of this family (other prompts, weights or settings): the best of many passes by luck"
        )
    return words
