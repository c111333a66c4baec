"""HealthBench's meta-evaluation: whether an answer meets a criterion, by the labels of physicians.

A file of the schema of simple-evals (healthbench_meta_eval.py), one row per answer and criterion: `prompt` (a
conversation), `completion`, `rubric` (the criterion), `binary_labels` (one per physician), `category`
("cluster:..."), and `points` where the file says them; a criterion without points counts as wanted.
"""

from __future__ import annotations

from typing import Any

from rlaif.data.conversations import turns
from rlaif.data.rubrics import transcript
from rlaif.data.tables import Table, file_sha256, read_table
from rlaif.exam.criteria import CriterionExam, Labelled
from rlaif.types import Criterion, DataError, JudgeItem, content_id


def physicians_exam(path: str, limit: int = 0) -> CriterionExam:
    """The exam over a file: `limit` rows drawn by a hash (0: all), the same each time. DataError for a table that
    cannot be used, or where all labels say the same.
    """
    table = read_table(path, "--healthbench-meta")
    table.require("prompt", "completion", "rubric", "binary_labels")
    items = [_labelled(table, i) for i in range(len(table.rows))]
    if limit:
        items = sorted(items, key=lambda one: content_id("limit", one.item.candidate_id))[:limit]
    if len({label for one in items for label in one.labels}) < 2:
        raise DataError(f"{path}: all labels say the same; the exam needs criteria that are met and some that are not")
    about = {"source": path, "data_sha256": file_sha256(path), "rows": len(table.rows), "criteria": len(items)}
    return CriterionExam("healthbench_meta", tuple(items), about)


def _labelled(table: Table, i: int) -> Labelled:
    row, where = table.rows[i], table.where(i)
    value = row.get("prompt")
    asked = transcript(turns(value, where, "prompt")) if isinstance(value, list) else table.text(i, "prompt")
    criterion, answer = table.text(i, "rubric").strip(), table.text(i, "completion", optional=True)
    category = table.text(i, "category", optional=True).removeprefix("cluster:") if "category" in table.columns else ""
    points = row.get("points")
    fault = isinstance(points, int | float) and not isinstance(points, bool) and points < 0
    rubric = (Criterion(criterion, -1.0 if fault else 1.0, category, "healthbench_meta"),)
    item = JudgeItem(content_id("criterion", asked, answer, criterion), asked, answer, rubric=rubric)
    return Labelled(item, _labels(row.get("binary_labels"), where), category or "criterion")


def _labels(value: Any, where: str) -> tuple[bool, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(label, bool) for label in value):
        raise DataError(f"{where}: binary_labels is {value!r:.40}; needed a list of true and false, one per physician")
    return tuple(value)
