"""Rows of a run read back as values."""

from __future__ import annotations

import json
from typing import Any

from rlaif.run import Run
from rlaif.types import Candidate, Question, Verdict


def load_candidates(run: Run, round: int) -> list[Candidate]:
    rows = run.store.query("SELECT * FROM candidates WHERE round = ? ORDER BY question_id, sample_index", [round])
    return [Candidate(**row | {"sampling": json.loads(row["sampling"])}) for row in rows]


COLUMNS = (
    "question_id, dataset, split, source_id, group_id, question, context, reference, key_points, label, "
    "focus, qtype, flags"
)


def to_question(row: dict[str, Any]) -> Question:
    return Question(**row | {"key_points": tuple(row["key_points"]), "flags": tuple(row["flags"])})


def load_questions(run: Run, where: str, params: list[Any]) -> list[Question]:
    """Questions of the run by an SQL condition, in the order of their ids."""
    rows = run.store.query(f"SELECT {COLUMNS} FROM questions WHERE {where} ORDER BY question_id", params)
    return [to_question(row) for row in rows]


def load_verdicts(run: Run, round: int, judge_id: str) -> list[Verdict]:
    rows = run.store.query(
        "SELECT v.* EXCLUDE (created_at) FROM verdicts v JOIN candidates c USING (candidate_id) "
        "WHERE c.round = ? AND v.judge_id = ? ORDER BY v.candidate_id, v.replicate",
        [round, judge_id],
    )
    return [Verdict(**row | {"flags": tuple(row["flags"])}) for row in rows]
