"""Rows of a run read back as values."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

from rlaif.run import Run
from rlaif.types import Candidate, Criterion, CriterionVerdict, Question, Verdict

ENGINE = "(sampling->>'engine')"  # of a candidate, in SQL; NULL where the process of the loop sampled it


def load_candidates(run: Run, round: int) -> list[Candidate]:
    rows = run.store.query("SELECT * FROM candidates WHERE round = ? ORDER BY question_id, sample_index", [round])
    return [Candidate(**row | {"sampling": json.loads(row["sampling"])}) for row in rows]


def engines(run: Run, rounds: str = "true") -> list[str]:
    """What sampled the run's answers beside this process, with its version; `rounds` is an SQL condition."""
    rows = run.store.query(f"SELECT DISTINCT {ENGINE} AS engine FROM candidates WHERE {rounds} ORDER BY engine")
    return [row["engine"] for row in rows if row["engine"]]


COLUMNS = (
    "question_id, dataset, split, source_id, group_id, question, context, reference, key_points, label, "
    "focus, qtype, flags, turns"
)
RUBRIC = (  # of a question in SQL: its criteria in their order, NULL where it has none
    "(SELECT list({'text': r.criterion, 'weight': r.weight, 'category': r.category, 'source': r.source} "
    "ORDER BY r.place) FROM rubrics r WHERE r.question_id = questions.question_id) AS rubric"
)


def to_question(row: dict[str, Any]) -> Question:
    return Question(
        **row
        | {
            "key_points": tuple(row["key_points"]),
            "flags": tuple(row["flags"]),
            "turns": tuple((role, text) for role, text in json.loads(row["turns"] or "[]")),
            "rubric": tuple(Criterion(**criterion) for criterion in row["rubric"] or ()),
        }
    )


def question_rows(questions: Sequence[Question]) -> dict[str, list[Any]]:
    """The rows of `questions` and `rubrics` that keep them; no table without a row."""
    rubrics = [
        {
            "question_id": q.question_id,
            "place": place,
            "criterion": c.text,
            "weight": c.weight,
            "category": c.category,
            "source": c.source,
        }
        for q in questions
        for place, c in enumerate(q.rubric)
    ]
    return {"questions": list(questions)} | ({"rubrics": rubrics} if rubrics else {})


def load_questions(run: Run, where: str, params: list[Any]) -> list[Question]:
    """Questions of the run by an SQL condition, in the order of their ids."""
    rows = run.store.query(f"SELECT {COLUMNS}, {RUBRIC} FROM questions WHERE {where} ORDER BY question_id", params)
    return [to_question(row) for row in rows]


def criteria_of(verdicts: Iterable[Verdict]) -> dict[str, list[CriterionVerdict]]:
    """The rows of `criterion_verdicts` that belong to the verdicts; no table without a row."""
    rows = [criterion for verdict in verdicts for criterion in verdict.criteria]
    return {"criterion_verdicts": rows} if rows else {}


def load_verdicts(run: Run, round: int, judge_id: str) -> list[Verdict]:
    rows = run.store.query(
        "SELECT v.* EXCLUDE (created_at) FROM verdicts v JOIN candidates c USING (candidate_id) "
        "WHERE c.round = ? AND v.judge_id = ? ORDER BY v.candidate_id, v.replicate",
        [round, judge_id],
    )
    return [Verdict(**row | {"flags": tuple(row["flags"])}) for row in rows]
